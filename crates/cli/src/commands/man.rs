//! `man`: writes the man pages.

use std::path::Path;

use super::verbs::Plain;
use crate::{
    command::{Arity, Command},
    grammar::Flags,
    manual,
};

pub(crate) static COMMAND: Command<Plain> = Command {
    about: "Write the man pages to a folder",
    usage: "DIRECTORY",
    arity: Arity::Exactly(1),
    flags: &[],
    placement: Flags::Anywhere,
    failed: 1,
    run: |cx, Plain, arguments| {
        Box::pin(async move {
            manual::pages(Path::new(&arguments[0]), cx.program)?;
            Ok(0)
        })
    },
};
