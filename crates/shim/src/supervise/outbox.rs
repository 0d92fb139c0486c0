//! What is on its way to one connection.
//!
//! **Invariant:** output waits here up to [`LIMIT`] bytes; beyond it is lost to this connection,
//! which is told how much, at the place where it would have been.
//! **Invariant:** frames are never torn or reordered.

use std::{io, os::fd::BorrowedFd};

use rustix::{
    io::Errno,
    net::{SendAncillaryBuffer, SendFlags, sendmsg},
};

use crate::protocol::{HEADER, Kind, Message, encode, encode_message, header};

/// How much output waits at most.
pub(super) const LIMIT: usize = 1 << 20;

/// Above this, an emptied buffer is given back.
const KEEP: usize = 4 << 10;

/// Frames that were not sent yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: Vec<u8>,
    /// How much of `queue` was sent.
    sent: usize,
    /// How much output was lost since the last frame of output.
    lost: u64,
}

impl Outbox {
    /// How many bytes wait.
    pub(super) const fn len(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Whether nothing waits.
    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a message, whatever waits already: they are small, and who sends too many requests is
    /// not listened to.
    pub(super) fn push_message(&mut self, message: &Message) {
        // Nothing that a shim says is too long but, perhaps, a list of a million processes: the
        // other side then waits until its deadline.
        drop(encode_message(message, &mut self.queue));
    }

    /// Adds the end of output, behind all of it.
    pub(super) fn push_end(&mut self) {
        self.push_lost();
        encode(Kind::OutputEof, &[], &mut self.queue);
    }

    /// Sends output, or keeps it, or loses it.
    pub(super) fn offer(
        &mut self,
        socket: BorrowedFd<'_>,
        kind: Kind,
        bytes: &[u8],
    ) -> io::Result<()> {
        // Once it overflows, half of it has to go first, or each frame would be followed by one
        // that says what was lost.
        let limit = if self.lost > 0 { LIMIT / 2 } else { LIMIT };
        if self.len() + HEADER + bytes.len() > limit {
            self.lost += bytes.len() as u64;
            return Ok(());
        }
        self.push_lost();
        if !self.is_empty() {
            encode(kind, bytes, &mut self.queue);
            return Ok(());
        }
        let header = header(kind, bytes.len());
        let sent = send(socket, &[&header, bytes])?;
        if sent < HEADER {
            self.queue.extend_from_slice(&header[sent..]);
        }
        self.queue.extend_from_slice(&bytes[sent.saturating_sub(HEADER)..]);
        Ok(())
    }

    /// Sends what waits, as far as the connection takes it; says whether it took something.
    pub(super) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let mut progress = false;
        while !self.is_empty() {
            match send(socket, &[&self.queue[self.sent..]])? {
                0 => break,
                sent => self.sent += sent,
            }
            progress = true;
        }
        self.compact();
        Ok(progress)
    }

    /// Forgets everything: nobody will read it.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push_lost(&mut self) {
        if self.lost > 0 {
            encode(Kind::Lost, &self.lost.to_be_bytes(), &mut self.queue);
            self.lost = 0;
        }
    }

    fn compact(&mut self) {
        if self.is_empty() {
            self.sent = 0;
            self.queue.clear();
            if self.queue.capacity() > KEEP {
                self.queue = Vec::new();
            }
        } else if self.sent > LIMIT / 4 {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
    }
}

/// Sends as much as fits without waiting.
fn send(socket: BorrowedFd<'_>, parts: &[&[u8]]) -> io::Result<usize> {
    let slices: Vec<_> = parts.iter().map(|part| io::IoSlice::new(part)).collect();
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    loop {
        match sendmsg(socket, &slices, &mut SendAncillaryBuffer::default(), flags) {
            Ok(sent) => return Ok(sent),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;
    use crate::protocol::Decoder;

    /// Sends `count` numbered chunks to a reader who reads only afterwards; returns what it got
    /// and how much it was told to have lost.
    fn exchange(count: usize, length: usize) -> (Vec<u8>, u64) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        for number in 0..count {
            let chunk = vec![u8::try_from(number % 251).unwrap(); length];
            outbox.offer(ours.as_fd(), Kind::Stdout, &chunk).unwrap();
            assert!(outbox.len() <= LIMIT);
        }
        outbox.push_end();
        let mut decoder = Decoder::new();
        let (mut output, mut lost) = (Vec::new(), 0);
        loop {
            outbox.flush(ours.as_fd()).unwrap();
            let mut buffer = vec![0; 100_000];
            let read = theirs.read(&mut buffer).unwrap();
            decoder.push(&buffer[..read]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                match frame.kind {
                    Kind::Stdout => output.extend_from_slice(frame.payload),
                    Kind::Lost => lost += u64::from_be_bytes(frame.payload.try_into().unwrap()),
                    Kind::OutputEof => return (output, lost),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_fits_arrives_whole() {
        let (output, lost) = exchange(100, 9_000);
        assert_eq!((output.len(), lost), (900_000, 0));
        assert!(
            output.chunks(9_000).enumerate().all(|(n, it)| it.iter().all(|b| *b as usize == n))
        );
    }

    #[test]
    fn every_byte_beyond_the_limit_is_counted() {
        let (output, lost) = exchange(300, 9_000);
        assert!(lost > 0);
        assert_eq!(output.len() as u64 + lost, 300 * 9_000);
    }

    #[test]
    fn an_emptied_outbox_keeps_no_memory() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut outbox = Outbox::default();
        outbox.offer(ours.as_fd(), Kind::Stdout, &vec![1; LIMIT - HEADER]).unwrap();
        let reader = std::thread::spawn(move || io::copy(&mut &theirs, &mut io::sink()).unwrap());
        while !outbox.is_empty() {
            outbox.flush(ours.as_fd()).unwrap();
        }
        drop(ours);
        assert_eq!(reader.join().unwrap(), LIMIT as u64);
        assert!(outbox.queue.capacity() <= KEEP);
    }
}
