//! The command line: Docker's commands, flags, output and exit codes over the Engine API.
//!
//! One table per command ([`flag`], [`command`]) yields its parser ([`grammar`]), its help
//! ([`help`]), its man page and its completions ([`manual`]). The command's function turns its
//! options into requests ([`client`]) and the answers into text.
//!
//! **Invariant:** what a command does, it does over the API: a remote daemon works the same. The
//! one exception is [`launch`], which starts a local daemon that is not there.
//! **Invariant:** nothing is done before it is needed. One command is parsed, one runtime is
//! started on the calling thread, and no request asks for what no one will read.
//!
//! The client is our own, on `hyper`, and only the models are `bollard`'s: its client cannot say
//! when a wait has been registered, splits terminal output into lines and frames, refuses values
//! that are newer than itself, and drops the fields it does not know from what `inspect` shows.

mod client;
mod columns;
mod command;
mod commands;
mod context;
mod detach;
mod failure;
mod filters;
mod flag;
mod foreground;
mod format;
mod frame;
mod grammar;
mod help;
mod host;
mod json;
mod launch;
mod manual;
mod options;
mod output;
mod progress;
mod reference;
mod session;
mod signals;
mod similar;
mod template;
mod terminal;
mod time;
mod tree;
mod unit;

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::ExitCode,
};

use crate::{
    context::{Context, Globals},
    failure::Failure,
    grammar::Flags,
    host::Surroundings,
};

/// Runs the command that `arguments` ask for. The first argument is the name we were called by.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments;
    let program = program(arguments.next().as_deref());
    let surroundings = Surroundings::of_process();
    let mut cx = Context { program, globals: Globals::default(), surroundings };

    let parsed =
        text(arguments).and_then(|it| Ok(grammar::parse(&[context::FLAGS], Flags::First, it)?));
    let status = match parsed {
        Ok(parsed) => {
            cx.globals = parsed.options;
            tree::walk(&cx, parsed.rest, parsed.help)
        }
        Err(failure) => failure.tell(&cx, &tree::top()),
    };
    ExitCode::from(status)
}

/// The name to go by: `docker` when called so, by a symbolic link.
fn program(name: Option<&OsStr>) -> &'static str {
    match name.map(Path::new).and_then(Path::file_name) {
        Some(name) if name == "docker" => "docker",
        _ => "wadah",
    }
}

fn text(arguments: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    arguments
        .map(|it| {
            it.into_string()
                .map_err(|it| Failure::refused(format!("argument {it:?} is not valid UTF-8")))
        })
        .collect()
}
