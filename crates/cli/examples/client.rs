//! The command line by itself, without the daemon's roles: for tests and for measuring.

use std::process::ExitCode;

fn main() -> ExitCode {
    wadah_cli::main(std::env::args_os())
}
