//! End-to-end tests: the real executable as daemon, shim and client, on the real kernel.

#![allow(clippy::unwrap_used, reason = "what does not hold in a test ends it")]

mod api;
mod confinement;
mod docker;
mod engines;
mod faults;
mod guest;
mod http;
mod limits;
mod network;
mod oci;
mod run;

use wadah_testkit::Sandbox;

/// A sandbox with the image `busybox`.
#[track_caller]
fn sandbox() -> Sandbox {
    Sandbox::new().unwrap_or_else(|error| panic!("no sandbox: {error:#}"))
}
