//! Frames: a container's output as it arrives when there is no terminal.
//!
//! Each frame is `[stream, 0, 0, 0, length: u32 big-endian]` and then the bytes.

use std::io;

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Stdout,
    Stderr,
}

/// Takes frames apart, whatever the pieces they arrive in.
///
/// Neighbouring frames of one channel come out as one piece: a container that prints lines makes
/// many small frames, and writing each by itself would cost more than all the rest.
#[derive(Debug, Default)]
pub(crate) struct Demultiplexer {
    header: [u8; 8],
    /// How much of the header is there.
    have: usize,
    /// How much of the frame's bytes is still to come.
    remaining: usize,
    channel: Option<Channel>,
    pending: Vec<u8>,
}

impl Demultiplexer {
    /// Takes `bytes` apart and hands what they carry to `sink`.
    pub(crate) fn feed(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(Channel, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let (now, rest) = bytes.split_at(self.remaining.min(bytes.len()));
                self.pending.extend_from_slice(now);
                self.remaining -= now.len();
                bytes = rest;
                continue;
            }
            let (now, rest) = bytes.split_at((8 - self.have).min(bytes.len()));
            self.header[self.have..self.have + now.len()].copy_from_slice(now);
            self.have += now.len();
            bytes = rest;
            if self.have == 8 {
                self.begin(sink)?;
            }
        }
        self.flush(sink)
    }

    fn begin(&mut self, sink: &mut impl FnMut(Channel, &[u8]) -> io::Result<()>) -> io::Result<()> {
        let [stream, _, _, _, length @ ..] = self.header;
        let channel = match stream {
            // What a client typed is echoed as stream 0 by some daemons.
            0 | 1 => Channel::Stdout,
            2 => Channel::Stderr,
            _ => {
                let message = format!("frame of unknown stream {stream}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        };
        if self.channel != Some(channel) {
            self.flush(sink)?;
        }
        self.channel = Some(channel);
        self.have = 0;
        self.remaining = u32::from_be_bytes(length) as usize;
        Ok(())
    }

    fn flush(&mut self, sink: &mut impl FnMut(Channel, &[u8]) -> io::Result<()>) -> io::Result<()> {
        match self.channel {
            Some(channel) if !self.pending.is_empty() => {
                let result = sink(channel, &self.pending);
                self.pending.clear();
                result
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn frames_come_apart_wherever_they_are_cut() {
        let bytes = [frame(1, "one"), frame(1, " two"), frame(2, "err"), frame(1, "")].concat();
        for cut in 0..bytes.len() {
            let mut demultiplexer = Demultiplexer::default();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for piece in [&bytes[..cut], &bytes[cut..]] {
                let mut sink = |channel, bytes: &[u8]| {
                    match channel {
                        Channel::Stdout => out.extend_from_slice(bytes),
                        Channel::Stderr => err.extend_from_slice(bytes),
                    }
                    Ok(())
                };
                demultiplexer.feed(piece, &mut sink).unwrap();
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"one two"[..], &b"err"[..]));
        }
    }

    #[test]
    fn an_unknown_stream_is_an_error() {
        let result = Demultiplexer::default().feed(&frame(9, "x"), &mut |_, _| Ok(()));
        assert_eq!(result.unwrap_err().to_string(), "frame of unknown stream 9");
    }
}
