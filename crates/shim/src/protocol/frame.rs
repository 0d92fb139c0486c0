//! Frames: how messages and bytes share one connection.
//!
//! Sans-io: a frame is encoded into a `Vec`, and a [`Decoder`] is fed whatever was read, in
//! pieces of any size.
//!
//! **Invariant:** a decoder never holds more than one whole frame of [`MAX_FRAME`] bytes and what
//! one read brought, whatever the other side sends.
//! **Invariant:** an error is final: after it, nothing that follows on the connection can be
//! trusted.

use rustix::buffer::spare_capacity;
use serde::Serialize;

use super::{Kind, MAX_FRAME};

/// How long the header of a frame is: its kind and the length of its payload.
pub const HEADER: usize = 5;

/// How much one read asks for.
const READ: usize = 64 << 10;

/// Above this, the buffer of a decoder that has nothing left in it is given back.
const KEEP: usize = 4 << 10;

/// A frame, as far as it lives in the buffer of its decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The bytes it carries.
    pub payload: &'a [u8],
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A kind that this release does not know.
    #[error("no frame has the kind {kind}")]
    UnknownKind {
        /// As it was sent.
        kind: u8,
    },
    /// A frame longer than [`MAX_FRAME`].
    #[error("a frame of {length} bytes is longer than {MAX_FRAME} bytes")]
    TooLong {
        /// As it was announced.
        length: usize,
    },
}

/// Makes a frame's header.
///
/// # Panics
/// If `length` is above [`MAX_FRAME`]: a caller splits its bytes.
#[must_use]
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    assert!(length <= MAX_FRAME, "BUG: a frame of {length} bytes");
    let length = u32::try_from(length).expect("BUG: the limit fits");
    let [a, b, c, d] = length.to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// Appends one frame to `out`.
///
/// # Panics
/// If `payload` is longer than [`MAX_FRAME`].
pub fn encode(kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
}

/// Appends a message as one frame of [`Kind::Control`].
///
/// # Errors
/// If the message does not fit into a frame, or cannot be written as JSON.
pub fn encode_message(
    message: &impl Serialize,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let start = out.len();
    out.extend_from_slice(&header(Kind::Control, 0));
    let written = serde_json::to_writer(&mut *out, message);
    let length = out.len() - start - HEADER;
    if let Err(error) = written {
        out.truncate(start);
        return Err(error);
    }
    if length > MAX_FRAME {
        out.truncate(start);
        return Err(serde::ser::Error::custom(FrameError::TooLong { length }));
    }
    out[start..start + HEADER].copy_from_slice(&header(Kind::Control, length));
    Ok(())
}

/// Turns the bytes of a connection into frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// How much of `buffer` has been handed out.
    consumed: usize,
}

impl Decoder {
    /// Makes a decoder that has read nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), consumed: 0 }
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads once from `source`; says how many bytes came, 0 at the end.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read_from(&mut self, source: impl std::os::fd::AsFd) -> rustix::io::Result<usize> {
        self.compact();
        self.buffer.reserve(READ);
        rustix::io::read(source, spare_capacity(&mut self.buffer))
    }

    /// Takes the next whole frame; `None` if more must be read first.
    ///
    /// # Errors
    /// If what comes next is no frame. The connection is of no use any more.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let rest = &self.buffer[self.consumed..];
        let Some((&[kind, a, b, c, d], rest)) = rest.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind { kind })?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))
            .expect("BUG: a pointer has at least 32 bits");
        if length > MAX_FRAME {
            return Err(FrameError::TooLong { length });
        }
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        self.consumed += HEADER + length;
        Ok(Some(Frame { kind, payload }))
    }

    /// Whether a part of a frame is waiting for the rest of it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.consumed == self.buffer.len()
    }

    /// Moves what is not consumed yet to the front, and gives back a buffer that has grown.
    fn compact(&mut self) {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
            self.buffer = Vec::new();
        }
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.compact();
        self.buffer.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 7] = [
        Kind::Control,
        Kind::Stdin,
        Kind::Stdout,
        Kind::Stderr,
        Kind::StdinEof,
        Kind::Lost,
        Kind::OutputEof,
    ];

    fn decode(pieces: &[&[u8]]) -> Result<Vec<(Kind, Vec<u8>)>, FrameError> {
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame()? {
                frames.push((frame.kind, frame.payload.to_vec()));
            }
        }
        Ok(frames)
    }

    #[test]
    fn every_kind_survives_its_byte() {
        for kind in KINDS {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_byte(7), None);
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_it_is_read() {
        let length = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
        let bytes = [&[Kind::Stdin as u8], &length[..]].concat();
        assert_eq!(decode(&[&bytes]), Err(FrameError::TooLong { length: MAX_FRAME + 1 }));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let error = decode(&[b"GET / HTTP/1.1\r\n"]).unwrap_err();
        assert_eq!(error.to_string(), "no frame has the kind 71");
    }

    #[test]
    fn a_message_too_long_for_a_frame_leaves_nothing_behind() {
        let mut out = b"before".to_vec();
        assert!(encode_message(&"x".repeat(MAX_FRAME), &mut out).is_err());
        assert_eq!(out, b"before");
    }

    #[test]
    fn an_idle_decoder_keeps_no_memory() {
        let mut decoder = Decoder::new();
        let mut bytes = Vec::new();
        encode(Kind::Stdin, &vec![7; MAX_FRAME], &mut bytes);
        decoder.push(&bytes);
        assert!(decoder.next_frame().unwrap().is_some());
        decoder.shrink();
        assert_eq!(decoder.buffer.capacity(), 0);
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting_into_pieces(
            frames in prop::collection::vec(
                (0..KINDS.len(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            cuts in prop::collection::vec(1..64_usize, 1..400),
        ) {
            let frames: Vec<_> = frames.into_iter().map(|(k, p)| (KINDS[k], p)).collect();
            let mut bytes = Vec::new();
            for (kind, payload) in &frames {
                encode(*kind, payload, &mut bytes);
            }
            let mut pieces = Vec::new();
            let mut rest = &bytes[..];
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(decode(&pieces), Ok(frames));
        }

        #[test]
        fn garbage_never_panics_and_never_grows_a_buffer(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20),
        ) {
            let mut decoder = Decoder::new();
            for piece in &pieces {
                decoder.push(piece);
                while let Ok(Some(_)) = decoder.next_frame() {}
                prop_assert!(decoder.buffer.len() <= MAX_FRAME + HEADER + 2000);
            }
        }
    }
}
