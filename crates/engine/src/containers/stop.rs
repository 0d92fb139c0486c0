//! Stopping, killing, restarting, freezing.
//!
//! **Invariant:** a kill waits for no other operation: it must reach a container that someone is
//! patiently stopping.

use std::{sync::Arc, time::Duration};

use wadah_shim::protocol::{Call, FailureClass};

use super::{
    ask::Stop,
    container::{Container, Operation},
    shared::Shared,
    view::{Running, State},
};
use crate::{
    EngineError, signal,
    supervisor::{CallError, Deadline, Run},
};

/// Seconds between the stop signal and `SIGKILL`.
const PATIENCE: i64 = 10;

/// How long the end of a killed container may take.
const DEATH: Duration = Duration::from_secs(30);

/// How long the news of an end may take, when a call has come too late for it.
const OVER: Duration = Duration::from_secs(2);

/// How long an operation waits for a stop that is under way: longer than most are patient.
const STOPPING: Duration = Duration::from_secs(120);

impl Shared {
    /// Stops a container.
    pub(super) async fn stop(
        self: Arc<Self>,
        container: Arc<Container>,
        stop: Stop,
    ) -> Result<(), EngineError> {
        let operation = container.operate_within("stop", STOPPING).await?;
        self.stop_held(&container, &stop, &operation).await
    }

    /// Likewise, for one who already holds the right to.
    pub(super) async fn stop_held(
        self: &Arc<Self>,
        container: &Arc<Container>,
        stop: &Stop,
        _operation: &Operation,
    ) -> Result<(), EngineError> {
        let signal = match stop.signal.as_deref().filter(|it| !it.is_empty()) {
            Some(name) => signal::parse(name)?,
            None => stop_signal(container),
        };
        let asked = stop.timeout.or(container.definition.config.stop_timeout);
        let Some(run) = self.begin_stop(container)? else {
            return self.write_down(container).await;
        };
        self.send(container, &run, signal).await?;
        let patience = u64::try_from(asked.unwrap_or(PATIENCE)).ok().map(Duration::from_secs);
        if !self.wait_for_end(container, patience).await {
            tracing::info!(id = %container.id(), signal, "a container did not stop: it is killed");
            self.send(container, &run, signal::KILL).await?;
            self.await_death(container).await?;
        }
        self.tell(container, "stop", &[]);
        Ok(())
    }

    /// Notes that someone wants it stopped. Nothing is left to do for a container between two
    /// starts of its restart policy.
    fn begin_stop(&self, container: &Container) -> Result<Option<Arc<Run>>, EngineError> {
        let mut now = container.now();
        match now.state.clone() {
            State::Running(_) => {
                now.stopped = true;
                Ok(now.run.clone())
            }
            State::Restarting(exited) => {
                now.stopped = true;
                now.state = State::Exited(exited);
                Ok(None)
            }
            _ => Err(EngineError::AlreadyStopped { id: container.id().to_string() }),
        }
    }

    /// Sends a signal to the init; a frozen container is thawed so that it can act on it.
    async fn send(&self, container: &Container, run: &Run, signal: i32) -> Result<(), EngineError> {
        self.tell(container, "kill", &[("signal", signal.to_string())]);
        let is_paused = is_paused(container);
        match run.signal(signal, false).await {
            Ok(()) => {}
            Err(error) if is_over(&error) && self.wait_for_end(container, Some(OVER)).await => {
                return Ok(());
            }
            Err(error) => return Err(error.about("signal", container.id().as_str())),
        }
        if is_paused {
            self.thaw(container, run).await?;
        }
        Ok(())
    }

    async fn thaw(&self, container: &Container, run: &Run) -> Result<(), EngineError> {
        match run.connection.call(Call::Resume, Deadline::Short).await {
            Ok(_) => set_paused(container, false),
            Err(error) if is_over(&error) => {}
            Err(error) => return Err(error.about("thaw", container.id().as_str())),
        }
        Ok(())
    }

    /// Whether it ended within `patience`; for ever if there is none.
    async fn wait_for_end(&self, container: &Container, patience: Option<Duration>) -> bool {
        let mut life = container.life();
        let ended = life.wait_for(|it| !it.running);
        match patience {
            None => ended.await.is_ok(),
            Some(patience) => tokio::time::timeout(patience, ended).await.is_ok(),
        }
    }

    pub(super) async fn await_death(&self, container: &Container) -> Result<(), EngineError> {
        if self.wait_for_end(container, Some(DEATH)).await {
            return Ok(());
        }
        let (id, seconds) = (container.id().to_string(), DEATH.as_secs());
        Err(EngineError::Deadline { operation: "killing", id, seconds })
    }

    /// Kills a container that runs and waits for its end.
    pub(super) async fn kill_and_wait(&self, container: &Container) -> Result<(), EngineError> {
        let run = {
            let mut now = container.now();
            now.stopped = true;
            now.run.clone()
        };
        if let Some(run) = run.filter(|_| container.life().borrow().running) {
            self.send(container, &run, signal::KILL).await?;
            self.await_death(container).await?;
        }
        Ok(())
    }

    /// Sends a signal.
    pub(super) async fn kill(
        self: Arc<Self>,
        container: Arc<Container>,
        name: Option<String>,
    ) -> Result<(), EngineError> {
        let number = match name.as_deref().filter(|it| !it.is_empty()) {
            Some(name) => signal::parse(name)?,
            None => signal::KILL,
        };
        if !container.state().is_running() {
            // It may be about to: its output can be seen before its start is answered.
            let _operation = container.operate("kill").await?;
        }
        let run = {
            let mut now = container.now();
            if !now.state.is_running() {
                return Err(EngineError::NotRunning { id: container.id().to_string() });
            }
            // What is meant to end it is not undone by a restart policy.
            if number == signal::KILL || number == stop_signal(&container) {
                now.stopped = true;
            }
            now.run.clone()
        };
        let Some(run) = run else { return Ok(()) };
        self.send(&container, &run, number).await?;
        if number == signal::KILL {
            // As in Docker, a kill has happened when it is answered, unless it takes too long.
            self.wait_for_end(&container, Some(Duration::from_secs(2))).await;
        }
        Ok(())
    }

    /// Stops a container if it runs, and starts it.
    pub(super) async fn restart(
        self: Arc<Self>,
        container: Arc<Container>,
        stop: Stop,
    ) -> Result<(), EngineError> {
        let operation = container.operate_within("restart", STOPPING).await?;
        let is_removed = container.definition.host.auto_remove;
        if is_removed && container.state().is_running() {
            return Err(EngineError::unsupported(
                "restarting a container that is removed when it ends (--rm)",
            ));
        }
        match self.stop_held(&container, &stop, &operation).await {
            Ok(()) | Err(EngineError::AlreadyStopped { .. }) => {}
            Err(error) => return Err(error),
        }
        self.start_held(&container, &operation).await?;
        self.tell(&container, "restart", &[]);
        Ok(())
    }

    /// Freezes a container, or thaws it.
    pub(super) async fn set_frozen(
        self: Arc<Self>,
        container: Arc<Container>,
        freeze: bool,
    ) -> Result<(), EngineError> {
        let _operation = container.operate(if freeze { "pause" } else { "unpause" }).await?;
        let run = container.run()?;
        let id = container.id().to_string();
        match (container.state(), freeze) {
            (State::Running(Running { paused: true, .. }), true) => {
                return Err(EngineError::AlreadyPaused { id });
            }
            (State::Running(Running { paused: false, .. }), false) => {
                return Err(EngineError::NotPaused { id });
            }
            (State::Running(_), _) => {}
            _ => return Err(EngineError::NotRunning { id }),
        }
        let call = if freeze { Call::Pause } else { Call::Resume };
        let done = run.connection.call(call, Deadline::Short).await;
        done.map_err(|it| it.about(if freeze { "pause" } else { "unpause" }, &id))?;
        set_paused(&container, freeze);
        self.tell(&container, if freeze { "pause" } else { "unpause" }, &[]);
        Ok(())
    }
}

fn stop_signal(container: &Container) -> i32 {
    let name = container.definition.config.stop_signal.as_deref();
    // An image may name a signal that there is not: the usual one is sent then.
    name.and_then(|it| signal::parse(it).ok()).unwrap_or(signal::TERM)
}

pub(super) fn is_paused(container: &Container) -> bool {
    matches!(container.now().state, State::Running(Running { paused: true, .. }))
}

fn set_paused(container: &Container, is_paused: bool) {
    if let State::Running(running) = &mut container.now().state {
        running.paused = is_paused;
    }
}

/// Whether a call came too late for a container that has ended, which is what was wanted.
fn is_over(error: &CallError) -> bool {
    matches!(error, CallError::Gone)
        || matches!(error.failure(), Some(FailureClass::WrongState | FailureClass::NotFound))
}
