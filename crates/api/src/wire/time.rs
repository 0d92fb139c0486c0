//! Times on the wire.
//!
//! **Invariant:** times are RFC 3339 in UTC with up to nine digits of the second, and the absent
//! one is Go's zero time.

use jiff::{SignedDuration, Timestamp};

use crate::error::ApiError;

/// What Go prints for a time that was never set.
pub(crate) const ZERO: &str = "0001-01-01T00:00:00Z";

/// A time, or Go's zero time.
pub(crate) fn rfc3339(time: Option<Timestamp>) -> String {
    time.map_or_else(|| ZERO.to_owned(), |it| it.to_string())
}

/// Reads `since` and `until`: seconds since 1970 with a fraction, or RFC 3339. Zero is absence.
pub(crate) fn parse(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = text.filter(|it| *it != "0") else { return Ok(None) };
    let time = if text.contains('T') { text.parse().ok() } else { from_seconds(text) };
    let wrong = || ApiError::bad_request(format!("invalid value for \"{name}\": {text:?}"));
    time.map(Some).ok_or_else(wrong)
}

/// Reads a moment as filters have it: a time, or, as in `1h30m`, how long ago it was.
pub(crate) fn moment(name: &str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    if let Some(ago) = duration(text) {
        let before = now.checked_sub(ago);
        return Ok(before.unwrap_or(Timestamp::MIN));
    }
    Ok(parse(name, Some(text))?.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Reads Go's notation of a duration, of whole numbers: `1h30m`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|it: char| it.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: i64 = number.parse().ok()?;
        let part = match unit {
            "h" => SignedDuration::from_secs(number.checked_mul(3600)?),
            "m" => SignedDuration::from_secs(number.checked_mul(60)?),
            "s" => SignedDuration::from_secs(number),
            "ms" => SignedDuration::from_millis(number),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

fn from_seconds(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_fraction = fraction.len() <= 9 && fraction.bytes().all(|it| it.is_ascii_digit());
    let nanoseconds = is_fraction.then(|| format!("{fraction:0<9}"))?.parse::<i32>().ok()?;
    let seconds: i64 = seconds.parse().ok()?;
    Timestamp::new(seconds, if text.starts_with('-') { -nanoseconds } else { nanoseconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_many_digits_as_they_need() {
        let check = |nanoseconds, expected: &str| {
            let time = Timestamp::from_nanosecond(nanoseconds).unwrap();
            assert_eq!(rfc3339(Some(time)), expected);
        };
        check(0, "1970-01-01T00:00:00Z");
        check(1_500_000_000, "1970-01-01T00:00:01.5Z");
        check(123_456_789, "1970-01-01T00:00:00.123456789Z");
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn a_moment_may_be_told_by_how_long_ago_it_was() {
        let now = Timestamp::from_second(10_000).unwrap();
        let check = |text, expected| {
            assert_eq!(moment("until", text, now).unwrap().as_second(), expected, "{text}");
        };
        check("1h", 6400);
        check("1h30m10s", 4590);
        check("5", 5);
        check("1970-01-01T00:01:00Z", 60);
        assert_eq!(moment("until", "300000000h", now).unwrap(), Timestamp::MIN);
        for text in ["h", "1x", "1h3", "-1h", "99999999999999999999s"] {
            moment("until", text, now).unwrap_err();
        }
    }

    #[test]
    fn unix_times_may_have_a_fraction() {
        let check = |text, expected: Option<i128>| {
            let time = parse("since", Some(text)).unwrap();
            assert_eq!(time.map(Timestamp::as_nanosecond), expected, "{text}");
        };
        check("0", None);
        check("1.5", Some(1_500_000_000));
        check("1136073600.000000001", Some(1_136_073_600_000_000_001));
        check("-2", Some(-2_000_000_000));
        check("1970-01-01T00:00:01Z", Some(1_000_000_000));
        for text in ["x", "1.x", "1.0000000001", "99999999999999999", "T"] {
            let error = parse("since", Some(text)).unwrap_err().to_string();
            assert!(error.contains("since"), "{error}");
        }
    }
}
