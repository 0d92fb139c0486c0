//! A process of the container that the shim started, and its streams.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use rustix::{
    event::epoll::EventFlags,
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};
use wadah_runtime::Stdio;

use super::event::{Event, Poller, ProcessKey};
use crate::{log::Source, protocol::Exit};

/// How much input waits for a process before its connections are no longer read.
const INPUT_LIMIT: usize = 64 << 10;

/// A process.
#[derive(Debug)]
pub(super) struct Process {
    /// The exec session; the container's first process if none.
    pub(super) exec: Option<String>,
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) streams: Plumbing,
    pub(super) phase: Phase,
}

/// How far a process has come.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Alive, or at least not reaped.
    Alive,
    /// Ended; its output is read until `until`, by when whoever else holds it open is given up.
    Draining { exit: Exit, until: Instant },
}

/// The shim's ends of a process's streams.
#[derive(Debug, Default)]
pub(super) struct Plumbing {
    /// Its terminal, if it has one: a third descriptor of what the other two read and write.
    pub(super) terminal: Option<OwnedFd>,
    pub(super) input: Option<Input>,
    pub(super) stdout: Option<Output>,
    pub(super) stderr: Option<Output>,
    /// When to look again at a terminal that nobody had open.
    pub(super) look_again: Option<Instant>,
}

/// A stream that a process writes.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) fd: OwnedFd,
    polled: bool,
}

/// The stream that a process reads.
#[derive(Debug)]
pub(super) struct Input {
    fd: OwnedFd,
    queue: VecDeque<u8>,
    /// Whether it ends behind the queue.
    ended: bool,
    polled: bool,
}

/// What one read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Bytes.
    Some,
    /// Nothing now.
    Later,
    /// The end.
    End,
}

impl Process {
    /// Whether it was not reaped yet.
    pub(super) const fn is_alive(&self) -> bool {
        matches!(self.phase, Phase::Alive)
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Alive => self.streams.look_again,
            Phase::Draining { until, .. } => Some(until),
        }
    }
}

impl Plumbing {
    /// Makes pipes: the shim's ends, and the process's.
    pub(super) fn pipes(stdin: bool) -> io::Result<(Self, Stdio)> {
        let (input, stdin) = if stdin {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            (Some(Input::new(ours)?), theirs)
        } else {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            (None, rustix::fs::open("/dev/null", flags, Mode::empty())?)
        };
        let (stdout_ours, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr_ours, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let streams = Self {
            terminal: None,
            input,
            stdout: Some(Output::new(stdout_ours)?),
            stderr: Some(Output::new(stderr_ours)?),
            look_again: None,
        };
        Ok((streams, Stdio::Files { stdin, stdout, stderr }))
    }

    /// Takes the shim's side of a terminal.
    pub(super) fn terminal(master: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            input: Some(Input::new(master.try_clone()?)?),
            stdout: Some(Output::new(master.try_clone()?)?),
            stderr: None,
            terminal: Some(master),
            look_again: None,
        })
    }

    pub(super) const fn output(&mut self, source: Source) -> &mut Option<Output> {
        match source {
            Source::Stdout => &mut self.stdout,
            Source::Stderr => &mut self.stderr,
        }
    }

    /// Whether there is nothing more to read.
    pub(super) const fn is_drained(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Polls the outputs, or stops polling them.
    pub(super) fn poll_outputs(&mut self, key: ProcessKey, on: bool, poller: &Poller) {
        for source in [Source::Stdout, Source::Stderr] {
            let Some(output) = self.output(source) else { continue };
            if output.polled == on {
                continue;
            }
            output.polled = on;
            // Errors here would be of a descriptor that is not open, or of no memory in the
            // kernel.
            drop(if on {
                poller.add(&output.fd, Event::Output(key, source), EventFlags::IN)
            } else {
                poller.remove(&output.fd)
            });
        }
    }

    /// Closes an output. It must be taken out of the poller by hand: a terminal has other
    /// descriptors, and a child of the shim may hold a copy until it executes something.
    pub(super) fn close_output(&mut self, source: Source, poller: &Poller) {
        if let Some(output) = self.output(source).take()
            && output.polled
        {
            drop(poller.remove(&output.fd));
        }
    }

    /// Closes the input, and forgets what waits for it.
    pub(super) fn close_input(&mut self, poller: &Poller) {
        if let Some(input) = self.input.take()
            && input.polled
        {
            drop(poller.remove(&input.fd));
        }
    }

    /// Writes input, or keeps it until the process takes it; says whether it takes more.
    pub(super) fn write(&mut self, key: ProcessKey, bytes: &[u8], poller: &Poller) -> bool {
        if let Some(input) = &mut self.input {
            input.queue.extend(bytes);
        }
        self.push_input(key, poller)
    }

    /// Ends the input behind what waits. A terminal has no end.
    pub(super) fn end_input(&mut self, key: ProcessKey, poller: &Poller) {
        if let (Some(input), None) = (&mut self.input, &self.terminal) {
            input.ended = true;
        }
        self.push_input(key, poller);
    }

    /// Gives the process what waits for it; says whether it takes more.
    pub(super) fn push_input(&mut self, key: ProcessKey, poller: &Poller) -> bool {
        let Some(input) = &mut self.input else { return true };
        let written = input.flush();
        if written.is_err() || input.queue.is_empty() && input.ended {
            // Nobody reads it any more, or all was read.
            self.close_input(poller);
            return true;
        }
        let polled = !input.queue.is_empty();
        if polled != input.polled {
            input.polled = polled;
            drop(if polled {
                poller.add(&input.fd, Event::Input(key), EventFlags::OUT)
            } else {
                poller.remove(&input.fd)
            });
        }
        input.queue.len() < INPUT_LIMIT
    }
}

impl Output {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd, polled: false })
    }

    /// Reads once, into the free space of `buffer`.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> Read {
        match rustix::io::read(&self.fd, rustix::buffer::spare_capacity(buffer)) {
            Ok(0) => Read::End,
            Ok(_) => Read::Some,
            Err(Errno::AGAIN | Errno::INTR) => Read::Later,
            // A terminal that no process has open says EIO.
            Err(_) => Read::End,
        }
    }
}

impl Input {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        set_nonblocking(&fd)?;
        Ok(Self { fd, queue: VecDeque::new(), ended: false, polled: false })
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            match rustix::io::write(&self.fd, self.queue.as_slices().0) {
                Ok(written) => drop(self.queue.drain(..written)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        self.queue = VecDeque::new();
        Ok(())
    }
}

/// The flag belongs to this end of a pipe alone, and to a terminal's master alone.
fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&fd)?;
    Ok(fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?)
}
