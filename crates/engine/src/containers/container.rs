//! One container, as the daemon holds it.
//!
//! **Invariant:** [`Container::now`] is only ever locked to copy or to change a few words: no
//! lock is held across a wait, so that looking at a container never waits for it.
//! **Invariant:** whoever changes what a container is (start, stop, remove …) holds its
//! [`Operation`] while doing so.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedMutexGuard, watch};
use wadah_oci::{ContainerId, ContainerName, ExecId};

use super::{
    Running, State,
    ask::{PATIENCE, Waited},
    attach::Waiting,
};
use crate::{
    EngineError,
    images::Hold,
    record::{Definition, End, LastRun, Record},
    supervisor::Run,
};

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    /// What never changes.
    pub(crate) definition: Arc<Definition>,
    operation: Arc<tokio::sync::Mutex<()>>,
    now: Mutex<Now>,
    life: watch::Sender<Life>,
    writing: Mutex<()>,
    /// Keeps what it stands on.
    _layers: Hold,
}

/// What changes about a container.
#[derive(Debug)]
pub(crate) struct Now {
    /// What it is called.
    pub(crate) name: ContainerName,
    /// Where it is in its life.
    pub(crate) state: State,
    /// Its supervision, while it runs.
    pub(crate) run: Option<Arc<Run>>,
    /// Whether someone stopped it.
    pub(crate) stopped: bool,
    /// How often its restart policy has started it.
    pub(crate) restarts: u32,
    /// How often in a row it has ended soon after its start.
    pub(crate) failures: u32,
    /// Its exec sessions.
    pub(crate) execs: Vec<ExecId>,
    /// Clients that attached before it was started.
    pub(crate) waiting: Vec<Waiting>,
}

/// What those who wait for a container look at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life {
    /// Whether it runs.
    pub(crate) running: bool,
    /// How often it has ended, as far as this daemon saw.
    pub(crate) ends: u64,
    /// Whether it is removed.
    pub(crate) removed: bool,
    /// How it ended the last time.
    pub(crate) last: Option<Waited>,
}

/// The right to change what a container is.
#[derive(Debug)]
#[must_use = "the container is free again when this is dropped"]
pub(crate) struct Operation {
    _guard: OwnedMutexGuard<()>,
}

impl Container {
    /// A container as its record has it, not running.
    pub(crate) fn new(record: Record, layers: Hold) -> Self {
        let state = match (record.running_since, record.last) {
            // Until recovery has found out, it is what it was written down as; it has no pid.
            (Some(started_at), _) => State::Running(Running { pid: 0, started_at, paused: false }),
            (None, None) => State::Created,
            (None, Some(LastRun { end: End::Exited, exited })) => State::Exited(exited),
            (None, Some(LastRun { end: End::Failed, exited })) => State::Failed(exited),
            (None, Some(LastRun { end: End::Dead, exited })) => State::Dead(exited),
        };
        let last = state.exited().map(|it| Waited { code: it.code, error: None });
        Self {
            definition: record.definition,
            operation: Arc::default(),
            now: Mutex::new(Now {
                name: record.name,
                state,
                run: None,
                stopped: record.stopped,
                restarts: record.restarts,
                failures: 0,
                execs: Vec::new(),
                waiting: Vec::new(),
            }),
            life: watch::Sender::new(Life { last, ..Life::default() }),
            writing: Mutex::default(),
            _layers: layers,
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &ContainerId {
        &self.definition.id
    }

    /// Looks at, or changes, what changes. Never hold it across a wait.
    pub(crate) fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its state at this moment.
    pub(crate) fn state(&self) -> State {
        self.now().state.clone()
    }

    /// What it is called.
    pub(crate) fn name(&self) -> ContainerName {
        self.now().name.clone()
    }

    /// Its supervision, if it runs.
    pub(crate) fn run(&self) -> Result<Arc<Run>, EngineError> {
        let not_running = || EngineError::NotRunning { id: self.id().to_string() };
        self.now().run.clone().ok_or_else(not_running)
    }

    /// Waits for the operation before this one to end.
    pub(crate) async fn operate(&self, operation: &'static str) -> Result<Operation, EngineError> {
        self.operate_within(operation, PATIENCE).await
    }

    /// Likewise, for at most `patience`.
    pub(crate) async fn operate_within(
        &self,
        operation: &'static str,
        patience: Duration,
    ) -> Result<Operation, EngineError> {
        let lock = Arc::clone(&self.operation).lock_owned();
        match tokio::time::timeout(patience, lock).await {
            Ok(guard) => Ok(Operation { _guard: guard }),
            Err(_) => Err(EngineError::Busy {
                id: self.id().to_string(),
                operation,
                seconds: patience.as_secs(),
            }),
        }
    }

    /// What those who wait look at.
    pub(crate) fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    /// Tells those who wait that it runs.
    pub(crate) fn tell_running(&self) {
        self.life.send_modify(|life| life.running = true);
    }

    /// Tells those who wait that it ended.
    pub(crate) fn tell_ended(&self, waited: Waited) {
        self.life.send_modify(|life| {
            life.running = false;
            life.ends += 1;
            life.last = Some(waited);
        });
    }

    /// Tells those who wait that it is removed.
    pub(crate) fn tell_removed(&self) {
        self.life.send_modify(|life| life.removed = true);
    }

    /// Held by whoever takes a record and writes it, so that an older one never follows.
    pub(crate) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be written down about it.
    pub(crate) fn record(&self) -> Record {
        let now = self.now();
        let last = now.state.exited().map(|exited| LastRun {
            exited: exited.clone(),
            end: match now.state {
                State::Dead(_) => End::Dead,
                State::Failed(_) => End::Failed,
                _ => End::Exited,
            },
        });
        let running_since = match &now.state {
            State::Running(running) => Some(running.started_at),
            _ => None,
        };
        Record {
            definition: Arc::clone(&self.definition),
            name: now.name.clone(),
            last,
            running_since,
            stopped: now.stopped,
            restarts: now.restarts,
        }
    }
}
