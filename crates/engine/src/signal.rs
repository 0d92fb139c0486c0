//! Signals by name and number.

use crate::EngineError;

/// The names that signal(7) gives on x86 and ARM, without `SIG`.
const NAMES: &[(&str, i32)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first and the last real-time signal that a C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

pub(crate) const KILL: i32 = 9;
pub(crate) const TERM: i32 = 15;

/// Reads `TERM`, `SIGTERM`, `15` or `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<i32, EngineError> {
    let invalid = || EngineError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(it, _)| *it == name) {
        return Ok(*number);
    }
    let offset = |text: &str| {
        if text.is_empty() { Some(0) } else { text.get(1..)?.parse::<i32>().ok() }
    };
    let number = if let Some(above) = name.strip_prefix("RTMIN") {
        offset(above).filter(|_| !above.starts_with('-')).map(|it| RTMIN + it)
    } else if let Some(below) = name.strip_prefix("RTMAX") {
        offset(below).filter(|_| !below.starts_with('+')).map(|it| RTMAX - it)
    } else {
        None
    };
    number.filter(|it| (RTMIN..=RTMAX).contains(it)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in
            [("TERM", 15), ("sigterm", 15), ("9", 9), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["", "0", "65", "FOO", "-9", "RTMIN-1", "RTMIN+99", "RTMINü"] {
            assert!(parse(text).is_err(), "{text} passed");
        }
    }
}
