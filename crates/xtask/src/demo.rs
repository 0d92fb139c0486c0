//! The three-minute tour, run by a machine.

use anyhow::Result;
use wadah_testkit::Sandbox;

use crate::{release, setup};

/// What is shown; each line is given to `wadah`.
const TOUR: &[&[&str]] = &[
    &["version"],
    &["run", "--rm", "wadah/hello"],
    &["images"],
    &["run", "--rm", "busybox", "echo", "a real container, from a real image"],
    &[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "8080:80",
        "busybox",
        "sh",
        "-c",
        "echo served by wadah > index.html; exec httpd -f -p 80",
    ],
    &["ps"],
    &["exec", "web", "ps"],
    &["logs", "web"],
    &["stop", "-t", "1", "web"],
    &["rm", "web"],
];

/// Sets up, builds, starts a daemon in a network namespace of its own, and runs containers.
pub(crate) fn run() -> Result<()> {
    setup::run(false)?;
    let executable = release::run()?;
    println!("\nStarting a daemon with its own directories and its own network namespace.");
    let sandbox = Sandbox::of(executable, &[])?;
    sandbox.load_busybox()?;
    for arguments in TOUR {
        println!("\n$ wadah {}", arguments.join(" "));
        print!("{}", show(sandbox.wadah(*arguments)));
    }
    println!("\nStopping the daemon; everything it made is removed.");
    Ok(())
}

fn show(output: wadah_testkit::Output) -> String {
    assert_eq!(output.code, 0, "{output}");
    output.stdout + &output.stderr
}
