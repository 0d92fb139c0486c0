//! `kill`, `delete`, `pause` and `resume`: acting on what runs.

use std::{os::fd::AsFd, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{PidfdFlags, pidfd_open},
};

use super::{
    error::CommandError,
    flags::{Delete, Kill},
    log::Log,
    signal,
    state::{self, Entry, Record, Root, Status},
};
use crate::{cgroup::Cgroup, hooks};

const SIGKILL: i32 = 9;
/// How long a killed container may take to end.
const DYING: Duration = Duration::from_secs(10);

/// Sends a signal.
pub(super) fn kill(root: &Root, flags: &Kill) -> Result<(), CommandError> {
    let signal = signal::parse(&flags.signal)?;
    let entry = root.find(&flags.id)?;
    let record = entry.record()?;
    let status = record.status();
    if flags.all {
        return Ok(record.open_cgroup()?.signal_all(signal)?);
    }
    if status == Status::Stopped {
        return Err(CommandError::NotRunning { id: flags.id.clone(), status });
    }
    // Without a pid namespace of its own, nothing else ends the rest of the container.
    if signal == SIGKILL && !has_own_pids(&entry)? {
        return Ok(record.open_cgroup()?.kill_all()?);
    }
    send(&record, signal, status)?;
    if signal == SIGKILL && status == Status::Paused {
        // A freezer of version 1 holds the dying, too.
        record.open_cgroup()?.thaw()?;
    }
    Ok(())
}

/// Removes a container.
pub(super) fn delete(root: &Root, flags: &Delete, log: &Log) -> Result<(), CommandError> {
    let entry = match root.find(&flags.id) {
        Err(CommandError::Unknown { .. }) if flags.force => return Ok(()),
        found => found?,
    };
    let _lock = entry.lock()?;
    let record = match entry.record() {
        // Its creation was interrupted before there was a process.
        Err(CommandError::Unknown { .. }) if flags.force => return entry.remove(),
        record => record?,
    };
    match record.status() {
        Status::Stopped => {}
        Status::Created => end(&record)?,
        _ if flags.force => end(&record)?,
        status => {
            return Err(CommandError::Status { action: "delete", id: flags.id.clone(), status });
        }
    }
    destroy(&entry, &record, log)
}

/// Stops all processes.
pub(super) fn pause(root: &Root, id: &str) -> Result<(), CommandError> {
    let record = root.find(id)?.record()?;
    match record.status() {
        Status::Running => Ok(record.open_cgroup()?.freeze()?),
        status => Err(CommandError::Status { action: "pause", id: id.to_owned(), status }),
    }
}

/// Lets all processes go on.
pub(super) fn resume(root: &Root, id: &str) -> Result<(), CommandError> {
    let record = root.find(id)?.record()?;
    match record.status() {
        Status::Paused => Ok(record.open_cgroup()?.thaw()?),
        status => Err(CommandError::Status { action: "resume", id: id.to_owned(), status }),
    }
}

/// Removes what is left of a container whose process has ended.
fn destroy(entry: &Entry, record: &Record, log: &Log) -> Result<(), CommandError> {
    if let Ok(cgroup) = Cgroup::open(&record.cgroup) {
        empty(&cgroup)?;
    }
    Cgroup::delete_at(&record.cgroup)?;
    if let Ok(spec) = entry.spec() {
        log.warnings(&hooks::poststop(&spec, &record.id, &record.bundle));
    }
    entry.remove()
}

/// Kills what is left in a container's group: those that share a pid namespace outlive its first
/// process.
pub(super) fn empty(cgroup: &Cgroup) -> Result<(), CommandError> {
    if !cgroup.pids()?.is_empty() {
        cgroup.kill_all()?;
    }
    Ok(())
}

/// Kills a container and waits for its end.
fn end(record: &Record) -> Result<(), CommandError> {
    let Some(pid) = record.process() else { return Ok(()) };
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(()) };
    let status = record.status();
    if status == Status::Stopped {
        return Ok(());
    }
    send(record, SIGKILL, status)?;
    if status == Status::Paused {
        record.open_cgroup()?.thaw()?;
    }
    let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    match poll(&mut ended, Some(&timeout)) {
        Ok(0) => Err(CommandError::Immortal { seconds: DYING.as_secs() }),
        _ => Ok(()),
    }
}

/// Sends a signal to the container's process, and to no other that has its number now.
fn send(record: &Record, signal: i32, status: Status) -> Result<(), CommandError> {
    let not_running = || CommandError::NotRunning { id: record.id.clone(), status };
    let pid = record.process().ok_or_else(not_running)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    // The descriptor is of the container's process if that lives still, with the descriptor open.
    if state::start_time(record.pid) != Some(record.start_time) {
        return Err(not_running());
    }
    wadah_sys::process::pidfd_kill(pidfd.as_fd(), signal).map_err(|source| CommandError::Signal {
        signal,
        pid: record.pid,
        source,
    })
}

fn has_own_pids(entry: &Entry) -> Result<bool, CommandError> {
    use oci_spec::runtime::LinuxNamespaceType;
    let spec = entry.spec()?;
    let namespaces = spec.linux().as_ref().and_then(|it| it.namespaces().as_ref());
    Ok(namespaces
        .into_iter()
        .flatten()
        .any(|it| it.typ() == LinuxNamespaceType::Pid && it.path().is_none()))
}
