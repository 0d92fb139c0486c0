//! The time of day, and how a log writes it.

use rustix::time::{ClockId, clock_gettime};

const DAY: i64 = 86_400;

/// A moment of the UNIX clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    seconds: i64,
    nanoseconds: u32,
}

impl Moment {
    /// Reads the clock.
    pub(crate) fn now() -> Self {
        let time = clock_gettime(ClockId::Realtime);
        let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
        Self { seconds: time.tv_sec, nanoseconds }
    }

    /// Makes a moment up.
    #[cfg(test)]
    pub(crate) const fn at(seconds: i64, nanoseconds: u32) -> Self {
        Self { seconds, nanoseconds }
    }

    /// Nanoseconds since 1970; 0 for a clock that stands before it.
    pub(crate) fn nanoseconds(self) -> u64 {
        u64::try_from(self.seconds)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000)
            .saturating_add(u64::from(self.nanoseconds))
    }

    /// Appends the moment as RFC 3339 in UTC, its fraction without trailing zeros: what Go calls
    /// `RFC3339Nano`, and Docker's logs hold.
    pub(crate) fn write_rfc3339(self, out: &mut Vec<u8>) {
        let (year, month, day) = civil(self.seconds.div_euclid(DAY));
        let second = self.seconds.rem_euclid(DAY);
        write_digits(out, year, 4);
        for (before, value) in [(b'-', month), (b'-', day), (b'T', second / 3600)] {
            out.push(before);
            write_digits(out, value, 2);
        }
        for value in [second / 60 % 60, second % 60] {
            out.push(b':');
            write_digits(out, value, 2);
        }
        if self.nanoseconds > 0 {
            out.push(b'.');
            write_digits(out, self.nanoseconds.into(), 9);
            while out.last() == Some(&b'0') {
                out.pop();
            }
        }
        out.push(b'Z');
    }
}

/// Appends `value` as `width` decimal digits.
fn write_digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_i64.pow(place) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// The proleptic Gregorian date of a day counted from 1970-01-01.
///
/// Years begin in March here, so that the day a leap year adds is a year's last; 400 years are
/// one era of 146,097 days.
const fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    const FROM_0000_03_01: i64 = 719_468;
    let days = days + FROM_0000_03_01;
    let of_era = days.rem_euclid(ERA);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + 400 * days.div_euclid(ERA);
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seconds: i64, nanoseconds: u32, text: &str) {
        let mut out = Vec::new();
        Moment { seconds, nanoseconds }.write_rfc3339(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn moments_are_written_as_rfc_3339() {
        check(0, 0, "1970-01-01T00:00:00Z");
        check(951_782_400, 1, "2000-02-29T00:00:00.000000001Z");
        check(1_700_000_000, 120_000_000, "2023-11-14T22:13:20.12Z");
        check(4_107_542_399, 999_999_999, "2100-02-28T23:59:59.999999999Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00Z");
        check(-1, 0, "1969-12-31T23:59:59Z");
    }
}
