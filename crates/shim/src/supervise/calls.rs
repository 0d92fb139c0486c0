//! What a connection may ask, and what is done about it.

use std::os::fd::AsFd;

use rustix::termios::{Winsize, tcsetwinsize};
use serde::Deserialize;

use super::{
    connection::{Attachment, Reading},
    event::{ConnectionKey, ProcessKey},
    process::Process,
    supervisor::Supervisor,
};
use crate::protocol::{
    Answer, Call, Exec, Failure, FailureClass, Frame, Kind, Message, Outcome, Request, Status,
    Streams,
};

const SIGKILL: i32 = 9;

/// The connection says what makes no sense; nothing that follows can be trusted.
#[derive(Debug)]
pub(super) struct Nonsense;

/// As much of a request as every release writes alike.
#[derive(Deserialize)]
struct Envelope {
    id: u64,
}

impl Supervisor {
    /// Does what a frame says.
    pub(super) fn obey(&mut self, from: ConnectionKey, frame: Frame<'_>) -> Result<(), Nonsense> {
        match frame.kind {
            Kind::Control => self.request(from, frame.payload),
            Kind::Stdin => self.input(from, frame.payload),
            Kind::StdinEof => {
                if let Some(key) = self.fed_by(from)? {
                    self.input_ended(key);
                }
                Ok(())
            }
            Kind::Stdout | Kind::Stderr | Kind::Lost | Kind::OutputEof => Err(Nonsense),
        }
    }

    fn input(&mut self, from: ConnectionKey, bytes: &[u8]) -> Result<(), Nonsense> {
        // Input for a process that has ended is nobody's mistake.
        let Some(key) = self.fed_by(from)? else { return Ok(()) };
        let Some(process) = self.processes.get_mut(&key) else { return Ok(()) };
        if !process.streams.write(key, bytes, &self.poller)
            && let Some(connection) = self.connections.get_mut(&from)
        {
            connection.set_reading(Reading::Paused, &self.poller);
        }
        Ok(())
    }

    /// Which process a connection writes to; it has to be attached to one.
    fn fed_by(&self, from: ConnectionKey) -> Result<Option<ProcessKey>, Nonsense> {
        let attachment = self.connections.get(&from).and_then(|it| it.attachment);
        let Attachment { process, streams } = attachment.ok_or(Nonsense)?;
        Ok(streams.stdin.then_some(process))
    }

    fn request(&mut self, from: ConnectionKey, json: &[u8]) -> Result<(), Nonsense> {
        let (id, outcome) = match serde_json::from_slice::<Request>(json) {
            Ok(Request { id, call }) => (id, self.call(from, id, call)),
            Err(error) => {
                // Perhaps a call of a later release.
                let Envelope { id } = serde_json::from_slice(json).map_err(|_| Nonsense)?;
                (id, Err(Failure::new(FailureClass::Invalid, &error)))
            }
        };
        let outcome = match outcome {
            Ok(Some(answer)) => Outcome::Ok(answer),
            Ok(None) => return Ok(()),
            Err(failure) => Outcome::Error(failure),
        };
        self.reply(from, id, outcome);
        Ok(())
    }

    fn reply(&mut self, to: ConnectionKey, id: u64, outcome: Outcome) {
        if let Some(connection) = self.connections.get_mut(&to) {
            connection.tell(&Message::Reply { id, outcome }, &self.poller);
        }
    }

    /// Answers a call; with nothing if it has been answered already.
    fn call(
        &mut self,
        from: ConnectionKey,
        id: u64,
        call: Call,
    ) -> Result<Option<Answer>, Failure> {
        let answer = match call {
            Call::Created => match self.container.failure() {
                Some(failure) => return Err(failure.clone()),
                None => Answer::State(self.container.state()),
            },
            Call::State => Answer::State(self.container.state()),
            Call::Subscribe => {
                self.connections.entry(from).and_modify(|it| it.subscribed = true);
                Answer::State(self.container.state())
            }
            Call::Start => self.start().map(|()| Answer::Done)?,
            Call::Signal { exec, signal, all } => {
                self.signal(exec.as_deref(), signal, all).map(|()| Answer::Done)?
            }
            Call::Resize { exec, rows, columns } => {
                self.resize(exec.as_deref(), rows, columns).map(|()| Answer::Done)?
            }
            Call::Pause => self.container.pause().map(|()| Answer::Done)?,
            Call::Resume => self.container.resume().map(|()| Answer::Done)?,
            Call::Update { resources } => {
                self.container.update(resources).map(|()| Answer::Done)?
            }
            Call::Exec(exec) => return self.exec(from, id, &exec).map(|()| None),
            Call::Attach { exec, stdin, stdout, stderr } => {
                let (process, _) = self.find(exec.as_deref())?;
                self.reply(from, id, Outcome::Ok(Answer::Done));
                self.attach(from, process, Streams { stdin, stdout, stderr });
                return Ok(None);
            }
            Call::Pids => Answer::Pids { pids: self.pids()? },
            Call::Stats => Answer::Stats { stats: self.stats()? },
            Call::Shutdown => self.shut_down().map(|()| Answer::Done)?,
        };
        Ok(Some(answer))
    }

    fn start(&mut self) -> Result<(), Failure> {
        let started = self.container.start();
        if started.is_err() && self.container.is_over() {
            // The runtime has reaped it: nobody else will tell of its end.
            self.forget_init();
        }
        started
    }

    fn exec(&mut self, from: ConnectionKey, id: u64, exec: &Exec) -> Result<(), Failure> {
        let process = self.container.exec(exec)?;
        let pid = process.pid.as_raw_nonzero().get();
        let key = ProcessKey(self.new_key());
        // In this order: the connection hears of the process before its first byte.
        self.reply(from, id, Outcome::Ok(Answer::Pid { pid }));
        self.watch(key, process);
        if let Some(streams) = exec.attach {
            self.attach(from, key, streams);
        }
        Ok(())
    }

    fn attach(&mut self, to: ConnectionKey, process: ProcessKey, streams: Streams) {
        if let Some(connection) = self.connections.get_mut(&to) {
            connection.attachment = Some(Attachment { process, streams });
        }
    }

    /// Finds a process that has not ended.
    fn find(&mut self, exec: Option<&str>) -> Result<(ProcessKey, &mut Process), Failure> {
        let wrong = match exec {
            Some(id) => {
                Failure::says(FailureClass::NotFound, format!("no such exec session: {id}"))
            }
            None => self.container.wrong_state("reach"),
        };
        let found = self.processes.iter_mut().find(|(_, it)| it.exec.as_deref() == exec);
        found.map(|(key, process)| (*key, process)).ok_or(wrong)
    }

    fn signal(&mut self, exec: Option<&str>, signal: i32, all: bool) -> Result<(), Failure> {
        if !(0..=64).contains(&signal) {
            let message = format!("no signal has the number {signal}");
            return Err(Failure::says(FailureClass::Invalid, message));
        }
        if all {
            self.signal_all(signal)?;
        } else {
            let (_, process) = self.find(exec)?;
            match wadah_sys::process::pidfd_kill(process.pidfd.as_fd(), signal) {
                // It has ended, and is about to be reaped.
                Err(error)
                    if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                sent => sent.map_err(|error| Failure::internal(&error))?,
            }
        }
        // A frozen process dies when it thaws.
        if signal == SIGKILL && self.container.status() == Status::Paused {
            self.container.resume()?;
        }
        Ok(())
    }

    fn signal_all(&self, signal: i32) -> Result<(), Failure> {
        let cgroup = self.container.living_cgroup("signal")?;
        cgroup.signal_all(signal).map_err(|error| Failure::internal(&error))
    }

    fn resize(&mut self, exec: Option<&str>, rows: u16, columns: u16) -> Result<(), Failure> {
        let (_, process) = self.find(exec)?;
        let Some(terminal) = &process.streams.terminal else {
            return Err(Failure::says(FailureClass::Invalid, "the process has no terminal"));
        };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(terminal, size).map_err(|error| Failure::internal(&error))
    }

    fn pids(&self) -> Result<Vec<i32>, Failure> {
        let cgroup = self.container.living_cgroup("list the processes of")?;
        let pids = cgroup.pids().map_err(|error| Failure::internal(&error))?;
        Ok(pids.into_iter().map(|pid| pid.as_raw_nonzero().get()).collect())
    }

    fn stats(&self) -> Result<serde_json::Value, Failure> {
        let cgroup = self.container.living_cgroup("measure")?;
        let stats = cgroup.stats().map_err(|error| Failure::internal(&error))?;
        serde_json::to_value(stats).map_err(|error| Failure::internal(&error))
    }

    /// Ends the shim of a container that has ended, or was never started.
    fn shut_down(&mut self) -> Result<(), Failure> {
        match self.container.status() {
            Status::Stopped => {}
            Status::Created => self.abandon(),
            _ => return Err(self.container.wrong_state("shut down the shim of")),
        }
        self.dismiss();
        Ok(())
    }
}
