//! What tests stand on: sandboxes with a daemon of their own, fixture images, waits, leak checks.
//!
//! A [`Sandbox`] is a private network namespace, data root, run root, cgroup parent and daemon, so
//! that tests run side by side and leave the host as it was. Everything is real: the kernel, the
//! daemon, the clients. When a sandbox is dropped it checks that nothing of it is left behind, and
//! fails the test otherwise.
//!
//! **Invariant:** nothing here sleeps for a guessed time; [`wait_until`] watches a predicate with a
//! deadline.

#![allow(clippy::print_stderr, reason = "a test that cannot run must say so loudly")]

mod cpio;
use std::io::Write as _;

mod fixture;
mod guest;
mod leaks;
mod output;
mod sandbox;
mod wait;

pub use fixture::{busybox, busybox_root};
pub use guest::{Guest, GuestOutput};
pub use output::Output;
pub use sandbox::{Sandbox, docker, wadah_executable};
pub use wait::{wait_for, wait_until};

/// Says loudly that a test did not run, and why. The test returns right after.
#[track_caller]
pub fn skip(reason: &str) {
    let place = std::panic::Location::caller();
    // Not `eprintln!`: the test harness swallows that of tests that pass.
    let line = format!("SKIPPED: {reason} ({}:{})\n", place.file(), place.line());
    std::io::stderr().write_all(line.as_bytes()).unwrap_or_default();
}
