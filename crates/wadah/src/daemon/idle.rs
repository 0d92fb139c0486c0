//! Giving memory back when nothing happens.
//!
//! A burst of requests (a hundred starts, a large image) leaves the allocator with free memory
//! that it keeps for the next one. A daemon sleeps most of its life: after a quiet while it keeps
//! only what it needs. The code that ran is forgotten likewise: it is in the page cache, and comes
//! back by faults that cost less than a millisecond in all.

use std::time::Duration;

use tokio::{task::spawn_blocking, time::interval};
use wadah_api::Activity;
use wadah_sys::heap;

/// How long nothing must have happened.
const QUIET: Duration = Duration::from_secs(5);

/// Gives memory back once after each burst of activity, for ever.
pub(super) async fn trim_when_quiet(activity: Activity) {
    let mut ticks = interval(QUIET);
    // The start is a burst, too.
    let (mut last, mut trimmed) = (activity.requests(), None);
    loop {
        ticks.tick().await;
        let now = activity.requests();
        if now == last && trimmed != Some(now) {
            trimmed = Some(now);
            // Neither waits for anything, nor can it be undone: nobody needs its result.
            drop(spawn_blocking(|| {
                heap::trim();
                heap::forget_code();
            }));
        }
        last = now;
    }
}
