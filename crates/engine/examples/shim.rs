//! A shim, and nothing else: what the integration tests of the engine start.

#![forbid(unsafe_code)]

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    wadah_shim::supervise::main(env::args_os().skip(1))
}
