//! Times: now, as people read them, and as people write them.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, Zoned, civil::DateTime, tz::TimeZone};

use crate::{flag::Invalid, unit};

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A time in seconds since 1970 as local time, `2026-01-02 15:04:05 +0100 CET`.
pub(crate) fn local(seconds: i64) -> String {
    zoned(seconds, 0).map_or(String::new(), |it| it.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string())
}

/// A time in nanoseconds since 1970 as local time in RFC 3339 with nine decimal places.
pub(crate) fn local_nanoseconds(nanoseconds: i64) -> String {
    let (seconds, rest) =
        (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let Some(time) = zoned(seconds, i32::try_from(rest).unwrap_or(0)) else { return String::new() };
    let zone =
        if time.offset().is_zero() { "Z".to_owned() } else { time.strftime("%:z").to_string() };
    format!("{}{zone}", time.strftime("%Y-%m-%dT%H:%M:%S.%9f"))
}

/// A time in RFC 3339 as `version` shows it; what is no such time stays as it is.
pub(crate) fn built(text: &str) -> String {
    let time = text.parse::<Timestamp>();
    time.map_or_else(|_| text.to_owned(), |it| it.strftime("%a %b %e %H:%M:%S %Y").to_string())
}

fn zoned(seconds: i64, nanoseconds: i32) -> Option<Zoned> {
    let time = Timestamp::new(seconds, nanoseconds).ok()?;
    Some(time.to_zoned(TimeZone::system()))
}

/// Reads a moment for the daemon, which wants seconds since 1970: those, a time, a date, or a
/// duration before now.
pub(crate) fn moment(text: &str) -> Result<String, Invalid> {
    let numeric = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    if numeric {
        return Ok(text.to_owned());
    }
    if let Ok(nanoseconds) = unit::duration(text) {
        let then = Timestamp::now().as_nanosecond() - i128::from(nanoseconds);
        return Ok(fractional(then));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(fractional(time.as_nanosecond()));
    }
    let civil = text.parse::<DateTime>().or_else(|_| format!("{text}:00").parse::<DateTime>());
    let civil = civil.ok().and_then(|it| it.to_zoned(TimeZone::system()).ok());
    let time = civil
        .ok_or_else(|| Invalid(format!("failed to parse value as time or duration: \"{text}\"")))?;
    Ok(fractional(time.timestamp().as_nanosecond()))
}

fn fractional(nanoseconds: i128) -> String {
    let billion = 1_000_000_000;
    format!("{}.{:09}", nanoseconds.div_euclid(billion), nanoseconds.rem_euclid(billion))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_seconds() {
        assert_eq!(moment("1700000000.5").as_deref(), Ok("1700000000.5"));
        assert_eq!(moment("2023-11-14T22:13:20Z").as_deref(), Ok("1700000000.000000000"));
        assert_eq!(moment("2023-11-14T22:13:20.25+00:00").as_deref(), Ok("1700000000.250000000"));
        moment("2023-11-14").unwrap();
        moment("2023-11-14T22:13").unwrap();
        moment("10m").unwrap();
        moment("soon").unwrap_err();
    }
}
