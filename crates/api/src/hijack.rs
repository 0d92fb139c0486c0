//! Connections that stop being HTTP: attach and exec.
//!
//! After the head of the reply, the client's bytes are the process's standard input and the
//! process's output is the client's, raw or in [frames](crate::frame).
//!
//! **Invariant:** the two directions end independently. The client's end of input closes the
//! process's standard input and nothing else; output flows until its own end, or until the
//! client is gone altogether.

use std::{io, ops::ControlFlow, time::Duration};

use bytes::{Bytes, BytesMut};
use hyper::header::HeaderName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{interval, timeout},
};
use wadah_engine::stream::{Chunk, Input, Stream};

use crate::{
    detach::DetachKeys,
    frame::{self, Channel},
    reply::common_headers,
    transport::{Reader, Transport, Writer},
};

/// Media type of a terminal's bytes, and of frames to clients that do not know better.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";

/// Media type of frames.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The most that is read from a client at once.
const CHUNK: usize = 32 * 1024;

/// Output that is gathered into one write.
const BATCH: usize = 64 * 1024;

/// How long a client may go on sending after the end.
const LINGER: Duration = Duration::from_secs(2);

/// How often a half-closed client is looked after: nothing announces that it went away for good.
const LIVENESS: Duration = Duration::from_secs(1);

/// The streams of a process, and how the client wants them.
pub(crate) struct Hijack {
    /// Whether the client asked for an upgrade: 101 instead of 200.
    pub(crate) upgrade: bool,
    /// Whether the media type may tell that the stream is multiplexed.
    pub(crate) announces_frames: bool,
    /// Whether output goes out in frames.
    pub(crate) framed: bool,
    /// Standard input, if wanted.
    pub(crate) input: Option<Input>,
    /// Output, if any is wanted.
    pub(crate) output: mpsc::Receiver<Chunk>,
    /// What the client types to leave.
    pub(crate) detach_keys: Option<DetachKeys>,
    /// Called when it does.
    pub(crate) on_detach: Option<Box<dyn FnOnce() + Send>>,
}

/// Why the client's direction ended.
enum Left {
    /// It typed the detach keys.
    Detached,
    /// It is gone.
    Gone,
}

impl Hijack {
    /// Answers the request and carries the streams until they, or the client, end. `early` is
    /// what the client sent behind its request.
    pub(crate) async fn run(self, mut transport: Box<dyn Transport>, early: Bytes) {
        if transport.write_all(&self.head()).await.is_err() {
            return;
        }
        let (reader, mut writer) = transport.into_split();
        let mut inward = Inward { reader, input: self.input, keys: self.detach_keys, ended: false };
        let mut output = self.output;
        tokio::select! {
            left = inward.copy(early) => {
                if let (Left::Detached, Some(on_detach)) = (left, self.on_detach) {
                    on_detach();
                }
            }
            copied = copy_out(&mut output, self.framed, &mut *writer) => match copied {
                // The process is gone, or has closed its output and wants no input either.
                Ok(()) => inward.input = None,
                Err(_client_gone) => inward.finish().await,
            },
        }
        // What the engine feeds ends now, whatever the client still does.
        drop(output);
        let _closed = writer.shutdown().await;
        inward.linger().await;
    }

    fn head(&self) -> Vec<u8> {
        let media_type = if self.announces_frames && self.framed { MULTIPLEXED } else { RAW };
        let status = if self.upgrade { "101 UPGRADED" } else { "200 OK" };
        let mut head = format!("HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\n").into_bytes();
        if self.upgrade {
            head.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: tcp\r\n");
        }
        for (name, value) in common_headers() {
            for part in [title_case(&name).as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// A header's name as hyper writes it on the other replies.
fn title_case(name: &HeaderName) -> String {
    let words = name.as_str().split('-');
    let titled = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]);
    titled.collect::<Vec<_>>().join("-")
}

/// The client's direction.
struct Inward {
    reader: Box<dyn Reader>,
    input: Option<Input>,
    keys: Option<DetachKeys>,
    ended: bool,
}

impl Inward {
    /// Copies until the client leaves. Its end of input is passed on, and then waited behind.
    async fn copy(&mut self, early: Bytes) -> Left {
        if self.pass(early).await.is_break() {
            return Left::Detached;
        }
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match self.reader.read_buf(&mut buffer).await {
                Ok(0) => break,
                Ok(_) if self.pass(buffer.split().freeze()).await.is_break() => {
                    return Left::Detached;
                }
                Ok(_) => {}
                Err(_reset) => break,
            }
        }
        self.ended = true;
        self.finish().await;
        self.outlive().await
    }

    /// Tells the process that no more input comes.
    async fn finish(&mut self) {
        if let Some(input) = self.input.take() {
            input.finish().await;
        }
    }

    /// Hands bytes to the process; breaks where they held the detach keys. Bytes that nobody
    /// wants any more are read and dropped, so that the client does not stall in its write.
    async fn pass(&mut self, bytes: Bytes) -> ControlFlow<()> {
        let (bytes, detached) = match &mut self.keys {
            Some(keys) => keys.filter(bytes),
            None => (bytes, false),
        };
        if let Some(input) = &mut self.input
            && input.write(bytes).await.is_err()
        {
            self.input = None;
        }
        if detached { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Waits until a client that says no more is gone altogether.
    async fn outlive(&mut self) -> Left {
        let mut ticks = interval(LIVENESS);
        while !self.reader.is_gone() {
            ticks.tick().await;
        }
        Left::Gone
    }

    /// Drops what a client still sends after the end, for a while: closing a unix socket with
    /// bytes unread would make its client see a reset in place of the end of the output.
    async fn linger(&mut self) {
        let mut buffer = BytesMut::new();
        let drain = async {
            while !self.ended {
                buffer.clear();
                buffer.reserve(CHUNK);
                self.ended = !matches!(self.reader.read_buf(&mut buffer).await, Ok(1..));
            }
        };
        let _in_time = timeout(LINGER, drain).await;
    }
}

/// Writes chunks until there are no more, several at once where several wait.
async fn copy_out(
    chunks: &mut mpsc::Receiver<Chunk>,
    framed: bool,
    writer: &mut dyn Writer,
) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while let Some(chunk) = chunks.recv().await {
        append(&mut buffer, &chunk, framed);
        while buffer.len() < BATCH
            && let Ok(chunk) = chunks.try_recv()
        {
            append(&mut buffer, &chunk, framed);
        }
        writer.write_all(&buffer).await?;
        buffer.clear();
    }
    Ok(())
}

/// Puts a chunk behind `buffer`, in a frame or raw.
pub(crate) fn append(buffer: &mut BytesMut, chunk: &Chunk, framed: bool) {
    if framed {
        buffer.extend_from_slice(&frame::header(channel(chunk.stream), chunk.bytes.len()));
    }
    buffer.extend_from_slice(&chunk.bytes);
}

fn channel(stream: Stream) -> Channel {
    match stream {
        Stream::Stdout => Channel::Stdout,
        Stream::Stderr => Channel::Stderr,
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::UnixStream, task::JoinHandle};

    use super::*;

    /// A session without input; what it gives is the client's end, the process's, and the session.
    fn session(upgrade: bool, framed: bool) -> (UnixStream, mpsc::Sender<Chunk>, JoinHandle<()>) {
        let (client, server) = UnixStream::pair().unwrap();
        let (process, output) = mpsc::channel(4);
        let hijack = Hijack {
            upgrade,
            announces_frames: upgrade,
            framed,
            input: None,
            output,
            detach_keys: None,
            on_detach: None,
        };
        let running = tokio::spawn(hijack.run(Box::new(server), Bytes::new()));
        (client, process, running)
    }

    fn chunk(stream: Stream, text: &'static str) -> Chunk {
        Chunk { stream, bytes: Bytes::from_static(text.as_bytes()) }
    }

    async fn rest(client: &mut UnixStream) -> String {
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn output_flows_on_after_the_clients_end_of_input() {
        let (mut client, process, running) = session(true, true);
        client.shutdown().await.unwrap();
        process.send(chunk(Stream::Stdout, "out")).await.unwrap();
        process.send(chunk(Stream::Stderr, "err")).await.unwrap();
        drop(process);
        let text = rest(&mut client).await;
        assert!(text.starts_with("HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"), "{text}");
        assert!(text.contains("\r\nApi-Version: 1.55\r\n"), "{text}");
        assert!(
            text.ends_with("\r\n\r\n\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err"),
            "{text:?}"
        );
        drop(client);
        running.await.unwrap();
    }

    #[tokio::test]
    async fn without_an_upgrade_the_status_is_200_and_a_terminal_is_raw() {
        let (mut client, process, _running) = session(false, false);
        process.send(chunk(Stream::Stdout, "raw")).await.unwrap();
        drop(process);
        let text = rest(&mut client).await;
        assert!(
            text.starts_with(
                "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\nraw"), "{text}");
    }

    #[tokio::test]
    async fn a_client_that_vanishes_ends_the_session_of_a_silent_process() {
        let (client, process, running) = session(true, true);
        drop(client);
        running.await.unwrap();
        assert!(process.is_closed());
    }
}
