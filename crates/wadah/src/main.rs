//! The executable. Its first act is to find out which role it has; nothing else is initialised
//! before, so that a shim never pays for what only a daemon needs.
//!
//! The role is the name it was called by (`wadah-shim`), or the first argument (`wadah shim`).
//! Anything else is the command line.

#![forbid(unsafe_code)]

mod daemon;
mod hello;

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

/// What this process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The engine and its API.
    Daemon,
    /// One container's supervisor.
    Shim,
    /// The OCI runtime's command line.
    Runtime,
    /// A registry.
    Registry,
    /// A client.
    Client,
}

fn main() -> ExitCode {
    let (role, own_arguments) = find_role(env::args_os());
    let arguments = env::args_os().skip(own_arguments);
    match role {
        Role::Daemon => daemon::main(arguments),
        Role::Shim => wadah_shim::supervise::main(arguments),
        Role::Runtime => wadah_runtime::command::main(arguments),
        Role::Registry => refuse("the registry is not part of this release"),
        Role::Client => wadah_cli::main(env::args_os()),
    }
}

/// The role, and how many arguments told it.
fn find_role(mut arguments: impl Iterator<Item = OsString>) -> (Role, usize) {
    let called = arguments.next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default().to_string_lossy();
    if let Some(role) = called.strip_prefix("wadah-").and_then(|it| role_named(OsStr::new(it))) {
        return (role, 1);
    }
    match arguments.next().as_deref().and_then(role_named) {
        Some(role) => (role, 2),
        None => (Role::Client, 0),
    }
}

fn role_named(name: &OsStr) -> Option<Role> {
    match name.to_str()? {
        "daemon" => Some(Role::Daemon),
        "shim" => Some(Role::Shim),
        "runtime" => Some(Role::Runtime),
        "registry" => Some(Role::Registry),
        _ => None,
    }
}

/// Says why nothing was done.
fn refuse(message: &str) -> ExitCode {
    // Where standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr(), "wadah: {message}"));
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arguments: &[&str], expected: (Role, usize)) {
        let arguments = arguments.iter().map(OsString::from);
        assert_eq!(find_role(arguments), expected);
    }

    #[test]
    fn the_role_is_the_name_or_the_first_argument() {
        check(&["/usr/bin/wadah", "daemon", "-H", "x"], (Role::Daemon, 2));
        check(&["/usr/bin/wadah-runtime", "list"], (Role::Runtime, 1));
        check(&["wadah", "shim"], (Role::Shim, 2));
        check(&["wadah", "run", "daemon"], (Role::Client, 0));
        check(&["docker", "ps"], (Role::Client, 0));
        check(&["wadah-compose", "up"], (Role::Client, 0));
        check(&[], (Role::Client, 0));
    }
}
