//! What has to be done to directories once everything is in them, written down in a file.
//!
//! In a file, because a layer may have any number of directories, and memory is bounded.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _},
    path::Path,
};

use super::path::EntryPath;
use crate::tar::Time;

/// One thing to be done.
pub(super) enum Record {
    /// This directory was last changed then.
    Time(EntryPath, Time),
    /// This directory had no entry of its own: it looks like what lies below it.
    Implied(EntryPath),
}

pub(super) struct Journal {
    writer: BufWriter<File>,
}

pub(super) struct Records {
    reader: BufReader<File>,
}

impl Journal {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { writer: BufWriter::with_capacity(64 << 10, File::create_new(path)?) })
    }

    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        let (kind, path, time) = match record {
            Record::Time(path, time) => (b'T', path, *time),
            Record::Implied(path) => (b'I', path, Time::default()),
        };
        let length = u32::try_from(path.as_bytes().len()).map_err(io::Error::other)?;
        self.writer.write_all(&[kind])?;
        self.writer.write_all(&time.seconds.to_le_bytes())?;
        self.writer.write_all(&time.nanoseconds.to_le_bytes())?;
        self.writer.write_all(&length.to_le_bytes())?;
        self.writer.write_all(path.as_bytes())
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Records {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { reader: BufReader::with_capacity(64 << 10, File::open(path)?) })
    }

    fn read(&mut self) -> io::Result<Record> {
        let kind = self.array::<1>()?[0];
        let seconds = i64::from_le_bytes(self.array()?);
        let nanoseconds = u32::from_le_bytes(self.array()?);
        let mut path = vec![0; u32::from_le_bytes(self.array()?) as usize];
        self.reader.read_exact(&mut path)?;
        let path = EntryPath::from_bytes(path);
        Ok(match kind {
            b'T' => Record::Time(path, Time { seconds, nanoseconds }),
            _ => Record::Implied(path),
        })
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl Iterator for Records {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.reader.fill_buf() {
            Ok([]) => None,
            Ok(_) => Some(self.read()),
            Err(error) => Some(Err(error)),
        }
    }
}
