//! Exec sessions: further processes in running containers.

use wadah_oci::{ContainerId, ExecId};

use crate::{EngineError, stream::Attached};

/// What a session is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// The executable and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, beyond the container's.
    pub env: Vec<String>,
    /// As in [`crate::config::Config::user`]; the container's if empty.
    pub user: String,
    /// The container's if empty.
    pub working_dir: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether clients may write its standard input.
    pub attach_stdin: bool,
    /// Whether clients see its standard output.
    pub attach_stdout: bool,
    /// Whether clients see its standard error.
    pub attach_stderr: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// The keys that detach; remembered.
    pub detach_keys: String,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// How to start a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Without connecting to its streams.
    pub detach: bool,
    /// The terminal's first size, if the session was not created with one: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// Everything about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSnapshot {
    /// Its id.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What it runs.
    pub config: ExecConfig,
    /// Whether it runs now.
    pub running: bool,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// Its process, as the host sees it; 0 before it is started.
    pub pid: i32,
}

/// All exec sessions.
#[derive(Debug)]
pub struct Execs {}

impl Execs {
    /// Prepares a session in a running container.
    pub async fn create(&self, reference: &str, config: ExecConfig) -> Result<ExecId, EngineError> {
        let _ = config;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Starts it, once; returns when its executable runs, with its streams unless detached.
    pub async fn start(&self, id: &str, start: ExecStart) -> Result<Option<Attached>, EngineError> {
        let _ = start;
        Err(EngineError::NoSuchExec { id: id.to_owned() })
    }

    /// Sets the terminal's size.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), EngineError> {
        let _ = (rows, columns);
        Err(EngineError::NoSuchExec { id: id.to_owned() })
    }

    /// Tells everything about a session.
    pub async fn inspect(&self, id: &str) -> Result<ExecSnapshot, EngineError> {
        Err(EngineError::NoSuchExec { id: id.to_owned() })
    }
}
