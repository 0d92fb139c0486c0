//! The loop of a shim: what it does when something happens.
//!
//! **Invariant:** nothing here waits but [`Poller::wait`]: every descriptor is read and written
//! as far as it goes.
//! **Invariant:** a container's end is told after its output was read and logged, and after it
//! was written down.

use std::{
    collections::BTreeMap,
    io,
    os::{fd::AsFd, unix::net::UnixListener},
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::EventFlags,
    io::Errno,
    process::{WaitOptions, WaitStatus, wait, waitpid},
};
use wadah_sys::signalfd::ChildSignals;

use super::{
    connection::{Connection, Reading},
    container::Container,
    event::{ConnectionKey, Event, Poller, ProcessKey, Woken},
    process::{Phase, Process, Read},
};
use crate::{
    clock::Moment,
    log::{Log, Source},
    protocol::{self, Exit, Message},
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

/// Output.
impl Supervisor {
    /// Reads a stream once, logs it, and sends it to who is attached.
    fn read_output(&mut self, key: ProcessKey, source: Source) -> Read {
        self.buffer.clear();
        self.buffer.reserve(CHUNK);
        let Some(process) = self.processes.get_mut(&key) else { return Read::End };
        let Some(output) = process.streams.output(source) else { return Read::End };
        let read = output.read(&mut self.buffer);
        match read {
            Read::Later => {}
            Read::Some => self.deliver(key, source),
            Read::End => self.end_output(key, source),
        }
        read
    }

    fn deliver(&mut self, key: ProcessKey, source: Source) {
        if let (ProcessKey::INIT, Some(log)) = (key, &mut self.log) {
            log.write(source, &self.buffer, Moment::now());
        }
        for connection in self.connections.values_mut() {
            if connection.wants(key, source) {
                connection.offer(source, &self.buffer, &self.poller);
            }
        }
        self.hold_or_release(key);
    }

    /// A stream has ended.
    fn end_output(&mut self, key: ProcessKey, source: Source) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.streams.terminal.is_some() && matches!(process.phase, Phase::Alive) {
            // Nobody has the terminal open, but its process may open it again.
            process.streams.poll_outputs(key, false, &self.poller);
            process.streams.look_again = Some(Instant::now() + HUNG_UP);
            return;
        }
        process.streams.close_output(source, &self.poller);
        if process.streams.is_drained() && matches!(process.phase, Phase::Draining { .. }) {
            self.finish(key);
        }
    }

    /// Lets a process's output wait while a connection is awaited, or go on.
    pub(super) fn hold_or_release(&mut self, key: ProcessKey) {
        let held = self.connections.values().any(|it| it.holds(key));
        if let Some(process) = self.processes.get_mut(&key)
            && process.streams.look_again.is_none()
        {
            process.streams.poll_outputs(key, !held, &self.poller);
        }
    }

    /// Reads all that there is now. A connection's patience is no concern at the end: less is
    /// left than fits its buffer.
    fn drain(&mut self, key: ProcessKey) {
        for source in BOTH {
            while self.read_output(key, source) == Read::Some {}
        }
    }

    fn push_input(&mut self, key: ProcessKey) {
        let Some(process) = self.processes.get_mut(&key) else { return };
        if process.streams.push_input(key, &self.poller) {
            for connection in self.connections.values_mut().filter(|it| it.feeds(key)) {
                connection.set_reading(Reading::On, &self.poller);
            }
        }
    }
}

/// The end of processes.
impl Supervisor {
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let ours = self.processes.iter().find(|(_, it)| it.pid == pid && it.is_alive());
            // Others are orphans that the kernel gave us.
            if let Some((&key, _)) = ours {
                self.ended(key, status);
            }
        }
    }

    fn ended(&mut self, key: ProcessKey, status: WaitStatus) {
        let oom = self.container.look_for_ooms();
        if oom {
            self.tell_subscribers(&protocol::Event::Oom, None);
        }
        let exit = self.exit_of(status);
        if key == ProcessKey::INIT {
            self.container.kill_rest();
        }
        if let Some(process) = self.processes.get_mut(&key) {
            process.streams.look_again = None;
            process.streams.close_input(&self.poller);
            process.phase = Phase::Draining { exit, until: Instant::now() + DRAIN };
            process.streams.poll_outputs(key, true, &self.poller);
        }
        self.drain(key);
        // It may have had no stream that was still open.
        if self.processes.get(&key).is_some_and(|it| it.streams.is_drained()) {
            self.finish(key);
        }
    }

    fn exit_of(&self, status: WaitStatus) -> Exit {
        let signal = status.terminating_signal();
        let code = status.exit_status().or(signal.map(|it| 128 + it)).unwrap_or(255);
        let oom_killed = self.container.had_oom();
        Exit { code, signal, oom_killed, at: Moment::now().nanoseconds(), error: None }
    }

    /// A process has ended and its output was read.
    fn finish(&mut self, key: ProcessKey) {
        let Some(mut process) = self.processes.remove(&key) else { return };
        let Phase::Draining { exit, .. } = process.phase else { return };
        for source in BOTH {
            process.streams.close_output(source, &self.poller);
        }
        let event = match process.exec {
            None => {
                self.finish_log();
                self.container.stop(&exit);
                protocol::Event::Exited(exit)
            }
            Some(id) => {
                self.container.exec_ended(&id, exit.clone());
                protocol::Event::ExecExited { id, exit }
            }
        };
        for connection in self.connections.values_mut().filter(|it| it.is_attached_to(key)) {
            connection.end_output(&self.poller);
        }
        self.tell_subscribers(&event, Some(key));
        for connection in self.connections.values_mut().filter(|it| it.is_attached_to(key)) {
            connection.set_reading(Reading::On, &self.poller);
            if !connection.subscribed {
                connection.finish(&self.poller);
            }
        }
        if key == ProcessKey::INIT {
            // After everyone was told, because it takes its time.
            self.container.delete_cgroup();
            self.await_dismissal();
        }
    }

    /// The container could not be started, and nothing is left of its process.
    pub(super) fn forget_init(&mut self) {
        self.processes.remove(&ProcessKey::INIT);
        self.finish_log();
        self.await_dismissal();
    }

    /// Ends a container that was not started, and waits for its end.
    pub(super) fn abandon(&mut self) {
        if let Some(process) = self.processes.get(&ProcessKey::INIT) {
            let pid = process.pid;
            // It waits at its gate, where nothing keeps it from dying at once.
            drop(wadah_sys::process::pidfd_kill(process.pidfd.as_fd(), 9));
            if let Ok(Some((_, status))) = waitpid(Some(pid), WaitOptions::empty()) {
                self.ended(ProcessKey::INIT, status);
            }
        }
    }

    fn finish_log(&mut self) {
        if let Some(mut log) = self.log.take() {
            for source in BOTH {
                log.finish(source, Moment::now());
            }
        }
    }

    /// Tells those who asked to be told, and those attached to the process it is about.
    fn tell_subscribers(&mut self, event: &protocol::Event, about: Option<ProcessKey>) {
        let message = Message::Event(event.clone());
        for connection in self.connections.values_mut() {
            if connection.subscribed || about.is_some_and(|key| connection.is_attached_to(key)) {
                connection.tell(&message, &self.poller);
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
