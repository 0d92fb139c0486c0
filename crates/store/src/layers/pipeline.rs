//! Two threads for one layer: one unwraps and hashes, the other unpacks.
//!
//! **Invariant:** memory is [`CHUNKS`] × [`CHUNK`] bytes. Buffers go back and forth; nothing is
//! allocated on the way.

use std::{
    io::{self, BufRead, Read},
    sync::mpsc::{Receiver, SyncSender},
};

use wadah_oci::{Digest, Hasher};

pub(super) const CHUNK: usize = 256 << 10;
pub(super) const CHUNKS: usize = 8;

/// A piece of the stream, or the error that ended it.
pub(super) type Chunk = io::Result<Vec<u8>>;

/// Reads everything, hashes it and hands it on. Without a digest, nobody took it.
pub(super) fn pump(
    mut reader: impl Read,
    full: &SyncSender<Chunk>,
    empty: &Receiver<Vec<u8>>,
) -> Option<Digest> {
    let mut hasher = Hasher::default();
    loop {
        let mut chunk = empty.recv().ok()?;
        chunk.resize(CHUNK, 0);
        match fill(&mut reader, &mut chunk) {
            Ok(0) => return Some(hasher.finish()),
            Ok(length) => {
                chunk.truncate(length);
                hasher.update(&chunk);
                full.send(Ok(chunk)).ok()?;
            }
            Err(error) => {
                full.send(Err(error)).ok()?;
                return None;
            }
        }
    }
}

fn fill(reader: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match reader.read(&mut chunk[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The other end: what [`pump`] hands on, as a stream.
pub(super) struct ChunkReader {
    full: Receiver<Chunk>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    used: usize,
}

impl ChunkReader {
    pub(super) fn new(full: Receiver<Chunk>, empty: SyncSender<Vec<u8>>) -> Self {
        for _ in 0..CHUNKS {
            // The channel has room for all of them, and its other end waits.
            empty.try_send(Vec::new()).unwrap_or_default();
        }
        Self { full, empty, chunk: Vec::new(), used: 0 }
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.chunk.len() {
            // Without a reader at the other end, the stream is over.
            if let Ok(chunk) = self.full.recv() {
                let used = std::mem::replace(&mut self.chunk, chunk?);
                self.used = 0;
                if used.capacity() > 0 {
                    self.empty.try_send(used).unwrap_or_default();
                }
            }
        }
        Ok(&self.chunk[self.used..])
    }

    fn consume(&mut self, length: usize) {
        self.used += length;
    }
}

impl Read for ChunkReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}
