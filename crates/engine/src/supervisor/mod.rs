//! Supervision: the daemon's side of a shim.
//!
//! Each running container has a [`Run`]: its run directory and one [`Connection`] to its shim.
//! Clients' streams have connections of their own ([`streams`]).
//!
//! **Invariant:** a shim that is stopped, slow or dead delays only its own container: every call
//! has a deadline, and a connection that breaks is an answer.

mod connection;
pub(crate) mod directory;
pub(crate) mod streams;

pub(crate) use connection::{CallError, Connection, Deadline};
pub(crate) use directory::RunDirectory;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd, RawFd},
    sync::Arc,
    time::Duration,
};

use tokio::{io::unix::AsyncFd, time::timeout};
use tokio_util::sync::CancellationToken;
use wadah_shim::{launch::Child, protocol::Call};

use crate::{networks::Attachment, tasks::Tasks};

/// A run of a container, from its start to its end.
#[derive(Debug)]
pub(crate) struct Run {
    /// Where the shim's socket and state are.
    pub(crate) directory: RunDirectory,
    /// To the shim.
    pub(crate) connection: Connection,
    /// How it is connected to networks.
    pub(crate) attachment: Option<Arc<Attachment>>,
    /// Is cancelled when nothing is left of the run.
    pub(crate) cleared: CancellationToken,
}

/// How long a shim may take to go.
const GOING: Duration = Duration::from_secs(10);

impl Run {
    /// Sends a signal to the container's init, or to one exec session.
    pub(crate) async fn signal(&self, signal: i32, all: bool) -> Result<(), CallError> {
        self.connection.call(Call::Signal { exec: None, signal, all }, Deadline::Short).await?;
        Ok(())
    }

    /// Waits until the shim has gone, not for ever.
    pub(crate) async fn closed(&self) {
        if timeout(GOING, self.connection.closed()).await.is_err() {
            tracing::warn!(directory = %self.directory.path().display(), "a shim does not go");
        }
    }
}

/// A shim's process, as the reactor wants it.
#[derive(Debug)]
struct Reaped(Child);

impl AsRawFd for Reaped {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Reaps a shim when it ends. One that outlives this daemon is another's to reap.
pub(crate) fn reap(process: Child, tasks: &Tasks) -> io::Result<()> {
    #[allow(
        deprecated,
        reason = "the descriptor is owned and never changes; its successor is unsafe"
    )]
    let ended = AsyncFd::new(Reaped(process))?;
    tasks.spawn_until_closing(async move {
        if let Err(error) = ended.readable().await.map(drop) {
            tracing::warn!(%error, "a shim cannot be watched");
        }
        if let Err(error) = ended.get_ref().0.try_reap() {
            tracing::warn!(%error, "a shim cannot be reaped");
        }
    });
    Ok(())
}
