//! The shim on the real kernel: real shims, real containers, and a client that is the test.

mod attach;
mod exec;
mod faults;
mod harness;
mod life;
mod logs;
