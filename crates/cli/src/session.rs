//! A session: our standard streams joined to those of a container or an exec'd process.
//!
//! The bytes are moved by threads with blocking reads and writes, one for each direction, so that
//! neither a stuck terminal nor a slow reader of our output delays signals and resizing, which
//! live on the event loop. The thread that reads standard input is never joined: it may sit in a
//! read that nobody ends, and dies with the process.
//!
//! **Invariant:** [`Ended::Output`] comes after the last byte of output has been written.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use rustix::net::Shutdown;
use tokio::sync::mpsc;

use crate::{
    client::Hijacked,
    detach::DetachKeys,
    failure::Failure,
    frame::{Channel, Demultiplexer},
    terminal,
};

/// Bytes moved at a time.
const PIECE: usize = 64 * 1024;

/// What a session carries.
#[derive(Debug)]
pub(crate) struct Streams {
    /// Whether standard input goes to the container.
    pub stdin: bool,
    /// Whether the container's side is a terminal: then output is raw, else frames.
    pub tty: bool,
    /// Keys that end the session; only where somebody types.
    pub detach: Option<DetachKeys>,
}

/// How a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The other side has closed its output, and all of it has been written.
    Output,
    /// The detach keys were typed.
    Detached,
    /// The terminal that somebody typed at is gone.
    HungUp,
    /// Our own output cannot be written.
    Unwritable(io::Error),
    /// What arrived makes no sense.
    Garbled(io::Error),
}

/// A session that runs.
#[derive(Debug)]
pub(crate) struct Session {
    ended: mpsc::UnboundedReceiver<Ended>,
}

impl Session {
    /// Joins our streams to the connection.
    pub(crate) fn start(connection: Hijacked, streams: Streams) -> Result<Self, Failure> {
        let (sender, ended) = mpsc::unbounded_channel();
        let Hijacked { socket, early } = connection;
        let socket = Arc::new(socket);
        if streams.stdin {
            let (socket, sender) = (Arc::clone(&socket), sender.clone());
            spawn("stdin", move || {
                if let Some(end) = send(socket.as_fd(), streams.detach) {
                    // Nobody listens once the session has ended otherwise.
                    drop(sender.send(end));
                }
            })?;
        }
        spawn("output", move || {
            let end = match receive(socket.as_fd(), &early, streams.tty) {
                Ok(()) => Ended::Output,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => Ended::Garbled(error),
                Err(error) => Ended::Unwritable(error),
            };
            drop(sender.send(end));
        })?;
        Ok(Self { ended })
    }

    /// Waits for the session's end.
    pub(crate) async fn ended(&mut self) -> Ended {
        // Without a sender there is no thread: what can be written has been.
        self.ended.recv().await.unwrap_or(Ended::Output)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    // Neither direction needs more stack than one buffer's bookkeeping.
    let builder = thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024);
    let handle = builder.spawn(work);
    handle.map(drop).map_err(|source| Failure::System { action: "start a thread", source })
}

/// Moves standard input to the container; returns how that ended the session, if it did.
fn send(socket: BorrowedFd<'_>, detach: Option<DetachKeys>) -> Option<Ended> {
    let mut watch = detach.map(DetachKeys::watch);
    let mut buffer = vec![0; PIECE];
    let mut through = Vec::new();
    loop {
        let read =
            rustix::io::retry_on_intr(|| rustix::io::read(terminal::stdin(), &mut buffer[..]));
        let typed = match read {
            Ok(count) if count > 0 => &buffer[..count],
            // In raw mode a terminal has no end but its own.
            Ok(_) | Err(_) if watch.is_some() => return Some(Ended::HungUp),
            // The end of our input is the end of the container's; its output goes on.
            Ok(_) | Err(_) => {
                let _ = rustix::net::shutdown(socket, Shutdown::Write);
                return None;
            }
        };
        let (bytes, detached) = match &mut watch {
            Some(watch) => {
                through.clear();
                let detached = watch.feed(typed, &mut through);
                (through.as_slice(), detached)
            }
            None => (typed, false),
        };
        // A container that has closed its input does not end the session: its output does.
        if write_all(socket, bytes).is_err() || detached {
            return detached.then_some(Ended::Detached);
        }
    }
}

/// Moves the container's output to ours until its end.
fn receive(socket: BorrowedFd<'_>, early: &Bytes, tty: bool) -> io::Result<()> {
    let mut demultiplexer = Demultiplexer::default();
    let mut forward = |bytes: &[u8]| {
        if tty {
            write_all(rustix::stdio::stdout(), bytes)
        } else {
            demultiplexer.feed(bytes, &mut |channel, bytes| match channel {
                Channel::Stdout => write_all(rustix::stdio::stdout(), bytes),
                Channel::Stderr => write_all(rustix::stdio::stderr(), bytes),
            })
        }
    };
    forward(early)?;
    let mut buffer = vec![0; PIECE];
    loop {
        // A connection that breaks ends the output like one that closes: the wait on the
        // container tells what became of it.
        match rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut buffer[..])) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(count) => forward(&buffer[..count])?,
        }
    }
}

/// Writes all of `bytes`, also to a descriptor that somebody has made non-blocking.
pub(crate) fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<()> {
    use rustix::{
        event::{PollFd, PollFlags, poll},
        io::Errno,
    };
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let _ = poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
