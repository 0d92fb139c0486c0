//! A shim as a program of its own: what the tests start in the place of the real executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    wadah_shim::supervise::main(std::env::args_os().skip(1))
}
