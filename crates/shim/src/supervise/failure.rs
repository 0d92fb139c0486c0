//! Errors, as they are told to the daemon.

use std::error::Error;

use wadah_runtime::{CreateError, ExecError, Launch, StartError};

use crate::protocol::{Failure, FailureClass};

impl Failure {
    /// An error with its causes, as a sentence.
    pub(super) fn new(class: FailureClass, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            message = message + ": " + &cause.to_string();
            next = cause.source();
        }
        Self { class, message }
    }

    pub(super) fn internal(error: &dyn Error) -> Self {
        Self::new(FailureClass::Internal, error)
    }

    pub(super) fn says(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into() }
    }

    /// The exit code by which Docker and shells tell such a failure.
    pub(super) const fn exit_code(&self) -> i32 {
        match self.class {
            FailureClass::ExecutableNotFound => 127,
            FailureClass::NotExecutable => 126,
            _ => 128,
        }
    }
}

const fn class(launch: &Launch) -> FailureClass {
    match launch {
        Launch::NotFound { .. } => FailureClass::ExecutableNotFound,
        _ => FailureClass::NotExecutable,
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let class = match &error {
            CreateError::Launch(launch) => class(launch),
            CreateError::Invalid { .. } | CreateError::Unsupported { .. } => FailureClass::Invalid,
            _ => FailureClass::Internal,
        };
        Self::new(class, &error)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let class = match &error {
            StartError::Launch(launch) => class(launch),
            StartError::NotCreated { .. } => FailureClass::WrongState,
            _ => FailureClass::Internal,
        };
        Self::new(class, &error)
    }
}

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::Create(error) => error.into(),
            ExecError::Launch(ref launch) => Self::new(class(launch), &error),
            ExecError::Paused | ExecError::NotRunning { .. } => {
                Self::new(FailureClass::WrongState, &error)
            }
        }
    }
}
