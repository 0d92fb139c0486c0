//! The runtime on the real kernel: each test makes containers of busybox and looks at what came out.

mod bundle;
mod process;

pub(crate) use bundle::{Bundle, Outcome, run};
