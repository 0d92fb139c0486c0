//! Removing a container.
//!
//! In this order: nobody finds it any more but by its id; its processes end; its record goes,
//! durably; its directories are renamed away; those who wait are told; what was renamed away is
//! deleted.

use std::sync::Arc;

use wadah_store::remove_tree;

use super::{
    ask::Remove,
    container::Container,
    shared::Shared,
    view::{Exited, Running, State},
};
use crate::{EngineError, record::RecordForm};

impl Shared {
    /// Removes a container because someone asked.
    pub(super) async fn remove(
        self: Arc<Self>,
        container: Arc<Container>,
        remove: Remove,
    ) -> Result<(), EngineError> {
        if remove.link {
            return Err(EngineError::unsupported("removing a link (--link)"));
        }
        let _operation = container.operate("remove").await?;
        let before = claim(&container, remove.force)?;
        let ended = async {
            self.kill_and_wait(&container).await?;
            self.wait_until_cleared(&container).await
        };
        if let Err(error) = ended.await {
            give_up(&container, before);
            return Err(error);
        }
        self.remove_claimed(&container).await;
        Ok(())
    }

    /// Removes a container that has ended and was to be removed then.
    pub(super) async fn remove_ended(self: &Arc<Self>, container: &Arc<Container>) {
        let exited = container.state().exited().cloned();
        let is_claimed = match exited {
            Some(exited) => super::supervise::claim_removal(container, &exited),
            None => claim(container, false).is_ok(),
        };
        if is_claimed {
            self.remove_claimed(container).await;
        }
    }

    /// Removes a container whose state is [`State::Removing`] and whose processes are gone.
    pub(super) async fn remove_claimed(self: &Arc<Self>, container: &Arc<Container>) {
        let (shared, removed) = (Arc::clone(self), Arc::clone(container));
        let taken = self.tasks.block(move || shared.take_away(&removed)).await;
        self.registry.remove(container);
        self.forget_execs(container);
        self.tell(container, "destroy", &[]);
        container.tell_removed();
        match taken {
            Ok(Some(away)) => {
                // Nobody waits for this; the next start sweeps what a crash leaves.
                let shared = Arc::clone(self);
                let _task = self.tasks.spawn(async move {
                    let deleted = shared.tasks.block(move || {
                        remove_tree(&away).map_err(|it| {
                            EngineError::mechanism(format!("cannot delete {}", away.display()), it)
                        })
                    });
                    if let Err(error) = deleted.await {
                        tracing::warn!(error = error.report(), "something is left of a container");
                    }
                });
            }
            Ok(None) => {}
            Err(error) => {
                let id = container.id();
                tracing::error!(%id, error = error.report(), "a container is not removed whole");
            }
        }
    }

    /// Takes away the record and the directories. Blocks.
    fn take_away(&self, container: &Container) -> Result<Option<std::path::PathBuf>, EngineError> {
        let id = container.id();
        let operation = || format!("cannot remove container {id}");
        // While there is a shim, the run directory goes after it.
        let is_over = container.now().run.is_none();
        if is_over {
            self.run_directory(id).remove()?;
        }
        if !container.definition.host.auto_remove {
            let _writing = container.writing();
            let table = self.store.database.table::<RecordForm>();
            table.remove(id.as_str()).map_err(|it| EngineError::mechanism(operation(), it))?;
        }
        let away = self.store.containers.take_away(id);
        away.map_err(|it| EngineError::mechanism(operation(), it))
    }
}

/// It stays, as what it was or has become meanwhile: someone may try again.
fn give_up(container: &Container, before: State) {
    let mut now = container.now();
    now.state = match (&now.state, before) {
        (State::Removing(Some(exited)), State::Running(_)) => State::Exited(exited.clone()),
        (_, before) => before,
    };
}

/// Marks a container as being removed; gives back what it was.
fn claim(container: &Container, force: bool) -> Result<State, EngineError> {
    let mut now = container.now();
    let before = now.state.clone();
    let exited: Option<Exited> = match &before {
        State::Removing(_) => {
            return Err(EngineError::RemovalInProgress { id: container.id().to_string() });
        }
        State::Running(Running { .. }) | State::Restarting(_) if !force => {
            let (name, state) = (now.name.to_string(), before.name());
            return Err(EngineError::RemoveRunning { name, state });
        }
        other => other.exited().cloned(),
    };
    now.state = State::Removing(exited);
    Ok(before)
}
