//! Failures: why a command did not do what was asked, and how that is told.
//!
//! The words that scripts look for are Docker's. Hints are not part of an error: they are printed
//! after it, on lines of their own.

use std::{error::Error, io, path::PathBuf};

use crate::{
    context::Context,
    flag::Invalid,
    grammar::GrammarError,
    help::{self, Place},
    output, tree,
};

/// Exit status of a command whose output nobody reads any more: what a shell shows for a process
/// that SIGPIPE ended.
const BROKEN_PIPE: u8 = 141;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("Error response from daemon: {message}")]
    Daemon { status: u16, message: String },
    #[error("Cannot connect to the Wadah daemon at {host}. Is the wadah daemon running?")]
    Unreachable { host: String, source: io::Error },
    #[error("permission denied while trying to connect to the Wadah daemon socket at {host}")]
    Forbidden { host: String, source: io::Error },
    #[error("lost the connection to the daemon while waiting for {what}")]
    Connection { what: &'static str, source: Box<dyn Error + Send + Sync> },
    #[error("cannot read the daemon's answer to {what}")]
    Answer { what: String, source: serde_json::Error },
    #[error("{action} {path}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot write output")]
    Output { source: io::Error },
    #[error("cannot {action}")]
    System { action: &'static str, source: io::Error },
    /// The arguments make no sense, whatever the daemon would say.
    #[error("{message}")]
    Refused { message: String },
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    /// Wrong number of arguments.
    #[error("'{program} {path}' {problem}")]
    Arity { program: &'static str, path: String, problem: String },
    #[error("unknown command: {program} {command}")]
    UnknownCommand { program: &'static str, command: String, similar: Option<&'static str> },
    /// The same, told without the program's name, as ever.
    #[error("{message}")]
    Bare { message: &'static str },
    /// As the cause says, with an exit status of its own.
    #[error("{cause}")]
    Exit { status: u8, cause: Box<Self> },
    /// Everything has been said already.
    #[error("exit status {status}")]
    Told { status: u8 },
}

impl From<Invalid> for Failure {
    fn from(Invalid(message): Invalid) -> Self {
        Self::Refused { message }
    }
}

impl Failure {
    /// A refusal in words of our own.
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused { message: message.into() }
    }

    /// The HTTP status, if the daemon answered with one.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Daemon { status, .. } => Some(*status),
            Self::Exit { cause, .. } => cause.status(),
            _ => None,
        }
    }

    /// Prints what went wrong for somebody who ran the command at `place`; returns the status to
    /// exit with.
    pub(crate) fn tell(&self, cx: &Context, place: &Place) -> u8 {
        match self {
            Self::Told { status } => return *status,
            Self::Output { source } if source.kind() == io::ErrorKind::BrokenPipe => {
                return BROKEN_PIPE;
            }
            Self::Exit { status, cause } => {
                cause.tell(cx, place);
                return *status;
            }
            _ => {}
        }
        let text = match self {
            Self::Grammar(error) => grammar(cx, place, error),
            Self::Arity { .. } => format!("{}: {self}\n\n{}", cx.program, usage(cx, place)),
            Self::UnknownCommand { command, similar, .. } => {
                unknown(cx, &self.to_string(), command, *similar)
            }
            Self::Bare { message } => format!("{message}\n"),
            _ if place.failed == 125 => {
                format!("{}: {}\n{}", cx.program, self.chain(), pointer(cx, place))
            }
            _ => format!("{}\n", self.chain()),
        };
        output::error(&text);
        self.code(place)
    }

    fn code(&self, place: &Place) -> u8 {
        match self {
            Self::Grammar(_) => 125,
            Self::Arity { .. } | Self::UnknownCommand { .. } | Self::Bare { .. } => 1,
            _ => place.failed,
        }
    }

    /// The message with its causes, outermost first.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        // A refused connection is told by its first line alone, as scripts expect it.
        if matches!(self, Self::Unreachable { .. }) {
            cause = None;
        }
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&reason(error));
            cause = error.source();
        }
        text
    }
}

/// What an error says. The system's own are put as Docker puts them: without a number, and in
/// lower case.
fn reason(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let number = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    match number.and_then(|it| text.strip_suffix(&format!(" (os error {it})"))) {
        Some(text) => text.to_ascii_lowercase(),
        None => text,
    }
}

fn grammar(cx: &Context, place: &Place, error: &GrammarError) -> String {
    let hint = match error {
        GrammarError::UnknownLong { similar: Some(name), .. } => {
            format!("hint: did you mean --{name}?\n\n")
        }
        _ => String::new(),
    };
    format!("{error}\n\n{hint}{}", usage(cx, place))
}

fn usage(cx: &Context, place: &Place) -> String {
    format!("Usage:  {}\n{}", help::usage(cx.program, place), pointer(cx, place))
}

fn pointer(cx: &Context, place: &Place) -> String {
    format!("\nRun '{} --help' for more information\n", help::full(cx.program, &place.path))
}

fn unknown(cx: &Context, message: &str, command: &str, similar: Option<&str>) -> String {
    let program = cx.program;
    let parent = match command.rsplit_once(' ') {
        Some((parent, _)) => format!("{program} {parent}"),
        None => program.to_owned(),
    };
    let hint = match similar {
        _ if tree::LATER.contains(&command) => {
            "\nhint: Docker has this command, and this release has not yet\n".to_owned()
        }
        Some(name) => format!("\nhint: did you mean '{parent} {name}'?\n"),
        None => String::new(),
    };
    format!("{program}: {message}\n{hint}\nRun '{parent} --help' for more information\n")
}
