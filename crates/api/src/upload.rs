//! A request's body as a file to read, for code that blocks.
//!
//! **Invariant:** at most [`QUEUE`] pieces wait between the connection and the reader.
//! **Invariant:** a body that was cut off is an error, never an early end: half an archive is no
//! archive.

use std::{
    future::Future,
    io::{self, Read},
};

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

/// Pieces that may wait.
const QUEUE: usize = 16;

/// A piece of a body, or the sign that it is complete.
#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

/// The reading end. To be used on a blocking thread.
#[derive(Debug)]
pub(crate) struct Upload {
    pieces: mpsc::Receiver<io::Result<Piece>>,
    current: Bytes,
    has_ended: bool,
}

/// Makes a body readable. The future carries it over; it is to be polled for as long as the
/// connection lives.
pub(crate) fn upload(body: Incoming) -> (impl Future<Output = ()> + Send + 'static, Upload) {
    let (sender, pieces) = mpsc::channel(QUEUE);
    let upload = Upload { pieces, current: Bytes::new(), has_ended: false };
    (carry(body, sender), upload)
}

async fn carry(mut body: Incoming, sender: mpsc::Sender<io::Result<Piece>>) {
    while let Some(frame) = body.frame().await {
        let piece = match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => Ok(Piece::Data(data)),
            Ok(Err(_trailers)) => continue,
            Err(error) => Err(io::Error::other(error)),
        };
        if sender.send(piece).await.is_err() {
            return;
        }
    }
    let _reader_gone = sender.send(Ok(Piece::End)).await;
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.has_ended {
            match self.pieces.blocking_recv() {
                Some(Ok(Piece::Data(data))) => self.current = data,
                Some(Ok(Piece::End)) => self.has_ended = true,
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}
