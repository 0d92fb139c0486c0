//! Units: sizes, times and counts as people write and read them.

use crate::flag::Invalid;

const NANOSECOND: i64 = 1;
const MICROSECOND: i64 = 1_000 * NANOSECOND;
const MILLISECOND: i64 = 1_000 * MICROSECOND;
const SECOND: i64 = 1_000 * MILLISECOND;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Reads a whole number.
pub(crate) fn whole(text: &str) -> Result<i64, Invalid> {
    text.parse().map_err(|_| Invalid("must be a whole number".to_owned()))
}

/// Reads a size, `512m` or `1.5 GiB`: all units are powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<i64, Invalid> {
    let invalid = || Invalid(format!("invalid size: '{text}'"));
    let end = text.find(|it: char| !it.is_ascii_digit() && it != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let exponent = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "ki" | "kib" => 1,
        "m" | "mb" | "mi" | "mib" => 2,
        "g" | "gb" | "gi" | "gib" => 3,
        "t" | "tb" | "ti" | "tib" => 4,
        "p" | "pb" | "pi" | "pib" => 5,
        _ => return Err(invalid()),
    };
    let factor = 1_i64 << (10 * exponent);
    if let Ok(number) = number.parse::<i64>() {
        return number.checked_mul(factor).ok_or_else(invalid);
    }
    let (before, after) = number.split_once('.').ok_or_else(invalid)?;
    let whole: i64 = if before.is_empty() { 0 } else { before.parse().map_err(|_| invalid())? };
    let whole = whole.checked_mul(factor).ok_or_else(invalid)?;
    whole.checked_add(part_of(after, factor).ok_or_else(invalid)?).ok_or_else(invalid)
}

/// The same, where `-1` means that there is no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<i64, Invalid> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

/// Reads a decimal number of CPUs as billionths of one.
pub(crate) fn nano_cpus(text: &str) -> Result<i64, Invalid> {
    let invalid = || Invalid(format!("failed to parse {text} as a rational number"));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    if part.trim_end_matches('0').len() > 9 {
        return Err(Invalid("value is too precise".to_owned()));
    }
    let part = if part.is_empty() { 0 } else { part_of(part, SECOND).ok_or_else(invalid)? };
    whole.checked_mul(SECOND).and_then(|it| it.checked_add(part)).ok_or_else(invalid)
}

/// The decimal places `digits` of `factor`, rounded down.
fn part_of(digits: &str, factor: i64) -> Option<i64> {
    if digits.is_empty() || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    // More places than these change nothing.
    let digits = &digits[..digits.len().min(17)];
    let value: i128 = digits.parse().ok()?;
    let scale = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    i64::try_from(value * i128::from(factor) / scale).ok()
}

/// Reads a duration in Go's notation, `1h2m3.5s`, as nanoseconds.
pub(crate) fn duration(text: &str) -> Result<i64, Invalid> {
    let invalid = || Invalid(format!("invalid duration \"{text}\""));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let end = rest.find(|it: char| !it.is_ascii_digit() && it != '.').ok_or_else(invalid)?;
        let (number, after) = rest.split_at(end);
        if number.trim_matches('.').is_empty() {
            return Err(invalid());
        }
        let end = after.find(|it: char| it.is_ascii_digit() || it == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let factor = match unit {
            "ns" => NANOSECOND,
            "us" | "µs" | "μs" => MICROSECOND,
            "ms" => MILLISECOND,
            "s" => SECOND,
            "m" => MINUTE,
            "h" => HOUR,
            _ => return Err(invalid()),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let whole = whole.checked_mul(factor).ok_or_else(invalid)?;
        let part = part_of(if part.is_empty() { "0" } else { part }, factor).ok_or_else(invalid)?;
        total = total.checked_add(whole).and_then(|it| it.checked_add(part)).ok_or_else(invalid)?;
        rest = after;
    }
    Ok(if negative { -total } else { total })
}

/// A size for people, in powers of 1000 with three significant digits: `1.98MB`.
pub(crate) fn size(bytes: i64) -> String {
    human(bytes, 1000, ["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// A size for people, in powers of 1024 with four significant digits: `23.54GiB`.
pub(crate) fn binary_size(bytes: i64) -> String {
    human(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

fn human(bytes: i64, base: i64, units: [&str; 7], digits: usize) -> String {
    let mut factor = 1_i64;
    let mut index = 0;
    while index + 1 < units.len() && bytes / factor >= base {
        factor *= base;
        index += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "a handful of digits is shown")]
    let value = bytes as f64 / factor as f64;
    format!("{}{}", significant(value, digits), units[index])
}

/// `value` with at most `digits` significant digits and no trailing zeros, as `%.4g` shows it.
fn significant(value: f64, digits: usize) -> String {
    let whole = format!("{value:.0}").trim_start_matches('-').len();
    let mut places = digits.saturating_sub(if value.abs() < 1.0 { 1 } else { whole });
    // Rounding may have made one digit more: 9.999 is 10.00, not 10.000.
    if format!("{value:.places$}").trim_start_matches('-').len() > digits + 1 {
        places = places.saturating_sub(1);
    }
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// How long ago something was, in Docker's words.
pub(crate) fn ago(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, (seconds + 1800) / 3600);
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ => match hours {
            ..=1 => "About an hour".to_owned(),
            2..48 => format!("{hours} hours"),
            48..336 => format!("{} days", hours / 24),
            336..1440 => format!("{} weeks", hours / 24 / 7),
            1440..17520 => format!("{} months", hours / 24 / 30),
            _ => format!("{} years", hours / 24 / 365),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024_when_read() {
        assert_eq!(bytes("64m"), Ok(64 << 20));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("4 kb"), Ok(4096));
        assert_eq!(bytes("0.5"), Ok(0));
        assert_eq!(bytes("x"), Err(Invalid("invalid size: 'x'".to_owned())));
        assert_eq!(bytes("99999999p"), Err(Invalid("invalid size: '99999999p'".to_owned())));
        assert_eq!(bytes("-1"), Err(Invalid("invalid size: '-1'".to_owned())));
        assert_eq!(bytes_or_unlimited("-1"), Ok(-1));
    }

    #[test]
    fn sizes_have_few_digits_when_shown() {
        for (bytes, shown) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_977_344, "1.98MB"),
            (77_600_000, "77.6MB"),
            // Docker's `%.3g` shows this as 1e+03kB.
            (999_950, "1000kB"),
            (1_230_000_000, "1.23GB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
        assert_eq!(binary_size(25_279_967_232), "23.54GiB");
    }

    #[test]
    fn cpus_are_exact() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".25"), Ok(250_000_000));
        assert_eq!(nano_cpus("0.000000001"), Ok(1));
        assert_eq!(nano_cpus("0.0000000001"), Err(Invalid("value is too precise".to_owned())));
        nano_cpus("two").unwrap_err();
    }

    #[test]
    fn durations_are_in_gos_notation() {
        assert_eq!(duration("1h2m3.5s"), Ok(HOUR + 2 * MINUTE + 3 * SECOND + 500 * MILLISECOND));
        assert_eq!(duration("250ms"), Ok(250 * MILLISECOND));
        assert_eq!(duration("0"), Ok(0));
        duration("10").unwrap_err();
        duration("s").unwrap_err();
        duration("").unwrap_err();
    }

    #[test]
    fn times_are_in_dockers_words() {
        for (seconds, shown) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 24 * 3600, "13 days"),
            (14 * 24 * 3600, "2 weeks"),
            (60 * 24 * 3600, "2 months"),
            (730 * 24 * 3600, "2 years"),
        ] {
            assert_eq!(ago(seconds), shown);
        }
    }
}
