//! Signals by name.

use super::error::CommandError;

/// Numbers of the architectures this program runs on (signal(7)), from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const REAL_TIME_FIRST: i32 = 34;
const REAL_TIME_LAST: i32 = 64;

/// Reads a signal: `9`, `KILL`, `SIGKILL`, `RTMIN+3`, in any case.
pub(super) fn parse(text: &str) -> Result<i32, CommandError> {
    let unknown =
        || CommandError::Flag { flag: "signal", value: text.to_owned(), problem: "unknown signal" };
    if let Ok(number) = text.parse::<i32>() {
        return Some(number).filter(|it| (0..=REAL_TIME_LAST).contains(it)).ok_or_else(unknown);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = NAMES.iter().position(|it| *it == name).and_then(|it| i32::try_from(it + 1).ok());
    number.or_else(|| real_time(name)).ok_or_else(unknown)
}

fn real_time(name: &str) -> Option<i32> {
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        REAL_TIME_FIRST.checked_add(parse_offset(offset, '+')?)?
    } else {
        REAL_TIME_LAST.checked_sub(parse_offset(name.strip_prefix("RTMAX")?, '-')?)?
    };
    (REAL_TIME_FIRST..=REAL_TIME_LAST).contains(&number).then_some(number)
}

fn parse_offset(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign)?.parse().ok().filter(|it| *it >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGSYS", 31),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("RTMAX-1", 63),
            ("0", 0),
        ] {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for text in ["", "65", "-1", "NOPE", "RTMIN+31", "RTMIN-1"] {
            parse(text).unwrap_err();
        }
    }
}
