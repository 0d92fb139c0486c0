//! One connection to the shim.
//!
//! **Invariant:** a connection that does not read costs a bounded buffer, and its process at most
//! [`PATIENCE`] once; then the connection is [`Trust::Lossy`] until it has caught up.

use std::{
    net::Shutdown,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use rustix::event::epoll::EventFlags;

use super::{
    event::{ConnectionKey, Event, Poller, ProcessKey},
    outbox::Outbox,
};
use crate::{
    log::Source,
    protocol::{Decoder, Kind, Message, Streams},
};

/// How long output waits for a connection that takes nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// With this much waiting, a process's output is read no further.
const HIGH: usize = 256 << 10;

/// With this little waiting, it is read again.
const LOW: usize = 64 << 10;

/// The streams of a process, on a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attachment {
    pub(super) process: ProcessKey,
    pub(super) streams: Streams,
}

/// Whether output waits for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// It keeps up.
    Fluent,
    /// Output waits for it, until it takes something or `since` is too long ago; then, this much
    /// was `unread` in its socket.
    Awaited { since: Instant, unread: i32 },
    /// Output does not wait.
    Lossy,
}

/// Whether requests and input are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// They are.
    On,
    /// Its process has to take its input first.
    Paused,
    /// As `Paused`, and the other side is gone: nothing is polled any more, or it would tell of
    /// that for ever.
    Parked,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    key: ConnectionKey,
    socket: UnixStream,
    pub(super) decoder: Decoder,
    outbox: Outbox,
    /// Whether it is told of events.
    pub(super) subscribed: bool,
    /// What it is attached to; also after that process's end.
    pub(super) attachment: Option<Attachment>,
    /// Whether nothing more will be sent than what waits.
    last_words: bool,
    trust: Trust,
    reading: Reading,
    interest: EventFlags,
}

impl Connection {
    /// Takes a connection into the loop.
    pub(super) fn new(
        key: ConnectionKey,
        socket: UnixStream,
        poller: &Poller,
    ) -> std::io::Result<Self> {
        socket.set_nonblocking(true)?;
        let interest = EventFlags::IN;
        poller.add(&socket, Event::Connection(key), interest)?;
        Ok(Self {
            key,
            socket,
            decoder: Decoder::new(),
            outbox: Outbox::default(),
            subscribed: false,
            attachment: None,
            last_words: false,
            trust: Trust::Fluent,
            reading: Reading::On,
            interest,
        })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(super) const fn reading(&self) -> Reading {
        self.reading
    }

    /// Whether everything was sent.
    pub(super) const fn is_flushed(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether a stream of a process goes to it.
    pub(super) fn wants(&self, process: ProcessKey, source: Source) -> bool {
        self.attachment.is_some_and(|it| {
            let wanted = match source {
                Source::Stdout => it.streams.stdout,
                Source::Stderr => it.streams.stderr,
            };
            it.process == process && wanted
        })
    }

    /// Whether it writes to a process.
    pub(super) fn feeds(&self, process: ProcessKey) -> bool {
        self.attachment.is_some_and(|it| it.process == process && it.streams.stdin)
    }

    /// Whether it is attached to a process.
    pub(super) fn is_attached_to(&self, process: ProcessKey) -> bool {
        self.attachment.is_some_and(|it| it.process == process)
    }

    /// Whether a process's output waits for it.
    pub(super) fn holds(&self, process: ProcessKey) -> bool {
        self.is_attached_to(process) && matches!(self.trust, Trust::Awaited { .. })
    }

    /// Sends a message.
    pub(super) fn tell(&mut self, message: &Message, poller: &Poller) {
        self.outbox.push_message(message);
        self.flush(poller);
    }

    /// Sends the end of output.
    pub(super) fn end_output(&mut self, poller: &Poller) {
        self.outbox.push_end();
        self.flush(poller);
    }

    /// Everything was said: the other side reads an end when it has read the rest. What it still
    /// says is read until it, too, closes.
    pub(super) fn finish(&mut self, poller: &Poller) {
        self.last_words = true;
        self.flush(poller);
    }

    /// Sends output of its process.
    pub(super) fn offer(&mut self, source: Source, bytes: &[u8], poller: &Poller) {
        let kind = match source {
            Source::Stdout => Kind::Stdout,
            Source::Stderr => Kind::Stderr,
        };
        if self.outbox.offer(self.socket.as_fd(), kind, bytes).is_err() {
            self.deafen();
        }
        if self.trust == Trust::Fluent && self.outbox.len() > HIGH {
            self.trust = self.awaited(Instant::now());
        }
        self.update_interest(poller);
    }

    /// Sends what waits.
    pub(super) fn flush(&mut self, poller: &Poller) {
        match self.outbox.flush(self.socket.as_fd()) {
            Err(_) => self.deafen(),
            Ok(progress) => self.update_trust(progress),
        }
        if self.last_words && self.outbox.is_empty() {
            // An error would mean that the other side is gone.
            drop(self.socket.shutdown(Shutdown::Write));
        }
        self.update_interest(poller);
    }

    /// When patience with it ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.trust {
            Trust::Awaited { since, .. } => Some(since + PATIENCE),
            _ => None,
        }
    }

    /// Ends patience with it, if its time is over and it took nothing.
    ///
    /// A slow reader empties its socket long before the kernel says that there is room again.
    pub(super) fn lose_patience(&mut self, now: Instant) {
        if let Trust::Awaited { since, unread } = self.trust
            && since + PATIENCE <= now
        {
            self.trust = match self.awaited(now) {
                Trust::Awaited { unread: less, .. } if less >= unread => Trust::Lossy,
                awaited => awaited,
            };
        }
    }

    fn awaited(&self, since: Instant) -> Trust {
        let unread = wadah_sys::socket::unread_by_peer(self.socket.as_fd()).unwrap_or(0);
        Trust::Awaited { since, unread }
    }

    /// Changes whether it is read.
    pub(super) fn set_reading(&mut self, reading: Reading, poller: &Poller) {
        let parked = self.reading == Reading::Parked;
        self.reading = reading;
        // Errors here would be of a descriptor that is not open, or of no memory in the kernel.
        if reading == Reading::Parked && !parked {
            drop(poller.remove(&self.socket));
        } else if parked && reading != Reading::Parked {
            self.interest = EventFlags::IN;
            drop(poller.add(&self.socket, Event::Connection(self.key), self.interest));
        }
        self.update_interest(poller);
    }

    /// The other side is gone, but what it said may not have been read yet.
    fn deafen(&mut self) {
        self.outbox.clear();
        self.subscribed = false;
        if let Some(attachment) = &mut self.attachment {
            (attachment.streams.stdout, attachment.streams.stderr) = (false, false);
        }
        self.trust = Trust::Fluent;
    }

    fn update_trust(&mut self, progress: bool) {
        self.trust = match self.trust {
            Trust::Awaited { .. } if self.outbox.len() <= LOW => Trust::Fluent,
            Trust::Awaited { .. } if progress => self.awaited(Instant::now()),
            Trust::Lossy if self.outbox.is_empty() => Trust::Fluent,
            trust => trust,
        };
    }

    fn update_interest(&mut self, poller: &Poller) {
        if self.reading == Reading::Parked {
            return;
        }
        let mut interest = EventFlags::empty();
        // Who does not read the answers may not ask more.
        let attached = self.attachment.is_some();
        let listening = attached || self.outbox.len() <= HIGH;
        interest.set(EventFlags::IN, self.reading == Reading::On && listening);
        interest.set(EventFlags::OUT, !self.outbox.is_empty());
        if interest != self.interest {
            self.interest = interest;
            drop(poller.modify(&self.socket, Event::Connection(self.key), interest));
        }
    }
}
