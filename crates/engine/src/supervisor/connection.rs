//! A connection to a shim that carries calls, answers and events.
//!
//! **Invariant:** what handles events never waits, so that answers are never held up.
//! **Invariant:** when the connection breaks, every caller is told, and so is the supervisor: the
//! handler of events is dropped.

use std::{collections::HashMap, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{mpsc, oneshot},
    time::timeout,
};
use wadah_shim::protocol::{
    Answer, Call, Decoder, Event, Failure, FailureClass, FrameError, Kind, Message, Outcome,
    Request, encode_message,
};

use crate::{EngineError, tasks::Tasks};

/// Calls that may wait to be sent on one connection.
const QUEUE: usize = 16;

/// How much one read asks for.
const READ: usize = 4 << 10;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Deadline {
    /// Of what a shim does by itself.
    Short,
    /// Of what makes a container or a process.
    Long,
}

impl Deadline {
    fn duration(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(10),
            Self::Long => Duration::from_secs(60),
        }
    }
}

/// A connection to a shim.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Ask {
    call: Call,
    answer: oneshot::Sender<Outcome>,
}

/// Why a call was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The shim refused, or failed.
    #[error("{}", .0.message)]
    Refused(Failure),
    /// The connection broke.
    #[error("the container's supervisor is gone")]
    Gone,
    /// It took too long.
    #[error("the container's supervisor did not answer {call} within {seconds} s")]
    Late {
        /// What was asked.
        call: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// Something else came than the protocol has it.
    #[error("the container's supervisor answered {call} with {answer}")]
    Unexpected {
        /// What was asked.
        call: &'static str,
        /// What came.
        answer: String,
    },
    /// The connection could not be made or used.
    #[error("cannot reach the container's supervisor")]
    Io {
        /// Why.
        #[from]
        source: std::io::Error,
    },
    /// What came is no frame.
    #[error("the container's supervisor speaks another language")]
    Frame {
        /// Why.
        #[from]
        source: FrameError,
    },
}

impl CallError {
    /// An answer that the protocol does not foresee.
    pub(crate) fn unexpected(call: &'static str, answer: &Answer) -> Self {
        Self::Unexpected { call, answer: format!("{answer:?}") }
    }

    /// What class of failure the shim gave.
    pub(crate) fn failure(&self) -> Option<FailureClass> {
        match self {
            Self::Refused(failure) => Some(failure.class),
            _ => None,
        }
    }

    /// As an error about the container `id`.
    pub(crate) fn about(self, operation: &str, id: &str) -> EngineError {
        EngineError::mechanism(format!("cannot {operation} container {id}"), self)
    }
}

impl Connection {
    /// Takes over a stream. `on_event` is called for each event and dropped when the connection
    /// breaks.
    pub(crate) fn open(
        stream: UnixStream,
        tasks: &Tasks,
        on_event: impl FnMut(Event) + Send + 'static,
    ) -> Self {
        let (asks, queue) = mpsc::channel(QUEUE);
        let driver = Driver::new(stream, on_event);
        tasks.spawn_until_closing(driver.run(queue));
        Self { asks }
    }

    /// A connection to a shim that is not there.
    pub(crate) fn broken() -> Self {
        let (asks, _queue) = mpsc::channel(1);
        Self { asks }
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn call(&self, call: Call, deadline: Deadline) -> Result<Answer, CallError> {
        let (name, limit) = (name(&call), deadline.duration());
        let asked = async {
            let (answer, outcome) = oneshot::channel();
            self.asks.send(Ask { call, answer }).await.map_err(|_| CallError::Gone)?;
            outcome.await.map_err(|_| CallError::Gone)
        };
        match timeout(limit, asked).await {
            Ok(Ok(Outcome::Ok(answer))) => Ok(answer),
            Ok(Ok(Outcome::Error(failure))) => Err(CallError::Refused(failure)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(CallError::Late { call: name, seconds: limit.as_secs() }),
        }
    }

    /// Is done when the connection is broken.
    pub(crate) async fn closed(&self) {
        self.asks.closed().await;
    }
}

/// The task that owns the stream.
struct Driver<F> {
    reader: OwnedReadHalf,
    writer: tokio::net::unix::OwnedWriteHalf,
    decoder: Decoder,
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    next: u64,
    on_event: F,
}

impl<F: FnMut(Event)> Driver<F> {
    fn new(stream: UnixStream, on_event: F) -> Self {
        let (reader, writer) = stream.into_split();
        let (decoder, pending) = (Decoder::new(), HashMap::new());
        Self { reader, writer, decoder, pending, next: 0, on_event }
    }

    async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut buffer = [0; READ];
        let ended = loop {
            let step = tokio::select! {
                ask = asks.recv() => match ask {
                    Some(ask) => self.send(ask).await,
                    None => break Ok(()),
                },
                read = self.reader.read(&mut buffer) => match read {
                    Ok(0) => break Ok(()),
                    Ok(length) => self.receive(&buffer[..length]),
                    Err(error) => Err(error.into()),
                },
            };
            if step.is_err() {
                break step;
            }
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "a connection to a shim broke");
        }
    }

    async fn send(&mut self, ask: Ask) -> Result<(), CallError> {
        self.next += 1;
        let request = Request { id: self.next, call: ask.call };
        let mut frame = Vec::new();
        if let Err(error) = encode_message(&request, &mut frame) {
            let message = format!("the request cannot be sent: {error}");
            let failure = Failure { class: FailureClass::Invalid, message };
            let _caller_gone = ask.answer.send(Outcome::Error(failure));
            return Ok(());
        }
        // Callers that went away leave nothing behind.
        self.pending.retain(|_, it| !it.is_closed());
        self.pending.insert(self.next, ask.answer);
        Ok(self.writer.write_all(&frame).await?)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        self.decoder.push(bytes);
        while let Some(frame) = self.decoder.next_frame()? {
            if frame.kind != Kind::Control {
                continue;
            }
            match serde_json::from_slice(frame.payload) {
                Ok(Message::Reply { id, outcome }) => {
                    if let Some(answer) = self.pending.remove(&id) {
                        let _caller_gone = answer.send(outcome);
                    }
                }
                Ok(Message::Event(event)) => (self.on_event)(event),
                Err(error) => tracing::warn!(%error, "a shim's message is not understood"),
            }
        }
        Ok(())
    }
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Created => "created",
        Call::Start => "start",
        Call::State => "state",
        Call::Subscribe => "subscribe",
        Call::Signal { .. } => "signal",
        Call::Resize { .. } => "resize",
        Call::Pause => "pause",
        Call::Resume => "resume",
        Call::Exec(_) => "exec",
        Call::Attach { .. } => "attach",
        Call::Pids => "pids",
        Call::Stats => "stats",
        Call::Update { .. } => "update",
        Call::Shutdown => "shutdown",
    }
}
