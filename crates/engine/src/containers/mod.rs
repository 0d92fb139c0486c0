//! Containers.
//!
//! **Invariant:** there is no lock over all containers that an operation holds while it waits.
//! Each container serialises its own operations; a listing reads what each has published last.

mod ask;
mod view;

pub use ask::{Attach, Create, Created, ListQuery, LogQuery, Remove, Stop, WaitCondition, Waited};
pub use view::{
    EndpointView, Exited, MountPoint, NetworkView, PortSummary, RootfsView, Running, Size,
    Snapshot, State, Summary, Top,
};

use std::{future::Future, sync::Arc};

use tokio::sync::mpsc;

use crate::{
    EngineError,
    stream::{Attached, Chunk},
};

/// All containers.
///
/// A `reference` is an id, a prefix of one that fits no other, or a name with or without its
/// leading slash.
#[derive(Debug)]
pub struct Containers {}

impl Containers {
    /// Creates a container; durable when this returns, unless it is removed when it ends.
    pub async fn create(&self, create: Create) -> Result<Created, EngineError> {
        Err(EngineError::unsupported(format!("create of {}", create.config.image)))
    }

    /// Lists containers, the newest first.
    pub async fn list(&self, query: &ListQuery) -> Result<Vec<Summary>, EngineError> {
        query.filters.check(&[])?;
        Ok(Vec::new())
    }

    /// Tells everything about a container; with the space it uses, if `size`.
    pub async fn inspect(&self, reference: &str, size: bool) -> Result<Snapshot, EngineError> {
        let _ = size;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Starts a container; returns when its executable runs.
    pub async fn start(&self, reference: &str) -> Result<(), EngineError> {
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Stops a container: a signal, patience, `SIGKILL`.
    pub async fn stop(&self, reference: &str, stop: &Stop) -> Result<(), EngineError> {
        let _ = stop;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Stops a container if it runs, and starts it.
    pub async fn restart(&self, reference: &str, stop: &Stop) -> Result<(), EngineError> {
        let _ = stop;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Sends a signal, `SIGKILL` if absent.
    pub async fn kill(&self, reference: &str, signal: Option<&str>) -> Result<(), EngineError> {
        let _ = signal;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Freezes a container.
    pub async fn pause(&self, reference: &str) -> Result<(), EngineError> {
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Thaws a container.
    pub async fn unpause(&self, reference: &str) -> Result<(), EngineError> {
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Begins to wait. When this returns, nothing that happens later is missed; what it returns
    /// is done when the condition holds.
    pub async fn wait(
        &self,
        reference: &str,
        condition: WaitCondition,
    ) -> Result<impl Future<Output = Result<Waited, EngineError>> + Send + 'static, EngineError>
    {
        let _ = condition;
        if reference.is_empty() {
            return Ok(async { Err(EngineError::ShuttingDown) });
        }
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Connects to a container's streams: now, or from its first byte if it is started later.
    pub async fn attach(&self, reference: &str, attach: Attach) -> Result<Attached, EngineError> {
        let _ = attach;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Sets the terminal's size.
    pub async fn resize(
        &self,
        reference: &str,
        rows: u16,
        columns: u16,
    ) -> Result<(), EngineError> {
        let _ = (rows, columns);
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Reads a log. Each chunk is one entry, as it was written, or as the query decorates it.
    /// The second value tells whether the container has a terminal.
    pub async fn logs(
        &self,
        reference: &str,
        query: LogQuery,
    ) -> Result<(mpsc::Receiver<Chunk>, bool), EngineError> {
        let _ = query;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Lists the processes, as ps(1) with `arguments` (by default `-ef`) would.
    pub async fn top(&self, reference: &str, arguments: &str) -> Result<Top, EngineError> {
        let _ = arguments;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Gives a container another name.
    pub async fn rename(&self, reference: &str, name: &str) -> Result<(), EngineError> {
        let _ = name;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Removes a container and everything that is only its own.
    pub async fn remove(&self, reference: &str, remove: Remove) -> Result<(), EngineError> {
        let _ = remove;
        Err(EngineError::NoSuchContainer { reference: reference.to_owned() })
    }

    /// Counts containers by state: running, paused, stopped.
    pub fn count(&self) -> Count {
        Count::default()
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

/// Shared by the parts that need them.
pub(crate) type Shared = Arc<Containers>;
