//! Waiting for something to become true, never for time to pass.

use std::{
    thread,
    time::{Duration, Instant},
};

const LIMIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until `is_true` says so; panics naming `what` after thirty seconds.
#[track_caller]
pub fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    wait_for(what, || is_true().then_some(()));
}

/// Waits until `find` finds something; panics naming `what` after thirty seconds.
#[track_caller]
pub fn wait_for<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(begin.elapsed() < LIMIT, "waited {LIMIT:?} in vain: {what}");
        thread::sleep(PAUSE);
    }
}
