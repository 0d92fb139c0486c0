//! Streams of bytes between a client and a process.
//!
//! **Invariant:** every queue is bounded. A client that does not read makes its shim drop that
//! client's bytes, never the container wait.
//! **Invariant:** dropping either half ends what feeds it: no task, descriptor or buffer outlives
//! the client.

use bytes::Bytes;
use tokio::sync::mpsc;

/// Chunks that may wait between a shim's connection and a client.
pub(crate) const QUEUE: usize = 32;

/// Which stream of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Some bytes of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where they came out.
    pub stream: Stream,
    /// The bytes.
    pub bytes: Bytes,
}

/// A client's connection to a process.
#[derive(Debug)]
pub struct Attached {
    /// Standard input, if it was asked for and the process has one.
    pub input: Option<Input>,
    /// Output, until the process's last byte.
    pub output: mpsc::Receiver<Chunk>,
    /// Whether the process has a terminal, so that all output is [`Stream::Stdout`].
    pub tty: bool,
}

/// The writing half of a process's standard input.
#[derive(Debug)]
pub struct Input {
    pub(crate) sender: mpsc::Sender<Bytes>,
}

/// The process, or its supervisor, reads no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("standard input is closed")]
pub struct InputClosed;

impl Input {
    /// Hands over `bytes`, waiting while the process has not read what came before.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), InputClosed> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.sender.send(bytes).await.map_err(|_| InputClosed)
    }

    /// Tells that no more will come: the process sees end of file, if the container was made so
    /// that an attacher's end of input closes it.
    pub async fn finish(self) {
        // An empty chunk is the sign; it fails only where nobody reads any more.
        let _gone = self.sender.send(Bytes::new()).await;
    }
}
