//! What happens when a container ends.
//!
//! Those who wait are told first; then the end is written down; only then does the shim go, and
//! with it the run directory. Wherever that is cut off, the next daemon finds either the run
//! directory or the record.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::oneshot;
use wadah_shim::protocol::{Call, Event, Exit};

use super::{
    ask::Waited,
    container::Container,
    shared::Shared,
    view::{Exited, State},
};
use crate::supervisor::{Deadline, Run};

/// The exit code of a container whose supervisor died: its processes were killed.
const DEAD: i32 = 137;

/// How a run ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The shim has told, or written it down.
    Told(Exit),
    /// Nobody knows: the shim is dead, and what is left of the container is killed.
    Dead,
}

impl Shared {
    /// What is done with each event of a shim. It must not wait.
    pub(super) fn on_event(
        self: &Arc<Self>,
        container: &Arc<Container>,
        told: oneshot::Sender<Exit>,
    ) -> impl FnMut(Event) + Send + 'static + use<> {
        let (shared, container) = (Arc::clone(self), Arc::clone(container));
        let mut told = Some(told);
        move |event| match event {
            Event::Exited(exit) => {
                if let Some(told) = told.take() {
                    let _nobody_waits = told.send(exit);
                }
            }
            Event::Oom => shared.tell(&container, "oom", &[]),
            Event::ExecExited { id, exit } => shared.exec_ended(&container, &id, &exit),
            Event::Unknown => {}
        }
    }

    /// Waits for the end of a run, and does what follows from it.
    pub(super) async fn supervise(
        self: Arc<Self>,
        container: Arc<Container>,
        run: Arc<Run>,
        exit: oneshot::Receiver<Exit>,
    ) {
        let ended = tokio::select! {
            biased;
            // An engine that closes leaves its containers running.
            () = self.tasks.closing() => return,
            exit = exit => exit.ok(),
        };
        match ended {
            Some(exit) => self.ended(&container, &run, Ended::Told(exit)).await,
            // The connection broke. The shim may live all the same: it is asked on a new one.
            None => {
                tracing::warn!(id = %container.id(), "the connection to a supervisor broke");
                self.adopt(container, Some(run)).await;
            }
        }
    }

    /// Does everything that follows from the end of a run.
    pub(super) async fn ended(
        self: &Arc<Self>,
        container: &Arc<Container>,
        run: &Arc<Run>,
        ended: Ended,
    ) {
        let is_dead = matches!(ended, Ended::Dead);
        if is_dead {
            self.bury(run).await;
        }
        // Before anyone is told: whoever waited may start another on the same port.
        self.release_network(run).await;
        let exited = exited(container, &ended);
        let again = self.restart_delay(container, &exited);
        let is_removed = container.definition.host.auto_remove && claim_removal(container, &exited);
        if !is_removed {
            publish(container, exited.clone(), is_dead, again.is_some());
        }
        self.tell_end(container, &exited);
        if is_removed {
            self.remove_claimed(container).await;
        } else if let Err(error) = self.write_down(container).await {
            let (id, error) = (container.id(), error.report());
            tracing::error!(%id, error, "the end of a container is not written down");
            // The run directory stays: the next daemon finds the end there.
            container.now().run = None;
            run.cleared.cancel();
            return;
        }
        self.clear_away(run, is_dead, is_removed).await;
        forget_run(container, run);
        run.cleared.cancel();
        if let Some(delay) = again {
            self.start_again(container, delay);
        }
    }

    fn tell_end(&self, container: &Container, exited: &Exited) {
        container.now().waiting.clear();
        let error = Some(exited.error.clone()).filter(|it| !it.is_empty());
        container.tell_ended(Waited { code: exited.code, error });
        self.execs_ended(container);
        let lasted = exited.started_at.map_or(Duration::ZERO, |started| {
            exited.finished_at.duration_since(started).try_into().unwrap_or(Duration::ZERO)
        });
        let facts =
            [("exitCode", exited.code.to_string()), ("execDuration", lasted.as_secs().to_string())];
        self.tell(container, "die", &facts);
    }

    async fn release_network(self: &Arc<Self>, run: &Run) {
        let Some(attachment) = run.attachment.clone() else { return };
        let networks = Arc::clone(&self.networks);
        let released = self.tasks.block(move || {
            networks.release(&attachment);
            Ok(())
        });
        if let Err(error) = released.await {
            tracing::error!(error = error.report(), "a container's network is not released");
        }
    }

    /// Lets the shim go, and what it kept.
    async fn clear_away(self: &Arc<Self>, run: &Run, is_dead: bool, is_removed: bool) {
        if !is_dead {
            match run.connection.call(Call::Shutdown, Deadline::Short).await {
                Ok(_) => run.closed().await,
                // It ends by itself once its container has ended.
                Err(error) => tracing::debug!(%error, "a shim had gone before it was told to"),
            }
        }
        let directory = run.directory.clone();
        let cleared = self.tasks.block(move || {
            directory.bury()?;
            if is_removed { directory.remove() } else { directory.clear() }
        });
        if let Err(error) = cleared.await {
            tracing::warn!(error = error.report(), "a run directory stays");
        }
    }

    /// Kills what a dead shim has left.
    async fn bury(self: &Arc<Self>, run: &Run) {
        let directory = run.directory.clone();
        if let Err(error) = self.tasks.block(move || directory.bury()).await {
            tracing::error!(
                error = error.report(),
                "a container without supervisor is not all gone"
            );
        }
    }
}

/// How a run ended, for people.
fn exited(container: &Container, ended: &Ended) -> Exited {
    let started_at = match &container.now().state {
        State::Running(running) => Some(running.started_at),
        other => other.exited().and_then(|it| it.started_at),
    };
    match ended {
        Ended::Told(exit) => Exited {
            code: exit.code,
            oom_killed: exit.oom_killed,
            error: exit.error.clone().unwrap_or_default(),
            started_at,
            finished_at: Timestamp::from_nanosecond(i128::from(exit.at))
                .unwrap_or_else(|_| Timestamp::now()),
        },
        Ended::Dead => Exited {
            code: DEAD,
            oom_killed: false,
            error: "the container's shim died; its processes were killed".to_owned(),
            started_at,
            finished_at: Timestamp::now(),
        },
    }
}

/// Forgets a run, unless there is a new one.
fn forget_run(container: &Container, run: &Arc<Run>) {
    let mut now = container.now();
    if now.run.as_ref().is_some_and(|it| Arc::ptr_eq(it, run)) {
        now.run = None;
    }
}

/// Marks a container as being removed, unless someone else did.
pub(super) fn claim_removal(container: &Container, exited: &Exited) -> bool {
    let mut now = container.now();
    if matches!(now.state, State::Removing(_)) {
        return false;
    }
    now.state = State::Removing(Some(exited.clone()));
    true
}

fn publish(container: &Container, exited: Exited, is_dead: bool, is_restarting: bool) {
    let mut now = container.now();
    now.state = match now.state {
        State::Removing(_) => State::Removing(Some(exited)),
        _ if is_restarting => State::Restarting(exited),
        _ if is_dead => State::Dead(exited),
        _ => State::Exited(exited),
    };
}
