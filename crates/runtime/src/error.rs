//! Why a container or a process in it could not be made or started.
//!
//! What goes wrong inside the new process reaches its parent as a [`Launch`] (about the executable,
//! which has an exit code of its own by custom) or as a step's name with the kernel's answer.

use std::{io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{cgroup::CgroupError, seccomp::SeccompError};

/// What is wrong with the executable or the working directory: the user's doing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Launch {
    /// No executable of this name (exit code 127).
    #[error("exec: {executable:?}: {}", if executable.contains('/') { "stat ".to_owned() + executable + ": no such file or directory" } else { "executable file not found in $PATH".to_owned() })]
    NotFound {
        /// As it was asked for.
        executable: String,
    },
    /// It exists but cannot be executed (exit code 126).
    #[error("exec: {executable:?}: {}", describe(*errno))]
    NotExecutable {
        /// As it was asked for.
        executable: String,
        /// The kernel's answer.
        errno: i32,
    },
    /// The working directory cannot be entered (exit code 126).
    #[error("chdir to cwd ({directory:?}) set in config.json failed: {}", describe(*errno))]
    WorkingDirectory {
        /// As it was asked for.
        directory: PathBuf,
        /// The kernel's answer.
        errno: i32,
    },
    /// The working directory is not inside the container's root (exit code 126).
    #[error("current working directory {directory:?} is outside of container mount namespace root")]
    OutsideRoot {
        /// As it was asked for.
        directory: PathBuf,
    },
}

/// Why a container was not created. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The specification contradicts itself, or asks for what cannot be.
    #[error("invalid specification: {field}: {problem}")]
    Invalid {
        /// Which field.
        field: &'static str,
        /// What is wrong with its value, which is named.
        problem: String,
    },
    /// The specification asks for what this kernel or this program lacks.
    #[error("not supported here: {feature}")]
    Unsupported {
        /// What.
        feature: String,
    },
    /// The source of a mount cannot be opened.
    #[error("cannot open {path:?}, the source of the mount at {destination:?}")]
    MountSource {
        /// On the host.
        path: PathBuf,
        /// In the container.
        destination: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The root filesystem cannot be mounted.
    #[error("cannot mount the root filesystem {path:?}")]
    Rootfs {
        /// The directory in question.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The control group cannot be made or entered.
    #[error("cannot set up the control group")]
    Cgroup {
        /// Why.
        source: CgroupError,
    },
    /// The seccomp profile cannot be compiled.
    #[error("cannot compile the seccomp profile")]
    Seccomp {
        /// Why.
        source: SeccompError,
    },
    /// Something about the new process failed in its parent.
    #[error("cannot {step}")]
    Parent {
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A step of the set-up failed in the new process.
    #[error("container set-up: {step}: {}", describe(*errno))]
    Step {
        /// What was being done, and to what.
        step: String,
        /// The kernel's answer.
        errno: i32,
    },
    /// A hook failed.
    #[error("hook {path:?} of {kind} failed: {problem}")]
    Hook {
        /// `prestart`, `createRuntime`, …
        kind: String,
        /// The hook's executable.
        path: PathBuf,
        /// How, with the end of what it wrote to its standard error.
        problem: String,
    },
    /// The executable or the working directory is at fault.
    #[error(transparent)]
    Launch(Launch),
    /// The new process ended without a word.
    #[error("the container's process died during set-up")]
    Died,
}

/// Why a created container did not start. It is dead.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The executable or the working directory is at fault.
    #[error(transparent)]
    Launch(Launch),
    /// A step before the executable failed.
    #[error("container start: {step}: {}", describe(*errno))]
    Step {
        /// What was being done.
        step: String,
        /// The kernel's answer.
        errno: i32,
    },
    /// A `startContainer` or `poststart` hook failed.
    #[error("hook {path:?} of {kind} failed: {problem}")]
    Hook {
        /// `startContainer` or `poststart`.
        kind: String,
        /// The hook's executable.
        path: PathBuf,
        /// How.
        problem: String,
    },
    /// The container ended before it was started, or was started before.
    #[error("the container is not waiting to be started")]
    NotCreated {
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process ended without a word.
    #[error("the container's process died before its executable ran")]
    Died,
}

/// Why a process was not put into a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be made.
    #[error(transparent)]
    Create(CreateError),
    /// The container's first process is gone.
    #[error("the container's process {pid} is not running")]
    NotRunning {
        /// As the host sees it.
        pid: i32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The container is paused: the process would hang.
    #[error("the container is paused")]
    Paused,
    /// The executable or the working directory is at fault.
    #[error(transparent)]
    Launch(Launch),
}

/// The kernel's answer in the words that people know from other runtimes.
pub(crate) fn describe(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

impl Launch {
    /// The exit code that shells and Docker give this failure.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            _ => 126,
        }
    }
}

impl StartError {
    /// The fault of the executable or the working directory, if it is that.
    pub fn launch(&self) -> Option<&Launch> {
        match self {
            Self::Launch(launch) => Some(launch),
            _ => None,
        }
    }
}

impl ExecError {
    /// The fault of the executable or the working directory, if it is that.
    pub fn launch(&self) -> Option<&Launch> {
        match self {
            Self::Launch(launch) | Self::Create(CreateError::Launch(launch)) => Some(launch),
            _ => None,
        }
    }
}
