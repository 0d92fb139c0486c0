//! Entering a group.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    process::Pid,
};

use super::{Cgroup, CgroupError, directory::Directory};

/// How a process enters: made by the parent before the clone, used by the child after it.
#[derive(Debug)]
pub struct JoinPlan {
    /// `tasks` of each version 1 hierarchy, open for writing.
    tasks: Vec<OwnedFd>,
    unified: Option<OwnedFd>,
}

impl Cgroup {
    /// Prepares the entering of a process to be cloned.
    pub fn join(&self) -> Result<JoinPlan, CgroupError> {
        self.plan(self.unified.as_ref())
    }

    /// Prepares the entering of a process beside `init`, which may have moved to a group below
    /// and enabled controllers there: version 2 has no processes above such a group.
    pub fn join_beside(&self, init: Pid) -> Result<JoinPlan, CgroupError> {
        let Some(unified) = &self.unified else { return self.plan(None) };
        let text = fs::read_to_string(format!("/proc/{}/cgroup", init.as_raw_pid()));
        let text = text.unwrap_or_default();
        let place = text.lines().find_map(|it| it.strip_prefix("0::/")).unwrap_or_default();
        let below = place.strip_prefix(self.location.as_str()).and_then(|it| it.strip_prefix('/'));
        match below {
            // The path is the kernel's; a group deleted under its process is marked so.
            Some(below) if !below.ends_with(" (deleted)") => {
                let beside = Directory::open(unified.path().join(below))?;
                self.plan(Some(&beside))
            }
            _ => self.plan(Some(unified)),
        }
    }

    fn plan(&self, unified: Option<&Directory>) -> Result<JoinPlan, CgroupError> {
        let mut tasks = Vec::with_capacity(self.v1.len());
        for group in &self.v1 {
            tasks.push(group.directory.writer("tasks")?);
        }
        let unified = match unified {
            Some(it) => Some(
                it.as_fd()
                    .try_clone_to_owned()
                    .map_err(|source| CgroupError::Open { path: it.path().to_owned(), source })?,
            ),
            None => None,
        };
        Ok(JoinPlan { tasks, unified })
    }
}

impl JoinPlan {
    /// The directory for `CLONE_INTO_CGROUP`, where the host has a version 2 hierarchy.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.unified.as_ref().map(AsFd::as_fd)
    }

    /// Moves the calling thread into every version 1 hierarchy. Allocates nothing and may be
    /// called after a fork; to be called by a process with one thread, before it unshares its
    /// cgroup namespace.
    pub fn enter(&self) -> io::Result<()> {
        for tasks in &self.tasks {
            // "0" is the writer. For itself alone a thread needs no lock on all others, which is
            // why this is `tasks` and not `cgroup.procs`.
            rustix::io::write(tasks, b"0")?;
        }
        Ok(())
    }

    /// Moves the calling process into the version 2 hierarchy, for one not born there.
    pub fn enter_unified(&self) -> io::Result<()> {
        if let Some(unified) = &self.unified {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            let procs = rustix::fs::openat(unified, c"cgroup.procs", flags, Mode::empty())?;
            rustix::io::write(procs, b"0")?;
        }
        Ok(())
    }
}
