//! Reading tar streams: ustar, GNU and pax (POSIX.1-2024, `pax`, "pax Interchange Format"; GNU
//! tar's manual, "Basic Tar Format").
//!
//! Our own, because archives are hostile and what a reader tolerates decides what two programs
//! see in one archive: names, sparse maps and pax records are bounded, a number that is out of
//! range is an error and never wraps, and the size that counts is settled in one place. Entries
//! that carry no data have a size of zero whatever their header says, as Go's `archive/tar` has
//! it, which is what wrote most images.
//!
//! **Invariant:** memory is bounded by [`SPECIAL_LIMIT`], whatever the archive says.
//! **Invariant:** nothing here touches a file system.

mod header;
mod pax;
mod sparse;
mod writer;

use std::io::{self, BufRead, Read};

use header::{BLOCK, Header};
use pax::Overrides;
pub use sparse::Extent;
pub use writer::Writer;

/// How long a pax header, a long name or a sparse map may be.
pub const SPECIAL_LIMIT: u64 = 1 << 20;

/// Reads one archive.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    /// How many bytes of the archive were read.
    position: u64,
    /// How many bytes of the current entry's data were not read yet.
    remaining: u64,
    /// The padding after them.
    padding: u64,
    ended: bool,
}

/// One member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name, as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with the set-id and sticky bits.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The time of the last change.
    pub mtime: Time,
    /// How long the file is, holes included. Zero for all but regular files.
    pub size: u64,
    /// Where the data go, if the file has holes.
    pub sparse: Option<Vec<Extent>>,
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link to this.
    Symlink(Vec<u8>),
    /// A further name of the file that has this one.
    HardLink(Vec<u8>),
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A point in time, from the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: u32,
}

/// Why an archive could not be read further.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream failed.
    #[error("cannot read the archive")]
    Source {
        /// Why.
        source: io::Error,
    },
    /// The stream ends within an entry.
    #[error("the archive is truncated at byte {position}")]
    Truncated {
        /// Where it ends.
        position: u64,
    },
    /// An entry is not what the format allows.
    #[error("invalid tar entry before byte {position}: {problem}")]
    Invalid {
        /// Where the reader stood.
        position: u64,
        /// What is wrong.
        problem: Problem,
    },
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The header's sum is wrong: this is no tar archive, or a damaged one.
    #[error("the header's checksum is wrong")]
    Checksum,
    /// A numeric field has something else, or overflows.
    #[error("{0} is not a number in range")]
    Number(&'static str),
    /// A pax record is malformed.
    #[error("a pax record is malformed")]
    Pax,
    /// A special entry is too long.
    #[error("{0} is longer than {SPECIAL_LIMIT} bytes")]
    TooLong(&'static str),
    /// The sparse map does not fit the file.
    #[error("the sparse map is inconsistent")]
    Sparse,
    /// A type this reader does not know.
    #[error("unknown type {0:#04x}")]
    Type(u8),
    /// One block of zeros is followed by something else.
    #[error("a lone block of zeros")]
    LoneZero,
}

impl<R: BufRead> Reader<R> {
    /// Reads the archive that `source` gives.
    pub fn new(source: R) -> Self {
        Self { source, position: 0, remaining: 0, padding: 0, ended: false }
    }

    /// Goes to the next entry, past what is left of the current one's data.
    pub fn advance(&mut self) -> Result<Option<Entry>, TarError> {
        let mut overrides = Overrides::default();
        loop {
            self.skip_data()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.size().map_err(|it| self.invalid(it))?;
            match header.kind() {
                b'x' => {
                    overrides.pax = pax::parse(&self.special(size, "a pax header")?)
                        .map_err(|it| self.invalid(it))?
                }
                b'L' => overrides.path = Some(self.long_name(size)?),
                b'K' => overrides.link = Some(self.long_name(size)?),
                // Go's reader hands global headers to its caller, and Docker skips them: so do we.
                b'g' | b'V' => self.expect_data(size),
                _ => return self.entry(&header, size, overrides).map(Some),
            }
        }
    }

    /// Gives the current entry's data, piece by piece, each with its place in the file.
    pub fn pieces<E: From<TarError>>(
        &mut self,
        entry: &Entry,
        mut sink: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let whole = [Extent { offset: 0, length: self.remaining }];
        for extent in entry.sparse.as_deref().unwrap_or(&whole) {
            let mut done = 0;
            while done < extent.length {
                let piece = self.fill(extent.length - done)?;
                let length = piece.len();
                sink(extent.offset + done, piece)?;
                self.consumed(length);
                done += length as u64;
            }
        }
        Ok(())
    }

    /// The current entry's data as they lie in the archive.
    pub fn data(&mut self) -> Data<'_, R> {
        Data { reader: self }
    }

    /// What the archive is read from.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn entry(
        &mut self,
        header: &Header,
        size: u64,
        overrides: Overrides,
    ) -> Result<Entry, TarError> {
        let (mut entry, size) =
            overrides.apply(header, size).map_err(|problem| self.invalid(problem))?;
        let is_file = entry.kind == Kind::File;
        self.expect_data(if is_file { size } else { 0 });
        if is_file {
            entry.size = size;
            self.read_sparse_map(header, &overrides.pax, &mut entry)?;
        }
        Ok(entry)
    }

    fn read_sparse_map(
        &mut self,
        header: &Header,
        pax: &pax::Records,
        entry: &mut Entry,
    ) -> Result<(), TarError> {
        let invalid = |reader: &Self, problem| reader.invalid(problem);
        let (extents, size) = if header.kind() == b'S' {
            let mut map = sparse::GnuMap::begin(header).map_err(|it| invalid(self, it))?;
            while map.goes_on {
                let block = self.block()?.ok_or_else(|| self.truncated())?;
                map.extend(&block).map_err(|it| invalid(self, it))?;
            }
            (map.extents, map.size)
        } else if let Some((extents, size)) = pax.sparse_map().map_err(|it| invalid(self, it))? {
            (extents, size)
        } else if let Some(size) = pax.sparse_map_in_data().map_err(|it| invalid(self, it))? {
            (self.sparse_map_in_data()?, size)
        } else {
            return Ok(());
        };
        sparse::check(&extents, size, self.remaining).map_err(|it| invalid(self, it))?;
        entry.size = size;
        entry.sparse = Some(extents);
        Ok(())
    }

    /// The map of GNU sparse format 1.0: decimal lines before the data, padded to whole blocks.
    fn sparse_map_in_data(&mut self) -> Result<Vec<Extent>, TarError> {
        let mut parser = sparse::LineParser::default();
        let mut read = 0;
        while !parser.is_done() {
            if self.remaining < BLOCK as u64 {
                return Err(self.invalid(Problem::Sparse));
            }
            read += BLOCK as u64;
            if read > SPECIAL_LIMIT {
                return Err(self.invalid(Problem::TooLong("a sparse map")));
            }
            let block = self.block()?.ok_or_else(|| self.truncated())?;
            self.remaining -= BLOCK as u64;
            parser.feed(&block).map_err(|problem| self.invalid(problem))?;
        }
        Ok(parser.extents())
    }

    /// Reads a header, or the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block != [0; BLOCK] {
            return Header::parse(block).map(Some).map_err(|it| self.invalid(it));
        }
        self.ended = true;
        match self.block()? {
            Some(second) if second != [0; BLOCK] => Err(self.invalid(Problem::LoneZero)),
            _ => Ok(None),
        }
    }

    fn long_name(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        let mut name = self.special(size, "a long name")?;
        if let Some(end) = name.iter().position(|it| *it == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn special(&mut self, size: u64, what: &'static str) -> Result<Vec<u8>, TarError> {
        if size > SPECIAL_LIMIT {
            return Err(self.invalid(Problem::TooLong(what)));
        }
        self.expect_data(size);
        let mut bytes = Vec::new();
        while self.remaining > 0 {
            let piece = self.fill(self.remaining)?;
            bytes.extend_from_slice(piece);
            let length = piece.len();
            self.consumed(length);
        }
        Ok(bytes)
    }

    fn expect_data(&mut self, size: u64) {
        self.remaining = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        // The padding after the last entry's data may be missing at the very end.
        while self.remaining > 0 {
            let length = self.fill(self.remaining)?.len();
            self.consumed(length);
        }
        self.remaining = std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            let length = self.fill(self.remaining)?.len();
            self.consumed(length);
        }
        Ok(())
    }

    /// Some of the current entry's data: at least one byte, at most `limit`.
    fn fill(&mut self, limit: u64) -> Result<&[u8], TarError> {
        let position = self.position;
        loop {
            // The borrow checker does not see that the buffer returned is the one just filled.
            match self.source.fill_buf() {
                Ok([]) => return Err(TarError::Truncated { position }),
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Source { source }),
            }
        }
        let buffer = self.source.fill_buf().map_err(|source| TarError::Source { source })?;
        let limit = usize::try_from(limit.min(self.remaining)).unwrap_or(usize::MAX);
        Ok(&buffer[..buffer.len().min(limit)])
    }

    fn consumed(&mut self, length: usize) {
        self.source.consume(length);
        self.position += length as u64;
        self.remaining -= length as u64;
    }

    /// Reads a whole block; nothing at the end of the stream.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(length) => {
                    filled += length;
                    self.position += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(TarError::Source { source }),
            }
        }
        Ok(Some(block))
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated { position: self.position }
    }

    fn invalid(&self, problem: Problem) -> TarError {
        TarError::Invalid { position: self.position, problem }
    }
}

/// Reads one entry's data.
#[derive(Debug)]
pub struct Data<'a, R> {
    reader: &'a mut Reader<R>,
}

impl<R: BufRead> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.reader.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let limit = self.reader.remaining.min(buffer.len() as u64);
        let piece = self.reader.fill(limit).map_err(|error| match error {
            TarError::Source { source } => source,
            other => io::Error::new(io::ErrorKind::UnexpectedEof, other),
        })?;
        let length = piece.len();
        buffer[..length].copy_from_slice(piece);
        self.reader.consumed(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests;
