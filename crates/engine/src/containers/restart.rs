//! Restart policies: starting again what ended.
//!
//! The pause before doubles from 100 ms up to a minute, and begins anew after ten seconds up:
//! Docker's numbers.

use std::{sync::Arc, time::Duration};

use super::{
    container::Container,
    shared::Shared,
    view::{Exited, State},
};
use crate::config::RestartPolicy;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);

/// A container that was up for so long is taken to have worked.
const WORKED: Duration = Duration::from_secs(10);

impl Shared {
    /// After which pause a container that ended so is to be started again, if it is.
    pub(super) fn restart_delay(&self, container: &Container, exited: &Exited) -> Option<Duration> {
        let policy = container.definition.host.restart_policy;
        let mut now = container.now();
        if now.stopped || matches!(now.state, State::Removing(_)) || policy == RestartPolicy::No {
            return None;
        }
        let up = exited.started_at.map(|it| exited.finished_at.duration_since(it));
        let has_worked =
            up.and_then(|it| it.try_into().ok()).is_some_and(|up: Duration| up >= WORKED);
        let in_a_row = if has_worked { 0 } else { now.failures };
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { maximum } => {
                exited.code != 0 && (maximum == 0 || now.restarts < maximum)
            }
        };
        if !again {
            return None;
        }
        now.failures = in_a_row + 1;
        now.restarts += 1;
        Some(delay(in_a_row))
    }

    /// Starts a container again after a pause, unless someone does something else with it.
    pub(super) fn start_again(self: &Arc<Self>, container: &Arc<Container>, delay: Duration) {
        let (shared, container) = (Arc::clone(self), Arc::clone(container));
        self.tasks.spawn_until_closing(async move {
            tokio::time::sleep(delay).await;
            let Ok(operation) = container.operate("restart").await else { return };
            if !matches!(container.state(), State::Restarting(_)) {
                return;
            }
            let id = container.id().clone();
            let started = shared
                .finish(|shared| async move { shared.start_held(&container, &operation).await });
            if let Err(error) = started.await {
                tracing::warn!(%id, error = error.report(), "a container was not started again");
            }
        });
    }
}

fn delay(failures_in_a_row: u32) -> Duration {
    FIRST.saturating_mul(1 << failures_in_a_row.min(16)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let millis: Vec<_> = (0..12).map(|it| delay(it).as_millis()).collect();
        assert_eq!(millis[..4], [100, 200, 400, 800]);
        assert_eq!(millis[10..], [60_000, 60_000]);
    }
}
