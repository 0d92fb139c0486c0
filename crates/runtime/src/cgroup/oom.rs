//! Watching for processes killed for want of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::{
    event::{EventfdFlags, eventfd},
    fs::inotify,
    io::Errno,
};

use super::{
    Cgroup, CgroupError, Home,
    directory::{Directory, read_all},
};

/// Tells of processes killed for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    /// An eventfd on version 1, an inotify on version 2.
    fd: OwnedFd,
    /// The file with the count.
    counter: OwnedFd,
    path: std::path::PathBuf,
}

impl Cgroup {
    /// Starts watching for processes killed for want of memory.
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        match self.home("memory") {
            Some(Home::V1(directory)) => watch_v1(directory),
            Some(Home::V2(directory)) => watch_v2(directory),
            None => Err(CgroupError::NoController {
                resource: "the watch for out-of-memory kills",
                controller: "memory".to_owned(),
            }),
        }
    }

    /// How many processes have been killed for want of memory so far.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match self.home("memory") {
            Some(Home::V1(directory)) => Ok(kills(&directory.read("memory.oom_control")?)),
            Some(Home::V2(directory)) => Ok(kills(&directory.read("memory.events")?)),
            None => Ok(0),
        }
    }
}

/// The kernel signals an eventfd that was registered for `memory.oom_control`
/// (`cgroup-v1/memory.rst`, "OOM Control").
fn watch_v1(directory: &Directory) -> Result<OomWatch, CgroupError> {
    let path = directory.path().join("memory.oom_control");
    let failed = |source: Errno| CgroupError::Watch { path: path.clone(), source: source.into() };
    let counter = directory.reader("memory.oom_control")?;
    let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
    let line = format!("{} {}", fd.as_raw_fd(), counter.as_raw_fd());
    directory.write("cgroup.event_control", &line)?;
    Ok(OomWatch { fd, counter, path })
}

fn watch_v2(directory: &Directory) -> Result<OomWatch, CgroupError> {
    let path = directory.path().join("memory.events");
    let failed = |source: Errno| CgroupError::Watch { path: path.clone(), source: source.into() };
    let counter = directory.reader("memory.events")?;
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let fd = inotify::init(flags).map_err(failed)?;
    inotify::add_watch(&fd, &path, inotify::WatchFlags::MODIFY).map_err(failed)?;
    Ok(OomWatch { fd, counter, path })
}

impl OomWatch {
    /// A descriptor that becomes readable when the count may have changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Clears the descriptor's readiness and returns how many processes have been killed so far.
    ///
    /// The kernel tells of the want of memory before it kills for it, so the count may follow the
    /// event a little later; it is complete once the container's processes have ended.
    pub fn count(&self) -> Result<u64, CgroupError> {
        let mut event = [0; 4096];
        // It does not block; that there is nothing to read is no failure.
        while rustix::io::read(&self.fd, &mut event).is_ok_and(|it| it == event.len()) {}
        let text = read_all(self.counter.as_fd()).map_err(|source| CgroupError::Read {
            path: self.path.clone(),
            source: source.into(),
        })?;
        Ok(kills(&text))
    }
}

fn kills(text: &str) -> u64 {
    text.lines()
        .find_map(|it| it.strip_prefix("oom_kill "))
        .and_then(|it| it.trim().parse().ok())
        .unwrap_or(0)
}
