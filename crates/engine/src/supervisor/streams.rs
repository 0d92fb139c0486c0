//! Connections that carry the streams of one process between its shim and one client.
//!
//! **Invariant:** the shim is read as long as the client reads. A client that does not read fills
//! its queue, then its connection, and then the shim drops that client's bytes.
//! **Invariant:** when the client goes away, both tasks end and the connection closes.

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Duration, timeout},
};
use wadah_shim::protocol::{
    Answer, Call, Decoder, Event, Frame, Kind, Message, Outcome, Request, encode, encode_message,
    header,
};

use super::{CallError, RunDirectory};
use crate::{
    stream::{Chunk, Stream},
    tasks::Tasks,
};

/// How much one read asks for.
const READ: usize = 32 << 10;

/// The longest frame of standard input that a shim takes.
const PIECE: usize = 64 << 10;

/// How long a shim may take to make a process, and to connect.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a client's bytes come from and go to.
#[derive(Debug)]
pub(crate) struct Client {
    /// What it writes, if it may; an empty chunk is the end of input.
    pub(crate) input: Option<mpsc::Receiver<Bytes>>,
    /// Where output goes.
    pub(crate) output: mpsc::Sender<Chunk>,
}

/// A connection that has been asked for streams, and answered.
#[derive(Debug)]
pub(crate) struct Streams {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    decoder: Decoder,
    is_exec: bool,
    /// What the shim answered.
    pub(crate) answer: Answer,
}

impl Streams {
    /// Connects to the shim of `directory` and makes `call`, an `Attach` or an `Exec`.
    pub(crate) async fn open(directory: &RunDirectory, call: Call) -> Result<Self, CallError> {
        let late = CallError::Late { call: "attach", seconds: PATIENCE.as_secs() };
        let opened = async {
            let stream = directory.connect().await?;
            Self::ask(stream, call).await
        };
        timeout(PATIENCE, opened).await.unwrap_or(Err(late))
    }

    async fn ask(stream: UnixStream, call: Call) -> Result<Self, CallError> {
        let is_exec = matches!(call, Call::Exec(_) | Call::Attach { exec: Some(_), .. });
        let (mut reader, mut writer) = stream.into_split();
        let mut frame = Vec::new();
        encode_message(&Request { id: 1, call }, &mut frame).map_err(std::io::Error::from)?;
        writer.write_all(&frame).await?;
        let mut decoder = Decoder::new();
        let mut buffer = [0; 1024];
        let outcome = loop {
            // Output may follow the answer at once: it stays in the decoder.
            if let Some(outcome) = reply(&mut decoder)? {
                break outcome;
            }
            match reader.read(&mut buffer).await? {
                0 => return Err(CallError::Gone),
                length => decoder.push(&buffer[..length]),
            }
        };
        match outcome {
            Outcome::Ok(answer) => Ok(Self { reader, writer, decoder, is_exec, answer }),
            Outcome::Error(failure) => Err(CallError::Refused(failure)),
        }
    }

    /// Carries bytes between the process and `client` until either ends. `on_event` is called
    /// with what the shim tells about an exec session, before the client sees its end.
    pub(crate) fn carry(
        self,
        client: Client,
        tasks: &Tasks,
        on_event: impl FnMut(Event) + Send + 'static,
    ) {
        let Self { reader, writer, decoder, is_exec, .. } = self;
        let Client { input, output } = client;
        tasks.spawn_until_closing(async move {
            let mut output = Output { reader, decoder, to: output, is_exec, on_event };
            match input {
                // Both go on side by side: a client that writes without reading is served.
                Some(input) => tokio::select! {
                    () = output.carry() => {}
                    () = carry_input(input, writer) => {}
                },
                None => {
                    output.carry().await;
                    drop(writer);
                }
            }
        });
    }
}

/// From a process to a client.
struct Output<F> {
    reader: OwnedReadHalf,
    decoder: Decoder,
    to: mpsc::Sender<Chunk>,
    is_exec: bool,
    on_event: F,
}

impl<F: FnMut(Event)> Output<F> {
    /// Until the end of all streams, or the client goes away.
    async fn carry(&mut self) {
        let mut buffer = vec![0; READ];
        loop {
            while let Ok(Some(frame)) = self.decoder.next_frame() {
                match frame.kind {
                    // An exec session's end follows: its exit code must be known before the
                    // client sees the end of the stream and asks for it.
                    Kind::OutputEof if !self.is_exec => return,
                    Kind::Control => {
                        if let Ok(Message::Event(event)) = serde_json::from_slice(frame.payload) {
                            let is_end = matches!(event, Event::ExecExited { .. });
                            (self.on_event)(event);
                            if is_end {
                                return;
                            }
                        }
                    }
                    _ => {
                        if let Some(chunk) = chunk(frame)
                            && self.to.send(chunk).await.is_err()
                        {
                            return;
                        }
                    }
                }
            }
            let read = tokio::select! {
                () = self.to.closed() => return,
                read = self.reader.read(&mut buffer) => read,
            };
            match read {
                Ok(length) if length > 0 => self.decoder.push(&buffer[..length]),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// The reply among the next frames, if it has come.
fn reply(decoder: &mut Decoder) -> Result<Option<Outcome>, CallError> {
    while let Some(frame) = decoder.next_frame()? {
        if frame.kind != Kind::Control {
            continue;
        }
        if let Ok(Message::Reply { outcome, .. }) = serde_json::from_slice(frame.payload) {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

fn chunk(frame: Frame<'_>) -> Option<Chunk> {
    let stream = match frame.kind {
        Kind::Stdout => Stream::Stdout,
        Kind::Stderr => Stream::Stderr,
        Kind::Lost => {
            tracing::warn!("a slow client lost output of a container");
            return None;
        }
        _ => return None,
    };
    Some(Chunk { stream, bytes: Bytes::copy_from_slice(frame.payload) })
}

async fn carry_input(mut input: mpsc::Receiver<Bytes>, mut writer: OwnedWriteHalf) {
    while let Some(bytes) = input.recv().await {
        if write_input(&mut writer, &bytes).await.is_err() {
            return;
        }
        if bytes.is_empty() {
            break;
        }
    }
    // A connection that is closed one way counts as closed: it stays open for the output.
    std::future::pending::<()>().await;
}

async fn write_input(writer: &mut OwnedWriteHalf, bytes: &[u8]) -> std::io::Result<()> {
    if bytes.is_empty() {
        let mut frame = Vec::new();
        encode(Kind::StdinEof, &[], &mut frame);
        return writer.write_all(&frame).await;
    }
    for piece in bytes.chunks(PIECE) {
        writer.write_all(&header(Kind::Stdin, piece.len())).await?;
        writer.write_all(piece).await?;
    }
    Ok(())
}
