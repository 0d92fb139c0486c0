//! What can wake the shim, and the one place where it sleeps.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};

use crate::log::Source;

/// How many events are taken at once.
const BATCH: usize = 32;

/// Names a connection for as long as the shim lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectionKey(pub(super) u32);

/// Names a process for as long as the shim lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ProcessKey(pub(super) u32);

impl ProcessKey {
    /// The container's first process.
    pub(super) const INIT: Self = Self(0);
}

/// What woke the shim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A child has ended.
    Child,
    /// Someone connects.
    Caller,
    /// The kernel may have killed a process for want of memory.
    Oom,
    /// A connection can be read or written, or has ended.
    Connection(ConnectionKey),
    /// A process has written, or closed, a stream.
    Output(ProcessKey, Source),
    /// A process takes more input, or has closed it.
    Input(ProcessKey),
}

impl Event {
    /// Packs the event into what the kernel keeps for us: a tag, and a key.
    fn pack(self) -> EventData {
        let (tag, key) = match self {
            Self::Child => (0, 0),
            Self::Caller => (1, 0),
            Self::Oom => (2, 0),
            Self::Connection(key) => (3, key.0),
            Self::Output(key, Source::Stdout) => (4, key.0),
            Self::Output(key, Source::Stderr) => (5, key.0),
            Self::Input(key) => (6, key.0),
        };
        EventData::new_u64(tag << 32 | u64::from(key))
    }

    fn unpack(data: EventData) -> Self {
        let data = data.u64();
        let key = u32::try_from(data & u64::from(u32::MAX)).expect("BUG: masked");
        match data >> 32 {
            0 => Self::Child,
            1 => Self::Caller,
            2 => Self::Oom,
            3 => Self::Connection(ConnectionKey(key)),
            4 => Self::Output(ProcessKey(key), Source::Stdout),
            5 => Self::Output(ProcessKey(key), Source::Stderr),
            6 => Self::Input(ProcessKey(key)),
            tag => unreachable!("BUG: no event has the tag {tag}"),
        }
    }
}

/// An event and what is ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Woken {
    pub(super) event: Event,
    pub(super) ready: EventFlags,
}

/// Waits for events.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Starts waiting for `flags` of a descriptor, and for its end.
    pub(super) fn add(&self, fd: impl AsFd, event: Event, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, event.pack(), flags)?)
    }

    /// Waits for other flags.
    pub(super) fn modify(&self, fd: impl AsFd, event: Event, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, event.pack(), flags)?)
    }

    /// Stops waiting, even for the end.
    pub(super) fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Sleeps until something happens or `timeout` is over.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<Woken>> {
        let timeout = timeout.map(|it| Timespec::try_from(it).unwrap_or(Timespec::default()));
        let mut events = Vec::with_capacity(BATCH);
        let buffer = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, buffer, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events
            .iter()
            .map(|it| Woken { event: Event::unpack(it.data), ready: it.flags })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_kernel() {
        let key = ProcessKey(u32::MAX);
        for event in [
            Event::Child,
            Event::Caller,
            Event::Oom,
            Event::Connection(ConnectionKey(7)),
            Event::Output(key, Source::Stdout),
            Event::Output(key, Source::Stderr),
            Event::Input(key),
        ] {
            assert_eq!(Event::unpack(event.pack()), event);
        }
    }
}
