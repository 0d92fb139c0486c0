//! The runtime on the real kernel: each test makes containers of busybox and looks at what came out.

#![allow(clippy::unwrap_used, reason = "what does not hold in a test ends it")]

mod bundle;
mod gate;
mod mounts;
mod namespaces;
mod process;
mod threats;

pub(crate) use bundle::{Bundle, base, pipes, push, read, run, wait};
