//! Containers.
//!
//! **Invariant:** there is no lock over all containers that an operation holds while it waits.
//! Each container serialises its own operations; a listing reads what each has published last.
//! **Invariant:** an operation that was begun is finished, whether or not the client that asked
//! for it is still there.

mod ask;
mod attach;
mod container;
mod create;
mod files;
mod launch;
mod list;
mod log_options;
mod logs;
mod names;
mod recover;
mod registry;
mod remove;
mod restart;
mod shared;
mod show;
mod start;
mod status;
mod stop;
mod supervise;
mod top;
mod validate;
mod view;
mod wait;

pub use ask::{Attach, Create, Created, ListQuery, LogQuery, Remove, Stop, WaitCondition, Waited};
pub use view::{
    EndpointView, Exited, MountPoint, NetworkView, PortSummary, RootfsView, Running, Size,
    Snapshot, State, Summary, Top,
};

pub(crate) use container::Container;
pub(crate) use launch::Users;
pub(crate) use names::random;
pub(crate) use registry::Registry;
pub(crate) use shared::Shared;
pub(crate) use start::hostname;

use std::{future::Future, sync::Arc};

use tokio::sync::mpsc;
use wadah_oci::Digest;
use wadah_shim::protocol::Call;

use crate::{
    EngineError,
    images::ImageUse,
    stream::{Attached, Chunk},
    supervisor::Deadline,
};

/// All containers.
///
/// A `reference` is an id, a prefix of one that fits no other, or a name with or without its
/// leading slash.
#[derive(Debug)]
pub struct Containers {
    shared: Arc<Shared>,
}

impl Containers {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn find(&self, reference: &str) -> Result<Arc<Container>, EngineError> {
        self.shared.registry.find(reference)
    }

    /// Creates a container; durable when this returns, unless it is removed when it ends.
    pub async fn create(&self, create: Create) -> Result<Created, EngineError> {
        self.shared.finish(|shared| shared.create(create)).await
    }

    /// Lists containers, the newest first.
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<Summary>, EngineError> {
        let mut all = self.shared.list(query)?;
        if query.size {
            for summary in &mut all {
                let container = self.shared.registry.get(&summary.id);
                if let Some(container) = container {
                    summary.size = Some(self.shared.size(&container).await?);
                }
            }
        }
        Ok(all)
    }

    /// Tells everything about a container; with the space it uses, if `size`.
    pub async fn inspect(&self, reference: &str, size: bool) -> Result<Snapshot, EngineError> {
        let container = self.find(reference)?;
        let mut snapshot = self.shared.snapshot(&container);
        if size {
            snapshot.size = Some(self.shared.size(&container).await?);
        }
        Ok(snapshot)
    }

    /// Starts a container; returns when its executable runs.
    pub async fn start(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        self.shared.finish(|shared| shared.start(container)).await
    }

    /// Stops a container: a signal, patience, `SIGKILL`.
    pub async fn stop(&self, reference: &str, stop: &Stop) -> Result<(), EngineError> {
        let (container, stop) = (self.find(reference)?, stop.clone());
        self.shared.finish(|shared| shared.stop(container, stop)).await
    }

    /// Stops a container if it runs, and starts it.
    pub async fn restart(&self, reference: &str, stop: &Stop) -> Result<(), EngineError> {
        let (container, stop) = (self.find(reference)?, stop.clone());
        self.shared.finish(|shared| shared.restart(container, stop)).await
    }

    /// Sends a signal, `SIGKILL` if absent.
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<(), EngineError> {
        let (container, signal) = (self.find(reference)?, signal.map(str::to_owned));
        self.shared.finish(|shared| shared.kill(container, signal)).await
    }

    /// Freezes a container.
    pub async fn pause(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        self.shared.finish(|shared| shared.set_frozen(container, true)).await
    }

    /// Thaws a container.
    pub async fn unpause(&self, reference: &str) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        self.shared.finish(|shared| shared.set_frozen(container, false)).await
    }

    /// Begins to wait. When this returns, nothing that happens later is missed; what it returns
    /// is done when the condition holds.
    pub async fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Result<Waited, EngineError>> + Send + 'static, EngineError>
    {
        let container = self.find(reference)?;
        Ok(wait::wait(&container, condition))
    }

    /// Connects to a container's streams: now, or from its first byte if it is started later.
    pub async fn attach(&self, reference: &str, attach: Attach) -> Result<Attached, EngineError> {
        let container = self.find(reference)?;
        self.shared.finish(|shared| shared.attach(container, attach)).await
    }

    /// Sets the terminal's size.
    pub async fn resize(
        &self,
        reference: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        let run = container.run()?;
        let call = Call::Resize { exec: None, rows, columns };
        let resized = run.connection.call(call, Deadline::Short).await;
        let _done = resized.map_err(|it| it.about("resize", container.id().as_str()))?;
        let size = [("height", rows.to_string()), ("width", columns.to_string())];
        self.shared.tell(&container, "resize", &size);
        Ok(())
    }

    /// Reads a log. Each chunk is one entry, as it was written, or as the query decorates it.
    /// The second value tells whether the container has a terminal.
    pub async fn logs(
        &self,
        reference: &str,
        query: LogQuery,
    ) -> Result<(mpsc::Receiver<Chunk>, bool), EngineError> {
        let container = self.find(reference)?;
        let tty = container.definition.config.tty;
        Ok((self.shared.logs(&container, query)?, tty))
    }

    /// Lists the processes, as ps(1) with `arguments` (by default `-ef`) would.
    pub async fn top(&self, reference: &str, arguments: &str) -> Result<Top, EngineError> {
        let container = self.find(reference)?;
        self.shared.top(&container, arguments).await
    }

    /// Gives a container another name.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        let (container, name) = (self.find(reference)?, name.to_owned());
        self.shared.finish(|shared| shared.rename(container, name)).await
    }

    /// Removes a container and everything that is only its own.
    pub async fn remove(&self, reference: &str, remove: Remove) -> Result<(), EngineError> {
        let container = self.find(reference)?;
        self.shared.finish(|shared| shared.remove(container, remove)).await
    }

    /// Tells watchers that a client has detached, leaving the container running.
    pub fn detached(&self, reference: &str) {
        if let Ok(container) = self.find(reference) {
            self.shared.tell(&container, "detach", &[]);
        }
    }

    /// The container that uses an image, a running one first.
    pub fn image_use(&self, image: &Digest) -> Option<ImageUse> {
        let users = self.shared.registry.all();
        let of_image = users.iter().filter(|it| it.definition.image == *image);
        let user = |it: &Arc<Container>| ImageUse {
            container: it.id().to_string(),
            running: it.state().is_running(),
        };
        of_image.map(user).max_by_key(|it| it.running)
    }

    /// Counts containers by state: running, paused, stopped.
    pub fn count(&self) -> Count {
        self.shared.count()
    }
}

/// How many containers there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Running ones.
    pub running: usize,
    /// Frozen ones.
    pub paused: usize,
    /// All others.
    pub stopped: usize,
}
