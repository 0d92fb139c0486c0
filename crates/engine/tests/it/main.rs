//! The engine on the real kernel: real shims, real containers, each test in a network namespace
//! of its own.

#![allow(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod exec;
mod harness;
mod life;
mod network;
mod recovery;
