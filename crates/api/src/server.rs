//! Listening sockets, and the connections that come in by them.
//!
//! **Invariant:** every connection is a task of the server's: when [`Server::run`] returns, there
//! is none left.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, UnixListener},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use wadah_engine::Engine;

use crate::{connection, dispatch::Dispatcher, transport::Transport};

/// How long requests may still take when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// How long accepting pauses when descriptors have run out.
const RESPITE: Duration = Duration::from_millis(100);

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// A unix socket.
    Unix(UnixListener),
    /// A TCP socket.
    Tcp(TcpListener),
}

/// The API of one engine.
#[derive(Debug)]
pub struct Server {
    dispatcher: Arc<Dispatcher>,
}

/// How much is being asked of a server.
#[derive(Debug, Clone)]
pub struct Activity {
    requests: Arc<AtomicU64>,
}

impl Activity {
    /// How many requests there were so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Server {
    /// Serves `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { dispatcher: Arc::new(Dispatcher::new(engine)) }
    }

    /// A way to see, from elsewhere, how much is being asked.
    pub fn activity(&self) -> Activity {
        Activity { requests: self.dispatcher.requests() }
    }

    /// Serves until `stop` is cancelled; then lets requests finish, for a moment, and hangs up.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) {
        let mut accepting = JoinSet::new();
        for listener in listeners {
            let dispatcher = Arc::clone(&self.dispatcher);
            accepting.spawn(accept_all(listener, dispatcher, stop.clone()));
        }
        while accepting.join_next().await.is_some() {}
        let finished = timeout(GRACE, self.dispatcher.finish()).await;
        if finished.is_err() {
            tracing::warn!("stopped while requests were being handled");
        }
    }
}

async fn accept_all(listener: Listener, dispatcher: Arc<Dispatcher>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_ended) = connections.join_next() => continue,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok(transport) => {
                let dispatcher = Arc::clone(&dispatcher);
                connections.spawn(connection::serve(transport, dispatcher, stop.clone()));
            }
            Err(error) => {
                // The connection that could not be accepted is still there: without a pause this
                // would spin until a descriptor is free.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(RESPITE).await;
            }
        }
    }
    // Connections in the middle of a request end by themselves; streams without end do not.
    let quiet = async { while connections.join_next().await.is_some() {} };
    let _in_time = timeout(GRACE / 4, quiet).await;
    connections.shutdown().await;
}

impl Listener {
    async fn accept(&self) -> io::Result<Box<dyn Transport>> {
        match self {
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}
