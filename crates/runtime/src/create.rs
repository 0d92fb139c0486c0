//! The making of a container, on its parent's side.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use crate::{CreateError, Request, StartError, cgroup::Cgroup};

/// A container up to its gate.
#[derive(Debug)]
#[must_use = "a container that is not started dies with its creator"]
pub struct Created {
    /// Its first process, as the host sees it. A child of the caller, who has to reap it.
    pub pid: Pid,
    /// The same, safe against reuse of the number.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal, for [`crate::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// Its control group; the caller deletes it after the container's end.
    pub cgroup: Cgroup,
    /// What could not be done as asked but was gone on without.
    pub warnings: Vec<String>,
}

/// A container whose executable runs.
#[derive(Debug)]
pub struct Running {
    /// As in [`Created`].
    pub pid: Pid,
    /// As in [`Created`].
    pub pidfd: OwnedFd,
    /// As in [`Created`].
    pub terminal: Option<OwnedFd>,
    /// As in [`Created`].
    pub cgroup: Cgroup,
    /// As in [`Created`].
    pub warnings: Vec<String>,
}

/// Makes a container up to its gate. On an error nothing of it is left.
pub fn create(request: Request<'_>) -> Result<Created, CreateError> {
    let _ = request;
    todo!()
}

impl Created {
    /// Opens the gate; returns when the executable runs. On an error nothing is left of the
    /// container: its process is reaped and its control group deleted.
    pub fn start(self) -> Result<Running, StartError> {
        todo!()
    }
}
