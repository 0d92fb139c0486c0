//! Waiting for a container.

use std::future::Future;

use super::{
    ask::{WaitCondition, Waited},
    container::{Container, Life},
};
use crate::EngineError;

/// Begins to wait; nothing that happens after this is missed.
pub(super) fn wait(
    container: &Container,
    condition: WaitCondition,
) -> impl Future<Output = Result<Waited, EngineError>> + Send + 'static + use<> {
    let mut life = container.life();
    let before = life.borrow_and_update().ends;
    async move {
        let holds = move |life: &Life| match condition {
            WaitCondition::NotRunning => !life.running,
            WaitCondition::NextExit => life.ends > before || life.removed,
            WaitCondition::Removed => life.removed,
        };
        // The sender lives in the container: it goes with it, after the removal was told.
        let life = life.wait_for(holds).await.map_err(|_| EngineError::ShuttingDown)?;
        Ok(life.last.clone().unwrap_or(Waited { code: 0, error: None }))
    }
}
