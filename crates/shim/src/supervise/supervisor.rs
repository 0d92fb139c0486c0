//! The loop of a shim: what it does when something happens.
//!
//! Here are the loop, the connections and the clock; beside, what is done about [`output`] and
//! about the [`ending`] of processes.
//!
//! **Invariant:** nothing here waits but [`Poller::wait`]: every descriptor is read and written
//! as far as it goes.
//! **Invariant:** a container's end is told after its output was read and logged, and after it
//! was written down.

mod ending;
mod output;

use std::{
    collections::BTreeMap,
    io,
    os::unix::net::UnixListener,
    time::{Duration, Instant},
};

use rustix::{event::epoll::EventFlags, io::Errno};
use wadah_sys::signalfd::ChildSignals;

use super::{
    connection::{Connection, Reading},
    container::Container,
    event::{ConnectionKey, Event, Poller, ProcessKey, Woken},
    process::{Phase, Process},
};
use crate::{
    log::{Log, Source},
    protocol,
};

/// How much output one read takes.
const CHUNK: usize = 64 << 10;

/// How long after a process's end its output is read while others hold it open, as in Docker.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a shim whose container has ended waits for a connected daemon to dismiss it.
const DISMISSAL: Duration = Duration::from_secs(120);

/// How long a dismissed shim waits for connections to take what is left for them.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long nothing may happen before memory is given back.
const QUIET: Duration = Duration::from_secs(1);

/// How soon a terminal that nobody has open is looked at again.
const HUNG_UP: Duration = Duration::from_millis(100);

/// How many connections there may be at once.
const CONNECTIONS: usize = 512;

const BOTH: [Source; 2] = [Source::Stdout, Source::Stderr];

/// Whether the shim is to end.
#[derive(Debug, Clone, Copy)]
enum Stay {
    /// As long as its container.
    On,
    /// Its container has ended: until it is dismissed, or nobody is there to do so.
    UntilDismissed { deadline: Instant },
    /// Until the last bytes are sent.
    Farewell { deadline: Instant },
}

/// One container's supervisor.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) poller: Poller,
    children: ChildSignals,
    listener: UnixListener,
    pub(super) container: Container,
    pub(super) processes: BTreeMap<ProcessKey, Process>,
    pub(super) connections: BTreeMap<ConnectionKey, Connection>,
    next_key: u32,
    log: Option<Log>,
    buffer: Vec<u8>,
    stay: Stay,
    /// Whether something happened since memory was last given back.
    busy: bool,
}

impl Supervisor {
    /// Puts everything into the loop.
    pub(super) fn new(
        children: ChildSignals,
        listener: UnixListener,
        (container, process): (Container, Option<Process>),
        log: Option<Log>,
    ) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.add(&children, Event::Child, EventFlags::IN)?;
        listener.set_nonblocking(true)?;
        poller.add(&listener, Event::Caller, EventFlags::IN)?;
        if let Some(oom) = &container.oom {
            poller.add(oom.fd(), Event::Oom, EventFlags::IN | EventFlags::PRI)?;
        }
        let mut supervisor = Self {
            poller,
            children,
            listener,
            container,
            processes: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_key: 1,
            log,
            buffer: Vec::new(),
            stay: Stay::On,
            busy: true,
        };
        match process {
            Some(process) => supervisor.watch(ProcessKey::INIT, process),
            None => supervisor.await_dismissal(),
        }
        Ok(supervisor)
    }

    /// Does what a shim does, until it is no longer needed.
    pub(super) fn run(&mut self) -> io::Result<()> {
        while !self.is_done() {
            let woken = self.poller.wait(self.timeout())?;
            if woken.is_empty() && self.busy {
                self.give_memory_back();
            }
            for it in woken {
                self.busy = true;
                self.handle(it);
            }
            self.keep_time();
        }
        Ok(())
    }

    fn handle(&mut self, Woken { event, ready }: Woken) {
        match event {
            Event::Child => {
                self.children.drain();
                self.reap();
            }
            Event::Caller => self.accept(),
            Event::Oom => {
                if self.container.look_for_ooms() {
                    self.tell_subscribers(&protocol::Event::Oom, None);
                }
            }
            Event::Connection(key) => self.serve(key, ready),
            Event::Output(key, source) => drop(self.read_output(key, source)),
            Event::Input(key) => self.push_input(key),
        }
    }

    /// A number for a process or a connection that no other had.
    pub(super) const fn new_key(&mut self) -> u32 {
        let key = self.next_key;
        self.next_key += 1;
        key
    }

    /// Takes a process into the loop.
    pub(super) fn watch(&mut self, key: ProcessKey, mut process: Process) {
        process.streams.poll_outputs(key, true, &self.poller);
        self.processes.insert(key, process);
    }

    /// Takes a connection into the loop.
    pub(super) fn admit(&mut self, socket: std::os::unix::net::UnixStream) {
        let key = ConnectionKey(self.new_key());
        if let Ok(connection) = Connection::new(key, socket, &self.poller) {
            self.connections.insert(key, connection);
        }
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            // The run directory lets nobody else through; this is the second lock.
            let uid = rustix::net::sockopt::socket_peercred(&socket).map(|it| it.uid);
            let ours = uid.is_ok_and(|uid| uid.is_root() || uid == rustix::process::geteuid());
            if ours && self.connections.len() < CONNECTIONS {
                self.admit(socket);
            }
        }
    }
}

/// Connections.
impl Supervisor {
    fn serve(&mut self, key: ConnectionKey, ready: EventFlags) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if !connection.is_flushed() {
            connection.flush(&self.poller);
            if let Some(attachment) = connection.attachment {
                self.hold_or_release(attachment.process);
            }
        }
        let gone = ready.intersects(EventFlags::HUP | EventFlags::ERR);
        if gone || ready.contains(EventFlags::IN) {
            self.listen(key, gone);
        }
    }

    /// Reads a connection once, and does what it says.
    fn listen(&mut self, key: ConnectionKey, gone: bool) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if connection.reading() != Reading::On {
            if gone {
                connection.set_reading(Reading::Parked, &self.poller);
            }
            return;
        }
        let mut decoder = std::mem::take(&mut connection.decoder);
        match decoder.read_from(connection.socket()) {
            Ok(1..) => {}
            Err(Errno::AGAIN | Errno::INTR) => {
                connection.decoder = decoder;
                return;
            }
            Ok(0) | Err(_) => return self.disconnect(key),
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => {
                    if self.obey(key, frame).is_err() {
                        return self.disconnect(key);
                    }
                }
                Ok(None) => break,
                Err(_) => return self.disconnect(key),
            }
        }
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.decoder = decoder;
        }
    }

    /// A connection has ended, or has to.
    fn disconnect(&mut self, key: ConnectionKey) {
        let Some(mut connection) = self.connections.remove(&key) else { return };
        connection.set_reading(Reading::Parked, &self.poller);
        // What it wrote stays written, and the input open: whoever leaves may come back.
        if let Some(attachment) = connection.attachment {
            self.hold_or_release(attachment.process);
        }
    }

    /// Who wrote to a process has finished.
    pub(super) fn input_ended(&mut self, key: ProcessKey) {
        if key == ProcessKey::INIT && !self.container.launch.stdin_once {
            return;
        }
        if let Some(process) = self.processes.get_mut(&key) {
            process.streams.end_input(key, &self.poller);
        }
    }
}

/// Time.
impl Supervisor {
    fn await_dismissal(&mut self) {
        if matches!(self.stay, Stay::On) {
            self.stay = Stay::UntilDismissed { deadline: Instant::now() + DISMISSAL };
        }
    }

    /// The daemon needs the shim no more.
    pub(super) fn dismiss(&mut self) {
        self.stay = Stay::Farewell { deadline: Instant::now() + FAREWELL };
    }

    fn is_done(&self) -> bool {
        let over = |deadline| Instant::now() >= deadline;
        match self.stay {
            Stay::On => false,
            Stay::UntilDismissed { deadline } => {
                over(deadline) || self.connections.is_empty() && self.processes.is_empty()
            }
            Stay::Farewell { deadline } => {
                over(deadline) || self.connections.values().all(Connection::is_flushed)
            }
        }
    }

    /// Everything that happens at a time, and not by itself.
    fn deadlines(&self) -> impl Iterator<Item = Instant> {
        let stay = match self.stay {
            Stay::On => None,
            Stay::UntilDismissed { deadline } | Stay::Farewell { deadline } => Some(deadline),
        };
        // Of an exec session, nothing is logged: its output waits for its connection.
        let patience = self.connections.values().filter(|it| it.is_attached_to(ProcessKey::INIT));
        let patience = patience.filter_map(Connection::deadline);
        let processes = self.processes.values().filter_map(Process::deadline);
        stay.into_iter().chain(patience).chain(processes)
    }

    fn timeout(&self) -> Option<Duration> {
        let now = Instant::now();
        let deadline = self.deadlines().min().map(|it| it.saturating_duration_since(now));
        match deadline {
            Some(deadline) if self.busy => Some(deadline.min(QUIET)),
            None if self.busy => Some(QUIET),
            deadline => deadline,
        }
    }

    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.deadlines().all(|deadline| deadline > now) {
            return;
        }
        for connection in self.connections.values_mut() {
            if connection.is_attached_to(ProcessKey::INIT) {
                connection.lose_patience(now);
            }
        }
        let keys: Vec<ProcessKey> = self.processes.keys().copied().collect();
        for key in keys {
            let Some(process) = self.processes.get_mut(&key) else { continue };
            process.streams.look_again.take_if(|at| *at <= now);
            match process.phase {
                Phase::Draining { until, .. } if until <= now => self.finish(key),
                _ => self.hold_or_release(key),
            }
        }
    }

    fn give_memory_back(&mut self) {
        self.busy = false;
        self.buffer = Vec::new();
        if let Some(log) = &mut self.log {
            log.shrink();
        }
        for connection in self.connections.values_mut() {
            connection.decoder.shrink();
        }
        wadah_sys::heap::trim();
        wadah_sys::heap::forget_code();
    }
}
