//! Notices of changes in a directory, by inotify(7).
//!
//! The kernel gives each user few instances (128 by default): where none is left, time passes
//! instead, which is slower but true.

use std::{os::fd::OwnedFd, path::Path, time::Duration};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

/// How often to look where the kernel does not tell.
const INTERVAL: Duration = Duration::from_millis(200);

/// Tells when something in a directory has changed.
#[derive(Debug)]
pub(super) struct Notice(Option<AsyncFd<OwnedFd>>);

impl Notice {
    /// Watches `directory`.
    pub(super) fn of(directory: &Path) -> Self {
        Self(watch(directory).ok())
    }

    /// Is done when something has changed since the last time.
    pub(super) async fn changed(&self) {
        let Some(fd) = &self.0 else { return tokio::time::sleep(INTERVAL).await };
        let Ok(mut ready) = fd.readable().await else {
            return tokio::time::sleep(INTERVAL).await;
        };
        // What has changed does not matter: the events are only taken out of the way.
        let mut buffer = [0_u8; 4096];
        while rustix::io::read(fd.get_ref(), &mut buffer).is_ok_and(|it| it > 0) {}
        ready.clear_ready();
    }
}

fn watch(directory: &Path) -> std::io::Result<AsyncFd<OwnedFd>> {
    let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CREATE;
    inotify::add_watch(&fd, directory, events)?;
    #[allow(
        deprecated,
        reason = "the descriptor is owned and never changes; its successor is unsafe"
    )]
    AsyncFd::new(fd)
}
