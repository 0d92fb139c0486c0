//! Why a command failed.
//!
//! Engines recognise some of these by their words: "does not exist", "container not running",
//! "executable file not found in $PATH". They stay.

use std::{io, path::PathBuf};

use super::state::Status;
use crate::{
    CreateError, ExecError, StartError,
    cgroup::{CgroupError, LocationError},
};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    #[error("invalid container id {id:?}: letters, digits, and _ + - . are allowed")]
    Id { id: String },
    #[error("container with id {id} already exists")]
    Exists { id: String },
    #[error("container {id} does not exist")]
    Unknown { id: String },
    #[error("container not running: {id} is {status}")]
    NotRunning { id: String, status: Status },
    #[error("cannot {action} container {id}, which is {status}")]
    Status { action: &'static str, id: String, status: Status },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{} is not valid", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("invalid specification {}: {problem}", path.display())]
    Spec { path: PathBuf, problem: String },
    #[error("{} already exists; remove it first", path.display())]
    SpecExists { path: PathBuf },
    #[error("a terminal needs --console-socket, unless the command waits for the container")]
    NoConsole,
    #[error("--console-socket is for containers whose process.terminal is true")]
    NoTerminal,
    #[error("cannot send the terminal to {}", path.display())]
    Console { path: PathBuf, source: io::Error },
    #[error("cannot {step}")]
    Terminal { step: &'static str, source: io::Error },
    #[error("invalid value {value:?} for {flag}: {problem}")]
    Flag { flag: &'static str, value: String, problem: &'static str },
    #[error("unable to start container process")]
    Create { source: CreateError },
    #[error("unable to start container process")]
    Start { source: StartError },
    #[error("exec failed: unable to start container process")]
    Exec { source: ExecError },
    #[error("invalid linux.cgroupsPath")]
    Location { source: LocationError },
    #[error(transparent)]
    Cgroup { source: CgroupError },
    #[error("cannot keep our executable out of the container's reach")]
    Protect { source: io::Error },
    #[error("cannot send signal {signal} to process {pid}")]
    Signal { signal: i32, pid: i32, source: io::Error },
    #[error("cannot wait for process {pid}")]
    Wait { pid: i32, source: io::Error },
    #[error("the container did not end within {seconds} s of being killed")]
    Immortal { seconds: u64 },
    #[error("cannot run {program}")]
    Program { program: &'static str, source: io::Error },
}

impl CommandError {
    /// What the program exits with.
    pub(super) fn exit_code(&self) -> u8 {
        let launch = match self {
            Self::Create { source: CreateError::Launch(launch) } => Some(launch),
            Self::Start { source } => source.launch(),
            Self::Exec { source } => source.launch(),
            _ => None,
        };
        let code = launch.map_or(1, crate::Launch::exit_code);
        match self {
            // As with runc, what exec could not do is not the process's own exit code.
            Self::Exec { .. } if launch.is_none() => 255,
            _ => u8::try_from(code).unwrap_or(1),
        }
    }
}

impl From<CgroupError> for CommandError {
    fn from(source: CgroupError) -> Self {
        Self::Cgroup { source }
    }
}
