//! Another process in a running container.

use std::os::fd::OwnedFd;

use rustix::process::Pid;

use crate::{ExecError, ExecRequest};

/// A process in a container, whose executable runs.
#[derive(Debug)]
pub struct Process {
    /// As the host sees it. A child of the caller, who has to reap it.
    pub pid: Pid,
    /// The same, safe against reuse of the number.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal, for [`crate::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// What could not be done as asked but was gone on without.
    pub warnings: Vec<String>,
}

/// Puts a process into a running container; returns when its executable runs.
pub fn exec(request: ExecRequest<'_>) -> Result<Process, ExecError> {
    let _ = request;
    todo!()
}
