//! The shim on the real kernel: real shims, real containers, and a client that is the test.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod attach;
mod exec;
mod faults;
mod foreign;
mod harness;
mod life;
mod logs;
