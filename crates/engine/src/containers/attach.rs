//! Attaching: a client's connection to a container's streams.
//!
//! A client may attach before the container is started (Docker's does): it waits in the
//! container, and gets its connection to the shim before the gate is opened, so that it sees the
//! first byte.

use std::sync::Arc;

use tokio::sync::mpsc;
use wadah_shim::protocol::Call;

use super::{
    ask::{Attach, LogQuery},
    container::Container,
    shared::Shared,
    stop::is_paused,
    view::State,
};
use crate::{
    EngineError,
    stream::{Attached, Input, QUEUE},
    supervisor::{
        Run,
        streams::{Client, Streams},
    },
};

/// How many clients may wait for a container's start.
const WAITING: usize = 64;

/// A client that attached before the container was started.
#[derive(Debug)]
pub(crate) struct Waiting {
    attach: Attach,
    client: Client,
}

impl Shared {
    /// Attaches a client.
    pub(super) async fn attach(
        self: Arc<Self>,
        container: Arc<Container>,
        attach: Attach,
    ) -> Result<Attached, EngineError> {
        if is_paused(&container) {
            let id = container.id().to_string();
            return Err(EngineError::Paused { id, operation: "attach" });
        }
        let config = &container.definition.config;
        let (tty, has_stdin) = (config.tty, config.open_stdin && attach.stdin && attach.stream);
        let (to_client, output) = mpsc::channel(QUEUE);
        let (input, from_client) = if has_stdin {
            let (sender, receiver) = mpsc::channel(QUEUE);
            (Some(Input { sender }), Some(receiver))
        } else {
            (None, None)
        };
        self.tell(&container, "attach", &[]);
        let attached = Attached { input, output, tty };
        let client = Client { input: from_client, output: to_client };
        if attach.logs {
            let shared = Arc::clone(&self);
            self.tasks.spawn_until_closing(async move {
                shared.replay(&container, attach, &client).await;
                if attach.stream
                    && let Err(error) = shared.attach_stream(&container, attach, client).await
                {
                    tracing::debug!(error = error.report(), "nothing to attach to after the log");
                }
            });
        } else if attach.stream {
            self.attach_stream(&container, attach, client).await?;
        }
        Ok(attached)
    }

    async fn attach_stream(
        &self,
        container: &Container,
        attach: Attach,
        client: Client,
    ) -> Result<(), EngineError> {
        let run = {
            let mut now = container.now();
            match (&now.state, now.run.clone()) {
                (State::Running(_), Some(run)) => run,
                (State::Removing(_), _) => {
                    let id = container.id().to_string();
                    return Err(EngineError::MarkedForRemoval { id, operation: "attached to" });
                }
                _ => {
                    now.waiting.retain(|it| !it.client.output.is_closed());
                    if now.waiting.len() == WAITING {
                        let id = container.id().to_string();
                        return Err(EngineError::TooManyAttached { id, limit: WAITING });
                    }
                    now.waiting.push(Waiting { attach, client });
                    return Ok(());
                }
            }
        };
        self.carry(&run, attach, client).await.map_err(|error| {
            EngineError::mechanism(format!("cannot attach to container {}", container.id()), error)
        })
    }

    async fn carry(
        &self,
        run: &Run,
        attach: Attach,
        client: Client,
    ) -> Result<(), crate::supervisor::CallError> {
        let call = Call::Attach {
            exec: None,
            stdin: client.input.is_some(),
            stdout: attach.stdout,
            stderr: attach.stderr,
        };
        let streams = Streams::open(&run.directory, call).await?;
        streams.carry(client, &self.tasks, |_| {});
        Ok(())
    }

    /// Gives those who wait their connections. One that fails is that client's misfortune.
    pub(super) async fn attach_waiting(&self, container: &Container, run: &Run) {
        let waiting = std::mem::take(&mut container.now().waiting);
        for Waiting { attach, client } in waiting {
            if client.output.is_closed() {
                continue;
            }
            if let Err(error) = self.carry(run, attach, client).await {
                tracing::warn!(id = %container.id(), %error, "a client was not attached");
            }
        }
    }

    /// Gives a client what was logged so far.
    async fn replay(self: &Arc<Self>, container: &Arc<Container>, attach: Attach, client: &Client) {
        let query =
            LogQuery { stdout: attach.stdout, stderr: attach.stderr, ..LogQuery::default() };
        let Ok(mut entries) = self.logs(container, query) else { return };
        while let Some(entry) = entries.recv().await {
            if client.output.send(entry).await.is_err() {
                return;
            }
        }
    }
}
