//! A container's log, in the format of Docker's `json-file` driver.
//!
//! What a stream brought is cut into [`lines`], each becomes an [`entry`], and entries go into
//! the [`file`]s.
//!
//! **Invariant:** logging never fails and never asks the caller to wait for anything but the
//! kernel's page cache: a container is not to be stopped by its log.

mod entry;
mod file;
mod lines;

use std::{collections::BTreeMap, io};

use self::{
    entry::Frame,
    file::{Files, Lost},
    lines::{Lines, Piece},
};
use crate::{clock::Moment, protocol};

/// When this much is encoded, it is written: few writes, and a bounded buffer even for a flood of
/// empty lines, each of which becomes an entry of seventy bytes.
const FLUSH: usize = 128 << 10;

/// Which stream of a process something came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// The log of one container.
#[derive(Debug)]
pub(crate) struct Log {
    files: Files,
    attributes: BTreeMap<String, String>,
    stdout: Lines,
    stderr: Lines,
    /// Entries on their way to the file.
    encoded: Vec<u8>,
}

impl Log {
    /// Opens the log.
    pub(crate) fn open(log: &protocol::Log) -> io::Result<Self> {
        Ok(Self {
            files: Files::open(log)?,
            attributes: log.attributes.clone(),
            stdout: Lines::default(),
            stderr: Lines::default(),
            encoded: Vec::new(),
        })
    }

    /// Logs what was read from a stream at one time.
    pub(crate) fn write(&mut self, source: Source, bytes: &[u8], now: Moment) {
        self.log(source, now, |lines, emit| lines.feed(bytes, emit));
    }

    /// A stream has ended: logs a line that was begun.
    pub(crate) fn finish(&mut self, source: Source, now: Moment) {
        self.log(source, now, |lines, emit| lines.finish(emit));
    }

    /// Gives back memory that a quiet container does not need.
    pub(crate) fn shrink(&mut self) {
        self.encoded = Vec::new();
        self.stdout.shrink();
        self.stderr.shrink();
    }

    fn log(
        &mut self,
        source: Source,
        now: Moment,
        cut: impl FnOnce(&mut Lines, &mut dyn FnMut(Piece<'_>)),
    ) {
        let Self { files, attributes, stdout, stderr, encoded } = self;
        let frame = Frame::new(source, attributes, now);
        let lines = match source {
            Source::Stdout => stdout,
            Source::Stderr => stderr,
        };
        let note = |lost: &Lost| note(lost, attributes, now);
        cut(lines, &mut |piece| {
            frame.write(piece, encoded);
            if encoded.len() >= FLUSH {
                files.append(encoded, note);
                encoded.clear();
            }
        });
        if !encoded.is_empty() {
            files.append(encoded, note);
            encoded.clear();
        }
    }
}

/// The entry that tells of others that could not be written.
fn note(lost: &Lost, attributes: &BTreeMap<String, String>, now: Moment) -> Vec<u8> {
    let Lost { entries, reason } = lost;
    let text = format!("wadah: {entries} lines of output could not be logged here: {reason}");
    let mut entry = Vec::new();
    let piece = Piece { bytes: text.as_bytes(), partial: false };
    Frame::new(Source::Stderr, attributes, now).write(piece, &mut entry);
    entry
}

#[cfg(test)]
mod tests;
