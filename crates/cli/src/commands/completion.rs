//! `completion`: prints completions for a shell.

use super::verbs::Plain;
use crate::{
    command::{Arity, Command},
    grammar::Flags,
    manual, output,
};

pub(crate) static COMMAND: Command<Plain> = Command {
    about: "Print completions for bash, zsh or fish",
    usage: "SHELL",
    arity: Arity::Exactly(1),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, arguments| {
        Box::pin(async move {
            let script = manual::completions(&arguments[0], cx.program)?;
            output::write(&script).map(|()| 0)
        })
    },
};
