//! The OCI command line: the runtime as a program, for engines that call one.
//!
//! It follows runc's grammar, which engines expect: global flags, a command, flags, the container's
//! id. Every command is a process of its own; what they know of a container is on disk, in a
//! directory of its own below `--root`.
//!
//! **Invariant:** what goes wrong is said once, on standard error and in the `--log`, and the exit
//! code is not zero.
//! **Absent:** supervision. A created container's parent is whoever reaps orphans.

mod clock;
mod console;
mod error;
mod events;
mod features;
mod flags;
mod kill;
mod list;
mod log;
mod make;
mod process;
mod ps;
mod signal;
mod spec;
mod state;
mod update;
mod wait;

use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, error::ErrorKind};

use self::{
    error::CommandError,
    flags::{Command, Flags},
    log::Log,
    state::Root,
};
use crate::protect;

/// Commands whose process can be seen from inside a container.
const SEEN: [&str; 3] = ["create", "exec", "run"];

/// Runs the command that `arguments` (without the program's name) ask for.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    if SEEN.iter().any(|command| arguments.iter().any(|it| it == command)) {
        // Before anything else is done, for it starts everything again. If it fails, the command
        // tries again and tells.
        let _protected = protect::reexec_from_readonly();
    }
    let name = OsString::from("wadah-runtime");
    let flags = match Flags::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(flags) => flags,
        Err(err) => return refuse(&err),
    };
    let log = match Log::open(flags.log.as_deref(), flags.log_format) {
        Ok(log) => log,
        Err(err) => {
            Log::to_standard_error().error(&err);
            return ExitCode::FAILURE;
        }
    };
    match run(flags, &log) {
        Ok(code) => ExitCode::from(code),
        Err(err) => {
            log.error(&err);
            ExitCode::from(err.exit_code())
        }
    }
}

fn run(flags: Flags, log: &Log) -> Result<u8, CommandError> {
    let root = Root::new(flags.root);
    let done = |()| 0;
    match flags.command {
        Command::Create(flags) => make::create(&root, &flags, log).map(done),
        Command::Run(flags) => make::run(&root, &flags, log),
        Command::Start(flags) => make::start(&root, &flags.id, log).map(done),
        Command::Exec(flags) => process::exec(&root, &flags, log),
        Command::Kill(flags) => kill::kill(&root, &flags).map(done),
        Command::Delete(flags) => kill::delete(&root, &flags, log).map(done),
        Command::Pause(flags) => kill::pause(&root, &flags.id).map(done),
        Command::Resume(flags) => kill::resume(&root, &flags.id).map(done),
        Command::State(flags) => list::state(&root, &flags.id).map(done),
        Command::List(flags) => list::list(&root, &flags).map(done),
        Command::Ps(flags) => ps::ps(&root, &flags),
        Command::Update(flags) => update::update(&root, &flags, log).map(done),
        Command::Events(flags) => events::events(&root, &flags).map(done),
        Command::Features => features::features().map(done),
        Command::Spec(flags) => spec::spec(&flags).map(done),
    }
}

/// Prints what clap has to say: help, the version, or what is wrong with the flags.
fn refuse(err: &clap::Error) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    let _told = err.print();
    match err.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
