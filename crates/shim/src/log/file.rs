//! The files of a log: appended to, rotated, and short of space at times.
//!
//! **Invariant:** a file holds whole entries only. What a full disk or a crash cut off is removed.
//! **Invariant:** the current file's name exists at every moment: rotation replaces it, in one
//! step.
//! **Invariant:** appending does not fail. What could not be written is counted, and the next
//! entry that can be written is preceded by a note of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use memchr::{memchr, memchr_iter, memrchr};

use crate::protocol;

/// The longest torn entry that is looked for at the end of a file: text of 16 KiB, each byte
/// escaped to six, and what stands around it.
const TORN: u64 = 256 << 10;

/// The files of one log.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    current: File,
    size: u64,
    max_size: u64,
    max_files: u32,
    lost: Option<Lost>,
}

/// Entries that could not be written.
#[derive(Debug)]
pub(super) struct Lost {
    /// How many.
    pub(super) entries: usize,
    /// Why the first was.
    pub(super) reason: io::Error,
}

impl Files {
    /// Opens the current file, and makes it if it is not there.
    pub(super) fn open(log: &protocol::Log) -> io::Result<Self> {
        let mut current = open_append(&log.path)?;
        let size = remove_torn_entry(&mut current)?;
        let path = log.path.clone();
        let (max_size, max_files) = (log.max_size, log.max_files.max(1));
        Ok(Self { path, current, size, max_size, max_files, lost: None })
    }

    /// Appends whole entries. `note` writes the entry that tells what was lost before.
    pub(super) fn append(&mut self, entries: &[u8], note: impl FnOnce(&Lost) -> Vec<u8>) {
        if let Some(lost) = &self.lost {
            let note = note(lost);
            let Err((written, _)) = self.write(&note) else {
                self.lost = None;
                return self.append_now(entries);
            };
            debug_assert_eq!(written, 0, "a note is one entry");
            return self.lose(entries, None);
        }
        self.append_now(entries);
    }

    /// Appends whole entries, and counts those that did not find their place.
    fn append_now(&mut self, entries: &[u8]) {
        if let Err((written, reason)) = self.write(entries) {
            self.lose(&entries[written..], Some(reason));
        }
    }

    /// Counts what was not written.
    fn lose(&mut self, entries: &[u8], reason: Option<io::Error>) {
        let count = memchr_iter(b'\n', entries).count();
        match (&mut self.lost, reason) {
            (Some(lost), _) => lost.entries += count,
            (lost @ None, Some(reason)) => *lost = Some(Lost { entries: count, reason }),
            (None, None) => {}
        }
    }

    /// Writes whole entries, each into the file it belongs to; an error tells how many bytes of
    /// whole entries were written before it.
    fn write(&mut self, entries: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut done = 0;
        while done < entries.len() {
            let rest = &entries[done..];
            let fitting = self.fitting(rest);
            if fitting == 0 {
                self.rotate().map_err(|error| (done, error))?;
                continue;
            }
            match self.write_to_current(&rest[..fitting]) {
                Ok(()) => done += fitting,
                Err((written, error)) => return Err((done + written, error)),
            }
        }
        Ok(())
    }

    /// How many bytes of whole entries fit into the current file: at least one entry into an
    /// empty one.
    fn fitting(&self, entries: &[u8]) -> usize {
        let room = match self.max_size {
            0 => entries.len(),
            max => usize::try_from(max.saturating_sub(self.size)).unwrap_or(usize::MAX),
        };
        if entries.len() <= room {
            return entries.len();
        }
        match memrchr(b'\n', &entries[..room]) {
            Some(last) => last + 1,
            None if self.size == 0 => {
                memchr(b'\n', entries).map_or(entries.len(), |first| first + 1)
            }
            None => 0,
        }
    }

    /// Writes whole entries; after an error, removes the one that was torn.
    fn write_to_current(&mut self, entries: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < entries.len() {
            match self.current.write(&entries[written..]) {
                Ok(0) => {
                    return Err(self.untear(&entries[..written], io::ErrorKind::WriteZero.into()));
                }
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.untear(&entries[..written], error)),
            }
        }
        self.size += written as u64;
        Ok(())
    }

    /// Cuts the file back to the last whole entry of what was written.
    fn untear(&mut self, written: &[u8], error: io::Error) -> (usize, io::Error) {
        let whole = memrchr(b'\n', written).map_or(0, |last| last + 1);
        self.size += whole as u64;
        // Should this fail, the entry stays torn; a reader skips a line that is no JSON.
        drop(self.current.set_len(self.size));
        (whole, error)
    }

    /// Starts a new current file, and moves the older ones along.
    ///
    /// The new file is made first, so that a disk without space for it leaves all as it was.
    fn rotate(&mut self) -> io::Result<()> {
        let new = self.numbered("new");
        drop(fs::remove_file(&new));
        let file = open_append(&new)?;
        let names: Vec<PathBuf> =
            (1..self.max_files).map(|number| self.numbered(&number.to_string())).collect();
        for pair in names.windows(2).rev() {
            rename_if_there(&pair[0], &pair[1])?;
        }
        if let Some(first) = names.first() {
            // Its former holder was renamed, unless it is the last that is kept.
            drop(fs::remove_file(first));
            fs::hard_link(&self.path, first)?;
        }
        fs::rename(&new, &self.path)?;
        (self.current, self.size) = (file, 0);
        Ok(())
    }

    /// Puts another file in the current one's place.
    #[cfg(test)]
    pub(super) fn replace_current(&mut self, file: File) -> File {
        std::mem::replace(&mut self.current, file)
    }

    /// The current file's name with something behind it.
    fn numbered(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Cuts off what follows the last whole entry, left by a machine or a shim that died; returns the
/// file's size.
fn remove_torn_entry(file: &mut File) -> io::Result<u64> {
    let size = file.metadata()?.len();
    let start = size.saturating_sub(TORN);
    let mut last = [0];
    if size > 0 {
        file.seek(SeekFrom::Start(size - 1))?;
        file.read_exact(&mut last)?;
    }
    if size == 0 || last == *b"\n" {
        return Ok(size);
    }
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.take(TORN).read_to_end(&mut tail)?;
    let size = start + memrchr(b'\n', &tail).map_or(0, |last| last as u64 + 1);
    file.set_len(size)?;
    Ok(size)
}
