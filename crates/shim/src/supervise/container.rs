//! The container: its life, its control group, and what it was made from.
//!
//! **Invariant:** the specification is parsed when it is needed and dropped again: it is the
//! largest thing a shim would otherwise keep.

mod making;

use std::{
    collections::{BTreeMap, VecDeque},
    io, mem,
    os::fd::OwnedFd,
};

use oci_spec::runtime::LinuxResources;
use wadah_runtime::{
    Created,
    cgroup::{Cgroup, OomWatch},
};

use super::{foreign::Foreign, persist::persist, process::Process};
use crate::{
    clock::Moment,
    launch::{EXIT, STATE},
    protocol::{self, ExecState, Exit, Failure, FailureClass, Launch, State, Status},
};

/// How many exec sessions that have ended are remembered.
const REMEMBERED: usize = 256;

/// The container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) launch: Launch,
    life: Life,
    pid: i32,
    started_at: u64,
    execs: BTreeMap<String, ExecState>,
    /// Sessions that have ended, the oldest first.
    ended: VecDeque<String>,
    warnings: Vec<String>,
    /// Whether its processes outlive its first one, for want of a pid namespace of its own.
    shares_pids: bool,
    pub(super) oom: Option<OomWatch>,
    ooms: u64,
    /// The other runtime that the container was made by.
    foreign: Option<Foreign>,
}

/// Where the container is in its life.
#[derive(Debug)]
enum Life {
    /// At its gate.
    Created(Gate),
    /// Between two states, or failed without a trace.
    None,
    /// Running.
    Running(Cgroup),
    /// Frozen.
    Paused(Cgroup),
    /// Ended; the control group until it is deleted.
    Stopped(Exit, Option<Cgroup>),
    /// Not made, or not started.
    Failed(Failure, Exit),
}

/// What opens the gate.
#[derive(Debug)]
enum Gate {
    /// Our runtime, in this process.
    Ours(Box<Created>),
    /// Another runtime.
    Theirs(Cgroup),
}

impl Gate {
    const fn cgroup(&self) -> &Cgroup {
        match self {
            Self::Ours(created) => &created.cgroup,
            Self::Theirs(cgroup) => cgroup,
        }
    }

    fn into_cgroup(self) -> Cgroup {
        match self {
            Self::Ours(created) => created.cgroup,
            Self::Theirs(cgroup) => cgroup,
        }
    }
}

impl Container {
    /// Makes the container up to its gate. If that fails, there still is one: it tells why.
    ///
    /// `network` is the network namespace that was handed to the shim.
    pub(super) fn create(launch: Launch, network: Option<&OwnedFd>) -> (Self, Option<Process>) {
        let mut container = Self::new(launch);
        let process = container.try_create(network);
        let process = process.map_err(|failure| container.fail(failure)).ok();
        container.persist_state();
        (container, process)
    }

    /// Does not make the container, because its log cannot be written.
    pub(super) fn without_log(launch: Launch, error: &io::Error) -> (Self, Option<Process>) {
        let path = launch.log.as_ref().map(|it| it.path.clone()).unwrap_or_default();
        let mut container = Self::new(launch);
        let message = format!("cannot open the log {}: {error}", path.display());
        container.fail(Failure::says(FailureClass::Internal, message));
        (container, None)
    }

    fn new(launch: Launch) -> Self {
        Self {
            launch,
            life: Life::None,
            pid: 0,
            started_at: 0,
            execs: BTreeMap::new(),
            ended: VecDeque::new(),
            warnings: Vec::new(),
            shares_pids: false,
            oom: None,
            ooms: 0,
            foreign: None,
        }
    }

    /// Opens the gate.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let gate = match mem::replace(&mut self.life, Life::None) {
            Life::Created(gate) => gate,
            Life::Failed(failure, exit) => {
                self.life = Life::Failed(failure.clone(), exit);
                return Err(failure);
            }
            other => {
                self.life = other;
                return Err(self.wrong_state("start"));
            }
        };
        // Before the gate opens: nothing is logged before the container was started.
        let now = Moment::now().nanoseconds();
        match self.open(gate) {
            Ok(cgroup) => {
                self.started_at = now;
                self.life = Life::Running(cgroup);
                self.persist_state();
                Ok(())
            }
            Err(failure) => {
                self.fail(failure.clone());
                Err(failure)
            }
        }
    }

    /// Opens the gate; of a container that does not start, nothing is left.
    fn open(&mut self, gate: Gate) -> Result<Cgroup, Failure> {
        match (gate, &self.foreign) {
            (Gate::Ours(created), _) => Ok(created.start()?.cgroup),
            (Gate::Theirs(cgroup), Some(foreign)) => {
                foreign.start().inspect_err(|_| {
                    foreign.delete();
                    drop(cgroup.kill_all());
                    drop(cgroup.delete());
                })?;
                Ok(cgroup)
            }
            (Gate::Theirs(_), None) => unreachable!("BUG: whose it is was noted"),
        }
    }
}

/// What is known of it, and what is done to all of it.
impl Container {
    /// Where it is in its life.
    pub(super) const fn status(&self) -> Status {
        match &self.life {
            Life::None => Status::Creating,
            Life::Created(_) => Status::Created,
            Life::Running(_) => Status::Running,
            Life::Paused(_) => Status::Paused,
            Life::Stopped(..) | Life::Failed(..) => Status::Stopped,
        }
    }

    /// Whether it has ended, or never began.
    pub(super) fn is_over(&self) -> bool {
        self.status() == Status::Stopped
    }

    /// Why it was not made or not started.
    pub(super) const fn failure(&self) -> Option<&Failure> {
        match &self.life {
            Life::Failed(failure, _) => Some(failure),
            _ => None,
        }
    }

    pub(super) fn state(&self) -> State {
        State {
            version: protocol::VERSION,
            status: self.status(),
            pid: self.pid,
            started_at: self.started_at,
            exit: match &self.life {
                Life::Stopped(exit, _) | Life::Failed(_, exit) => Some(exit.clone()),
                _ => None,
            },
            execs: self.execs.clone(),
            warnings: self.warnings.clone(),
        }
    }

    /// Its control group, as long as there is one.
    pub(super) const fn cgroup(&self) -> Option<&Cgroup> {
        match &self.life {
            Life::Created(gate) => Some(gate.cgroup()),
            Life::Running(cgroup) | Life::Paused(cgroup) => Some(cgroup),
            Life::Stopped(_, cgroup) => cgroup.as_ref(),
            Life::None | Life::Failed(..) => None,
        }
    }

    /// Its control group, or that it has none any more.
    pub(super) fn living_cgroup(&self, verb: &str) -> Result<&Cgroup, Failure> {
        match self.cgroup() {
            Some(cgroup) if !self.is_over() => Ok(cgroup),
            _ => Err(self.wrong_state(verb)),
        }
    }

    /// Freezes it.
    pub(super) fn pause(&mut self) -> Result<(), Failure> {
        let Life::Running(cgroup) = &self.life else { return Err(self.wrong_state("pause")) };
        cgroup.freeze().map_err(|error| Failure::internal(&error))?;
        if let Life::Running(cgroup) = mem::replace(&mut self.life, Life::None) {
            self.life = Life::Paused(cgroup);
        }
        self.persist_state();
        Ok(())
    }

    /// Thaws it.
    pub(super) fn resume(&mut self) -> Result<(), Failure> {
        let Life::Paused(cgroup) = &self.life else { return Err(self.wrong_state("resume")) };
        cgroup.thaw().map_err(|error| Failure::internal(&error))?;
        if let Life::Paused(cgroup) = mem::replace(&mut self.life, Life::None) {
            self.life = Life::Running(cgroup);
        }
        self.persist_state();
        Ok(())
    }

    /// Changes its limits.
    pub(super) fn update(&mut self, resources: serde_json::Value) -> Result<(), Failure> {
        let cgroup = self.living_cgroup("update")?;
        let resources: LinuxResources = serde_json::from_value(resources)
            .map_err(|error| Failure::new(FailureClass::Invalid, &error))?;
        let warnings = cgroup.update(&resources).map_err(|error| Failure::internal(&error))?;
        self.warnings.extend(warnings);
        Ok(())
    }

    /// Looks whether the kernel killed processes for want of memory since the last look.
    pub(super) fn look_for_ooms(&mut self) -> bool {
        let Some(Ok(count)) = self.oom.as_ref().map(OomWatch::count) else { return false };
        let more = count > self.ooms;
        self.ooms = self.ooms.max(count);
        more
    }

    /// Whether the kernel ever killed a process for want of memory.
    pub(super) const fn had_oom(&self) -> bool {
        self.ooms > 0
    }

    /// The first process has ended: ends those that outlive it.
    pub(super) fn kill_rest(&self) {
        if let (true, Some(cgroup)) = (self.shares_pids, self.cgroup()) {
            // What survives this keeps the control group from being deleted, no more.
            drop(cgroup.kill_all());
        }
    }

    /// The first process has ended and its output was read. Written down before anyone is told.
    pub(super) fn stop(&mut self, exit: &Exit) {
        self.persist(EXIT, exit);
        let cgroup = match mem::replace(&mut self.life, Life::None) {
            Life::Created(gate) => Some(gate.into_cgroup()),
            Life::Running(cgroup) | Life::Paused(cgroup) => Some(cgroup),
            _ => None,
        };
        self.life = Life::Stopped(exit.clone(), cgroup);
    }

    /// Deletes the control group of a container that has ended.
    pub(super) fn delete_cgroup(&mut self) {
        self.oom = None;
        if let Some(foreign) = self.foreign.take() {
            foreign.delete();
        }
        if let Life::Stopped(_, cgroup) = &mut self.life
            && let Some(cgroup) = cgroup.take()
        {
            // Something that the daemon may still have in it: the daemon sweeps what is left.
            drop(cgroup.kill_all());
            drop(cgroup.delete());
        }
    }

    /// Remembers how an exec session ended.
    pub(super) fn exec_ended(&mut self, id: &str, exit: Exit) {
        if let Some(state) = self.execs.get_mut(id) {
            state.exit = Some(exit);
            self.ended.push_back(id.to_owned());
        }
        if self.ended.len() > REMEMBERED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.execs.remove(&oldest);
        }
    }

    pub(super) fn wrong_state(&self, verb: &str) -> Failure {
        let status = format!("{:?}", self.status()).to_lowercase();
        let message = format!("cannot {verb} container {}: it is {status}", self.launch.id);
        Failure::says(FailureClass::WrongState, message)
    }

    fn fail(&mut self, failure: Failure) {
        let exit = Exit {
            code: failure.exit_code(),
            signal: None,
            oom_killed: false,
            at: Moment::now().nanoseconds(),
            error: Some(failure.message.clone()),
        };
        self.persist(EXIT, &exit);
        self.oom = None;
        self.life = Life::Failed(failure, exit);
    }

    fn persist_state(&self) {
        self.persist(STATE, &self.state());
    }

    fn persist(&self, name: &str, value: &impl serde::Serialize) {
        // Memory is short if this fails, or the run directory was removed: the daemon is told
        // over its connection all the same.
        drop(persist(&self.launch.run_dir, name, value));
    }
}
