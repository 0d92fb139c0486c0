//! Running every test.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{setup, shell};

/// Sets up, builds the executable and runs the tests of the whole workspace.
pub(crate) fn run(filter: Option<&str>, soak: bool) -> Result<()> {
    ensure!(is_root()?, "the tests make namespaces, mounts and cgroups: run them as root");
    setup::run(true)?;
    // The tests of every crate use the executable, which cargo builds only for the tests of its own.
    shell::run(shell::cargo().args(["build", "--package", "wadah"]))?;
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]);
    if soak {
        command.env("WADAH_SOAK", "1");
    }
    command.arg("--").args(filter);
    shell::run(&mut command)
}

fn is_root() -> Result<bool> {
    Ok(shell::read(Command::new("id").arg("-u"))?.trim() == "0")
}
