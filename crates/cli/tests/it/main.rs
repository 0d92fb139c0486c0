//! The command line against a daemon of its own: on terminals, in pipes, beside Docker's client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod autostart;
mod pty;
mod side_by_side;
mod streams;
mod terminal;

use wadah_testkit::Sandbox;

/// A sandbox with the image `busybox`.
#[track_caller]
fn sandbox() -> Sandbox {
    Sandbox::new().unwrap_or_else(|error| panic!("no sandbox: {error:#}"))
}
