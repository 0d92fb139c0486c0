//! A container's state as people read it: `Up 3 minutes`, `Exited (0) 2 hours ago`.

use jiff::Timestamp;

use super::view::{Running, State};

/// Docker's words for a state at the moment `now`.
pub(super) fn status(state: &State, now: Timestamp) -> String {
    let since = |then: Timestamp| duration(now.duration_since(then).as_secs());
    match state {
        State::Created | State::Failed(_) => "Created".to_owned(),
        State::Running(Running { started_at, paused, .. }) => {
            let paused = if *paused { " (Paused)" } else { "" };
            format!("Up {}{paused}", since(*started_at))
        }
        State::Restarting(exited) => {
            format!("Restarting ({}) {} ago", exited.code, since(exited.finished_at))
        }
        State::Exited(exited) => {
            format!("Exited ({}) {} ago", exited.code, since(exited.finished_at))
        }
        State::Dead(_) => "Dead".to_owned(),
        State::Removing(_) => "Removal In Progress".to_owned(),
    }
}

/// A duration in its largest fitting unit, as Docker's clients show it.
fn duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const WEEK: i64 = 7 * DAY;
    const MONTH: i64 = 30 * DAY;
    const YEAR: i64 = 365 * DAY;
    // Hours are rounded; everything else is cut off.
    let hours = (seconds + HOUR / 2) / HOUR;
    match seconds {
        ..1 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..MINUTE => format!("{seconds} seconds"),
        _ if seconds < 2 * MINUTE => "About a minute".to_owned(),
        _ if seconds < HOUR => format!("{} minutes", seconds / MINUTE),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if seconds < 2 * WEEK => format!("{} days", hours / 24),
        _ if seconds < 2 * MONTH => format!("{} weeks", seconds / WEEK),
        _ if seconds < 2 * YEAR => format!("{} months", seconds / MONTH),
        _ => format!("{} years", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_dockers() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (90 * 86_400, "3 months"),
            (3 * 365 * 86_400, "3 years"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds} s");
        }
    }
}
