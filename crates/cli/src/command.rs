//! Commands and groups of commands: the tree that the arguments walk.
//!
//! A [`Command`] is data: usage, a line about it, how many arguments, the tables of its flags,
//! and the function that does it. Its options' type is erased behind [`Entry`], so that help, man
//! pages and completions see all commands alike. Nothing is built before it is needed: walking
//! the tree touches only the command that was asked for.

use std::{future::Future, pin::Pin};

use crate::{
    context::Context,
    failure::Failure,
    flag::{Flag, Names, Value},
    grammar::{self, Flags},
    help::{self, Place},
    output, terminal,
};

/// What a command's function returns: the exit status.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<u8, Failure>> + 'a>>;

/// A command with options `T`.
pub(crate) struct Command<T: 'static> {
    pub about: &'static str,
    /// What follows the command's name in the usage.
    pub usage: &'static str,
    pub arity: Arity,
    pub flags: &'static [&'static [Flag<T>]],
    /// Whether flags may come after other arguments.
    pub placement: Flags,
    /// The exit status when it fails for reasons of its own.
    pub failed: u8,
    pub run: for<'a> fn(&'a Context, T, Vec<String>) -> Answer<'a>,
}

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
}

/// A command whose options' type does not matter.
pub(crate) trait Entry: Sync {
    fn about(&self) -> &'static str;
    fn usage(&self) -> &'static str;
    fn failed(&self) -> u8;
    fn flags(&self) -> Vec<Names>;
    fn execute(
        &self,
        cx: &Context,
        place: &Place,
        aliases: &dyn Fn() -> Vec<String>,
        arguments: Vec<String>,
    ) -> Result<u8, Failure>;
}

/// A named set of commands.
pub(crate) struct Group {
    pub about: &'static str,
    pub items: &'static [Item],
}

/// A node under one of its names. The first name is the one that the help shows.
pub(crate) struct Item {
    pub names: &'static [&'static str],
    pub node: Node,
    pub hidden: bool,
}

/// What a name stands for.
pub(crate) enum Node {
    Command(&'static dyn Entry),
    Group(&'static Group),
}

impl Item {
    /// A command under `names`.
    pub(crate) const fn command(names: &'static [&'static str], entry: &'static dyn Entry) -> Self {
        Self { names, node: Node::Command(entry), hidden: false }
    }

    /// A group under `names`.
    pub(crate) const fn group(names: &'static [&'static str], group: &'static Group) -> Self {
        Self { names, node: Node::Group(group), hidden: false }
    }

    /// The same, not shown in help.
    #[must_use]
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    pub(crate) fn is_group(&self) -> bool {
        matches!(self.node, Node::Group(_))
    }

    pub(crate) fn about(&self) -> &'static str {
        match self.node {
            Node::Command(entry) => entry.about(),
            Node::Group(group) => group.about,
        }
    }
}

impl<T: Default> Entry for Command<T> {
    fn about(&self) -> &'static str {
        self.about
    }

    fn usage(&self) -> &'static str {
        self.usage
    }

    fn failed(&self) -> u8 {
        self.failed
    }

    fn flags(&self) -> Vec<Names> {
        self.flags.iter().flat_map(|it| it.iter()).map(|it| it.names).collect()
    }

    fn execute(
        &self,
        cx: &Context,
        place: &Place,
        aliases: &dyn Fn() -> Vec<String>,
        arguments: Vec<String>,
    ) -> Result<u8, Failure> {
        let parsed = grammar::parse(self.flags, self.placement, arguments)?;
        if parsed.help {
            let flags = self.flags();
            let width = terminal::width().unwrap_or(80);
            let aliases = aliases();
            let text = help::command(cx.program, place, self.about, &aliases, &flags, width);
            return output::print(&text).map(|()| 0);
        }
        if let Some(problem) = self.arity.problem(parsed.rest.len()) {
            return Err(Failure::Arity { program: cx.program, path: place.path.clone(), problem });
        }
        block_on((self.run)(cx, parsed.options, parsed.rest))
    }
}

impl Arity {
    /// What is wrong with `count` arguments, in Docker's words.
    fn problem(self, count: usize) -> Option<String> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let problem = match self {
            Self::None if count > 0 => "accepts no arguments".to_owned(),
            Self::Exactly(n) if count != n => format!("requires {n} {}", plural(n)),
            Self::AtLeast(n) if count < n => format!("requires at least {n} {}", plural(n)),
            Self::AtMost(n) if count > n => format!("requires at most {n} {}", plural(n)),
            Self::Between(low, high) if count < low || count > high => {
                format!("requires at least {low} and at most {high} {}", plural(high))
            }
            _ => return None,
        };
        Some(problem)
    }
}

/// Makes the table row of a switch or value visible as its names.
impl<T> From<&Flag<T>> for Names {
    fn from(flag: &Flag<T>) -> Self {
        debug_assert_eq!(flag.names.takes.is_none(), matches!(flag.value, Value::Switch(_)));
        flag.names
    }
}

/// Runs `answer` on a runtime of its own, on this thread.
fn block_on(answer: Answer<'_>) -> Result<u8, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|source| Failure::System { action: "start the event loop", source })?;
    let result = runtime.block_on(answer);
    // Nothing that still runs is worth waiting for: the answer is there.
    runtime.shutdown_background();
    result
}
