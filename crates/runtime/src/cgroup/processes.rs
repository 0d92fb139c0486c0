//! Freezing, thawing, killing and listing a group's processes.

use std::{
    os::fd::{AsFd, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use super::{
    Cgroup, CgroupError, Home,
    directory::{Directory, read_all},
};

/// How long processes may take to stop: those in uninterruptible sleep do not until they wake.
const FREEZING: Duration = Duration::from_secs(10);
/// How long processes may take to die.
const KILLING: Duration = Duration::from_secs(10);
/// How long to wait before looking again where the kernel does not tell.
const PAUSE: Duration = Duration::from_millis(1);

impl Cgroup {
    /// Stops every process, and returns when all have stopped. If they do not in time, they go on.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        let frozen = match self.unified_with("cgroup.freeze") {
            Some(group) => {
                group.write("cgroup.freeze", "1")?;
                self.wait_for_event(group, "frozen 1", FREEZING, "freezing")
            }
            None => self.freeze_v1(),
        };
        if frozen.is_err() {
            // The reason for failing to freeze is the one to report.
            let _thawed = self.thaw();
        }
        frozen
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        match self.unified_with("cgroup.freeze") {
            Some(group) => {
                group.write("cgroup.freeze", "0")?;
                self.wait_for_event(group, "frozen 0", FREEZING, "thawing")
            }
            None => self.freezer()?.write("freezer.state", "THAWED"),
        }
    }

    /// Tells whether the group is frozen.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        match self.unified_with("cgroup.freeze") {
            Some(group) => Ok(group.read("cgroup.freeze")?.trim() == "1"),
            None => Ok(self.freezer()?.read("freezer.state")?.trim() != "THAWED"),
        }
    }

    /// Kills every process, and returns when none is left.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        match self.unified_with("cgroup.kill") {
            Some(group) => {
                group.write("cgroup.kill", "1")?;
                self.wait_for_event(group, "populated 0", KILLING, "killing")
            }
            None => self.kill_one_by_one(),
        }
    }

    /// Sends a signal to every process, frozen for that moment so that none escapes by forking.
    pub fn signal_all(&self, signal: i32) -> Result<(), CgroupError> {
        if signal == Signal::KILL.as_raw() {
            return self.kill_all();
        }
        let was_frozen = self.is_frozen()?;
        if !was_frozen {
            self.freeze()?;
        }
        let sent = self
            .pids()
            .and_then(|pids| pids.into_iter().try_for_each(|pid| self.signal(pid, signal)));
        if was_frozen { sent } else { self.thaw().and(sent) }
    }

    /// Lists the processes of the group and of those below it.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        let mut pids = Vec::new();
        gather(self.any_directory()?, &mut pids)?;
        Ok(pids)
    }

    fn signal(&self, pid: Pid, signal: i32) -> Result<(), CgroupError> {
        match wadah_sys::process::kill(pid, signal) {
            Err(source) if source.raw_os_error() != Some(Errno::SRCH.raw_os_error()) => {
                let location = self.location.as_str().to_owned();
                Err(CgroupError::Kill { pid: pid.as_raw_pid(), location, source })
            }
            _ => Ok(()),
        }
    }

    fn unified_with(&self, file: &str) -> Option<&Directory> {
        self.unified.as_ref().filter(|it| it.has(file))
    }

    fn freezer(&self) -> Result<&Directory, CgroupError> {
        let home = self.home("freezer").map(Home::directory);
        home.ok_or_else(|| CgroupError::NoController {
            resource: "the freezer",
            controller: "freezer".to_owned(),
        })
    }

    /// A process that forks while its group freezes leaves it half frozen; asking again helps
    /// (kernel, `cgroup-v1/freezer-subsystem.rst`).
    fn freeze_v1(&self) -> Result<(), CgroupError> {
        let freezer = self.freezer()?;
        let deadline = Instant::now() + FREEZING;
        loop {
            freezer.write("freezer.state", "FROZEN")?;
            if freezer.read("freezer.state")?.trim() == "FROZEN" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.too_late("freezing", FREEZING));
            }
            thread::sleep(PAUSE);
        }
    }

    /// Without `cgroup.kill`: stop all so that none forks, signal each, let them go on to die.
    fn kill_one_by_one(&self) -> Result<(), CgroupError> {
        let deadline = Instant::now() + KILLING;
        let can_freeze = self.home("freezer").is_some();
        loop {
            if can_freeze {
                // Those that cannot be stopped are killed all the same.
                let _frozen = self.freeze_v1();
            }
            let pids = self.pids();
            let killed = pids.and_then(|pids| {
                for &pid in &pids {
                    self.kill(pid)?;
                }
                Ok(pids.is_empty())
            });
            if can_freeze {
                self.thaw()?;
            }
            if killed? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.too_late("killing", KILLING));
            }
            thread::sleep(PAUSE);
        }
    }

    fn kill(&self, pid: Pid) -> Result<(), CgroupError> {
        match kill_process(pid, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(source) => Err(CgroupError::Kill {
                pid: pid.as_raw_pid(),
                location: self.location.as_str().to_owned(),
                source: source.into(),
            }),
        }
    }

    /// Waits until a line of `cgroup.events` reads `line`; the kernel tells when it changes.
    fn wait_for_event(
        &self,
        group: &Directory,
        line: &str,
        allowed: Duration,
        operation: &'static str,
    ) -> Result<(), CgroupError> {
        let unreadable = |source: Errno| CgroupError::Read {
            path: group.path().join("cgroup.events"),
            source: source.into(),
        };
        let events = group.reader("cgroup.events")?;
        let deadline = Instant::now() + allowed;
        loop {
            let text = read_all(events.as_fd()).map_err(unreadable)?;
            if text.lines().any(|it| it == line) {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.too_late(operation, allowed));
            }
            wait_for_change(events.as_fd(), left).map_err(unreadable)?;
        }
    }

    fn too_late(&self, operation: &'static str, allowed: Duration) -> CgroupError {
        CgroupError::Deadline {
            operation,
            location: self.location.as_str().to_owned(),
            milliseconds: allowed.as_millis(),
        }
    }
}

fn wait_for_change(events: BorrowedFd<'_>, left: Duration) -> rustix::io::Result<()> {
    let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    match poll(&mut [PollFd::from_borrowed_fd(events, PollFlags::PRI)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(err) => Err(err),
    }
}

fn gather(group: &Directory, pids: &mut Vec<Pid>) -> Result<(), CgroupError> {
    // A threaded group of version 2 lists its processes in the group above only.
    let text = group.read_if_there("cgroup.procs")?.unwrap_or_default();
    pids.extend(text.lines().filter_map(|it| it.parse().ok().and_then(Pid::from_raw)));
    for below in group.below()? {
        gather(&below, pids)?;
    }
    Ok(())
}
