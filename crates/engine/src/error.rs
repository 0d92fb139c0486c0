//! What can go wrong, in the words that Docker's clients know.
//!
//! **Invariant:** every error has a [`Class`], which says whose fault it is; the edge maps classes
//! to HTTP status codes, gRPC codes or exit codes in one table. Nothing here knows those.

use std::{error, io};

use crate::images::ImageError;

/// Whose fault an error is, and what the client may do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request makes no sense, whatever the state (HTTP 400).
    InvalidArgument,
    /// What it names does not exist (404).
    NotFound,
    /// It does not go with the state things are in (409).
    Conflict,
    /// It is already as asked (304).
    NotModified,
    /// It makes sense and is refused (403).
    Forbidden,
    /// It may work later, or with something else installed (503).
    Unavailable,
    /// Docker can, this release cannot (501).
    NotImplemented,
    /// Our fault, or the machine's (500).
    Internal,
}

/// Why the engine did not do as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No container has this id, prefix of an id, or name.
    #[error("No such container: {reference}")]
    NoSuchContainer {
        /// What was given.
        reference: String,
    },
    /// No exec session has this id.
    #[error("No such exec instance: {id}")]
    NoSuchExec {
        /// What was given.
        id: String,
    },
    /// No network has this id, prefix of an id, or name.
    #[error("network {reference} not found")]
    NoSuchNetwork {
        /// What was given.
        reference: String,
    },
    /// Several things have ids that begin so.
    #[error("Multiple IDs found with provided prefix: {prefix}")]
    AmbiguousPrefix {
        /// What was given.
        prefix: String,
    },
    /// The name belongs to another container.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". \
         You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name asked for.
        name: String,
        /// The id of the container that has it.
        holder: String,
    },
    /// The operation needs a running container.
    #[error("container {id} is not running")]
    NotRunning {
        /// The container's.
        id: String,
    },
    /// The operation needs a container that is not paused.
    #[error("Container {id} is paused, unpause the container before {operation}")]
    Paused {
        /// The container's.
        id: String,
        /// What was asked, as in "exec".
        operation: &'static str,
    },
    /// The container runs already.
    #[error("container {id} is already running")]
    AlreadyRunning {
        /// The container's.
        id: String,
    },
    /// A frozen container is thawed, not started.
    #[error("cannot start a paused container, try unpause instead")]
    CannotStartPaused,
    /// The container is frozen already.
    #[error("Container {id} is already paused")]
    AlreadyPaused {
        /// The container's.
        id: String,
    },
    /// The container is not frozen.
    #[error("Container {id} is not paused")]
    NotPaused {
        /// The container's.
        id: String,
    },
    /// A container whose namespace is to be joined does not run.
    #[error("cannot join the namespaces of a non running container: {id}")]
    JoinNotRunning {
        /// That container's.
        id: String,
    },
    /// Too many clients wait for one container's start.
    #[error("{limit} clients are attached to container {id}, which is not running")]
    TooManyAttached {
        /// The container's.
        id: String,
        /// How many may.
        limit: usize,
    },
    /// Too many exec sessions in one container.
    #[error("container {id} has {limit} exec sessions")]
    TooManyExecs {
        /// The container's.
        id: String,
        /// How many it may have.
        limit: usize,
    },
    /// The session does not run.
    #[error("exec process {id} is not running")]
    ExecNotRunning {
        /// The session's.
        id: String,
    },
    /// The container is stopped already.
    #[error("container {id} is already stopped")]
    AlreadyStopped {
        /// The container's.
        id: String,
    },
    /// A running container is removed only by force.
    #[error(
        "cannot remove container \"/{name}\": container is {state}: stop the container before \
         removing or force remove"
    )]
    RemoveRunning {
        /// The container's.
        name: String,
        /// Its state, as in "running".
        state: &'static str,
    },
    /// Someone else removes it at this moment.
    #[error("removal of container {id} is already in progress")]
    RemovalInProgress {
        /// The container's.
        id: String,
    },
    /// The container is being removed, or failed to be.
    #[error("container {id} is marked for removal and cannot be {operation}")]
    MarkedForRemoval {
        /// The container's.
        id: String,
        /// What was asked, as in "started".
        operation: &'static str,
    },
    /// Another operation on the same container did not finish in time.
    #[error("container {id} is busy: {operation} waited {seconds} s for the operation before it")]
    Busy {
        /// The container's.
        id: String,
        /// What was asked.
        operation: &'static str,
        /// How long it waited.
        seconds: u64,
    },
    /// Something about the container's configuration cannot be.
    #[error("{message}")]
    InvalidConfig {
        /// A sentence in Docker's words, naming the option and its value.
        message: String,
    },
    /// A filter that there is not, or a value it cannot have.
    #[error("invalid filter '{filter}{}{value}'", if value.is_empty() { "" } else { "=" })]
    InvalidFilter {
        /// Its name.
        filter: String,
        /// The value, or nothing if the name itself is unknown.
        value: String,
    },
    /// Something that Docker has and this release has not, and that would change behaviour.
    #[error("{option} is not supported yet")]
    Unsupported {
        /// The option and its value.
        option: String,
    },
    /// The container was created but its executable could not be started.
    #[error("failed to start container {id}: {message}")]
    Start {
        /// The container's.
        id: String,
        /// What failed.
        message: String,
        /// The exit code that tells: 127 not found, 126 cannot be executed, 128 anything else.
        exit_code: i32,
    },
    /// A process could not be started in a running container.
    #[error("OCI runtime exec failed: {message}")]
    ExecStart {
        /// What failed.
        message: String,
        /// As of [`EngineError::Start`].
        exit_code: i32,
    },
    /// The exec session has been started before.
    #[error("exec command {id} has already run")]
    ExecUsed {
        /// The session's.
        id: String,
    },
    /// A host port belongs to someone else, or no port is left.
    #[error("{message}")]
    Port {
        /// A sentence naming the port and its holder.
        message: String,
    },
    /// An operation took longer than it may.
    #[error("{operation} of {id} took longer than {seconds} s")]
    Deadline {
        /// What was done.
        operation: &'static str,
        /// To what.
        id: String,
        /// The limit.
        seconds: u64,
    },
    /// The logging driver cannot be read.
    #[error("configured logging driver does not support reading")]
    LogNotReadable,
    /// About images.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A part below the engine failed.
    #[error("{operation}")]
    Mechanism {
        /// What was being done, naming the thing.
        operation: String,
        /// Why it failed.
        source: Box<dyn error::Error + Send + Sync>,
    },
    /// A file of the engine's own could not be used.
    #[error("{operation}")]
    Io {
        /// What was being done, naming the path.
        operation: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The engine is shutting down, or a task of its own has died.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl EngineError {
    /// Whose fault it is.
    pub fn class(&self) -> Class {
        match self {
            Self::NoSuchContainer { .. } | Self::NoSuchExec { .. } | Self::NoSuchNetwork { .. } => {
                Class::NotFound
            }
            Self::AmbiguousPrefix { .. }
            | Self::InvalidConfig { .. }
            | Self::InvalidFilter { .. }
            | Self::Start { exit_code: 126 | 127, .. }
            | Self::ExecStart { exit_code: 126 | 127, .. } => Class::InvalidArgument,
            Self::NameInUse { .. }
            | Self::NotRunning { .. }
            | Self::Paused { .. }
            | Self::RemoveRunning { .. }
            | Self::RemovalInProgress { .. }
            | Self::MarkedForRemoval { .. }
            | Self::CannotStartPaused
            | Self::AlreadyPaused { .. }
            | Self::NotPaused { .. }
            | Self::JoinNotRunning { .. }
            | Self::TooManyAttached { .. }
            | Self::TooManyExecs { .. }
            | Self::ExecNotRunning { .. }
            | Self::ExecUsed { .. } => Class::Conflict,
            Self::AlreadyRunning { .. } | Self::AlreadyStopped { .. } => Class::NotModified,
            Self::Unsupported { .. } | Self::LogNotReadable => Class::NotImplemented,
            Self::Busy { .. } | Self::ShuttingDown => Class::Unavailable,
            Self::Image(error) => error.class(),
            Self::Start { .. }
            | Self::ExecStart { .. }
            | Self::Port { .. }
            | Self::Deadline { .. }
            | Self::Mechanism { .. }
            | Self::Io { .. } => Class::Internal,
        }
    }

    /// An error of a part below, met while doing `operation`.
    pub fn mechanism(
        operation: impl Into<String>,
        source: impl Into<Box<dyn error::Error + Send + Sync>>,
    ) -> Self {
        Self::Mechanism { operation: operation.into(), source: source.into() }
    }

    /// An error of one of the engine's own files.
    pub fn io(operation: impl Into<String>, source: io::Error) -> Self {
        Self::Io { operation: operation.into(), source }
    }

    /// A configuration that cannot be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidConfig { message: message.into() }
    }

    /// Something not supported yet.
    pub fn unsupported(option: impl Into<String>) -> Self {
        Self::Unsupported { option: option.into() }
    }

    /// The message with its causes, as clients are told it.
    pub fn report(&self) -> String {
        let mut text = self.to_string();
        let mut source = error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}
