//! Tasks of the engine: tracked, and told to end.
//!
//! **Invariant:** nothing is spawned but through here, so that closing the engine can wait for
//! what it has begun.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::EngineError;

/// How long closing waits for what has been begun.
const CLOSING: Duration = Duration::from_secs(10);

/// The engine's tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    closing: CancellationToken,
}

impl Tasks {
    /// Runs something on its own.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn(task)
    }

    /// Runs something on its own until the engine closes.
    pub(crate) fn spawn_until_closing(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closing = self.closing.clone();
        let _handle = self.tracker.spawn(async move {
            tokio::select! {
                () = closing.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Does something to its end, even if the client that asked for it goes away: a half-done
    /// operation is worse than an unwanted one.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        match self.tracker.spawn(task).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::mechanism("an operation of the engine failed", error)),
        }
    }

    /// Does something that blocks, on a thread for it, to its end.
    pub(crate) async fn block<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        match self.tracker.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => Err(EngineError::mechanism("blocking work of the engine failed", error)),
        }
    }

    /// Is done when the engine begins to close.
    pub(crate) async fn closing(&self) {
        self.closing.cancelled().await;
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.tracker.len()
    }

    /// Tells all to end and waits, not for ever.
    pub(crate) async fn close(&self) {
        self.closing.cancel();
        self.tracker.close();
        if tokio::time::timeout(CLOSING, self.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = self.tracker.len(), "some tasks did not end in time");
        }
    }
}
