//! Why an operation on control groups failed.

use std::{io, path::PathBuf};

/// Why an operation on control groups failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy is mounted.
    #[error("no cgroup hierarchy is mounted at /sys/fs/cgroup")]
    NoHierarchy,
    /// A group could not be made.
    #[error("cannot create cgroup {}", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group or a file in it could not be opened.
    #[error("cannot open cgroup {}", path.display())]
    Open {
        /// The directory or file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel refused a value.
    #[error("cannot write {value:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A value makes no sense.
    #[error("invalid {resource} {value:?}: {reason}")]
    Value {
        /// The field of the specification.
        resource: &'static str,
        /// The value as given.
        value: String,
        /// What it would have to be.
        reason: &'static str,
    },
    /// A resource was asked for whose controller the host lacks.
    #[error("cannot set {resource}: no cgroup controller {controller} on this host")]
    NoController {
        /// The field of the specification.
        resource: &'static str,
        /// The controller.
        controller: String,
    },
    /// The device program of a version 2 group could not be changed.
    #[error("cannot {action} the device program of cgroup {}", path.display())]
    Devices {
        /// What was tried.
        action: &'static str,
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A process could not be killed.
    #[error("cannot kill process {pid} of cgroup {location}")]
    Kill {
        /// The process.
        pid: i32,
        /// The group.
        location: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The out-of-memory events could not be watched.
    #[error("cannot watch {}", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("cannot remove cgroup {}", path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Processes outlived the deadline of an operation.
    #[error("{operation} cgroup {location}: not done after {milliseconds} ms")]
    Deadline {
        /// What was being done.
        operation: &'static str,
        /// The group.
        location: String,
        /// The time allowed.
        milliseconds: u128,
    },
}
