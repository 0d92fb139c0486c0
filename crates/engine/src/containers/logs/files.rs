//! The files of one log, read from the oldest to the newest.
//!
//! Files are told apart by inode, since rotation renames them: `log` becomes `log.1`, that
//! becomes `log.2`. A rotation between two looks leaves no gap: the reader finds where its file
//! has gone, and goes on with the next newer one.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::entry::Entry;
use crate::EngineError;

/// How much is read at once.
const BLOCK: usize = 64 << 10;

/// The longest line that is kept in memory; a longer one is no entry.
const LINE: usize = 1 << 20;

/// Where a log's files are.
#[derive(Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
    max_files: u32,
}

/// The files of a log, open at some place.
#[derive(Debug)]
pub(super) struct OpenLog {
    files: LogFiles,
    current: Option<File>,
    /// What was read of a line that has not ended.
    rest: Vec<u8>,
}

impl LogFiles {
    pub(super) fn new(path: PathBuf, max_files: u32) -> Self {
        Self { path, max_files }
    }

    /// The directory they are in.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// Opens them: at the beginning, or so many entries before the end.
    pub(super) fn open(self, tail: Option<u64>) -> Result<OpenLog, EngineError> {
        let opened = self.open_at(tail);
        let current = opened.map_err(|it| self.error(it))?;
        Ok(OpenLog { files: self, current, rest: Vec::new() })
    }

    fn open_at(&self, tail: Option<u64>) -> io::Result<Option<File>> {
        let all = self.all()?;
        let Some(mut wanted) = tail else { return Ok(all.into_iter().next_back()) };
        // From the newest to the oldest, until there are enough.
        let mut oldest = None;
        for mut file in all {
            let end = file.metadata()?.len();
            let (start, found) = tail_start(&file, end, wanted)?;
            file.seek(SeekFrom::Start(start))?;
            oldest = Some(file);
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        Ok(oldest)
    }

    /// All files, the newest first.
    fn all(&self) -> io::Result<Vec<File>> {
        let mut all: Vec<File> = Vec::new();
        let mut inodes = Vec::new();
        for number in 0..self.max_files {
            let Some(file) = self.file(number)? else { continue };
            // A rotation between two looks shows the same file twice.
            let inode = inode(&file)?;
            if !inodes.contains(&inode) {
                inodes.push(inode);
                all.push(file);
            }
        }
        Ok(all)
    }

    fn file(&self, number: u32) -> io::Result<Option<File>> {
        let mut path = self.path.as_os_str().to_owned();
        if number > 0 {
            path.push(format!(".{number}"));
        }
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file that is newer than `current` by one; nothing if that is the newest.
    fn newer(&self, current: Option<&File>) -> io::Result<Option<File>> {
        let Some(current) = current else { return Ok(self.all()?.into_iter().next_back()) };
        let inode = inode(current)?;
        let mut newer = None;
        for file in self.all()? {
            if self::inode(&file)? == inode {
                return Ok(newer);
            }
            newer = Some(file);
        }
        // Rotated away while it was read: the oldest that is left is the next.
        Ok(newer)
    }

    fn error(&self, source: io::Error) -> EngineError {
        EngineError::io(format!("cannot read the log {}", self.path.display()), source)
    }
}

impl OpenLog {
    /// Reads the next entries; none at the end.
    pub(super) fn read(mut self) -> Result<(Self, Vec<Entry>), EngineError> {
        let mut entries = Vec::new();
        while entries.is_empty() {
            let read = self.read_block(&mut entries);
            match read.map_err(|it| self.files.error(it))? {
                0 => {}
                _ => continue,
            }
            // Nobody writes to a file that has been rotated: read to the end, it is done with.
            let newer = self.files.newer(self.current.as_ref());
            let Some(newer) = newer.map_err(|it| self.files.error(it))? else { break };
            let last = self.read_block(&mut entries).map_err(|it| self.files.error(it))?;
            if last == 0 {
                self.current = Some(newer);
                self.rest.clear();
            }
        }
        Ok((self, entries))
    }

    fn read_block(&mut self, entries: &mut Vec<Entry>) -> io::Result<usize> {
        let Some(file) = &mut self.current else { return Ok(0) };
        let before = self.rest.len();
        let read = file.take(BLOCK as u64).read_to_end(&mut self.rest)?;
        let mut consumed = 0;
        let mut from = before;
        while let Some(at) = memchr_from(&self.rest, from) {
            entries.extend(Entry::parse(&self.rest[consumed..at]));
            consumed = at + 1;
            from = consumed;
        }
        self.rest.drain(..consumed);
        if self.rest.len() > LINE {
            self.rest.clear();
        }
        Ok(read)
    }
}

fn memchr_from(bytes: &[u8], from: usize) -> Option<usize> {
    bytes[from..].iter().position(|it| *it == b'\n').map(|it| it + from)
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Where the last `wanted` lines of a file begin, and how many there are.
fn tail_start(file: &File, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut buffer = vec![0; BLOCK];
    let (mut at, mut found) = (end, 0);
    if wanted == 0 {
        return Ok((end, 0));
    }
    while at > 0 {
        let length = at.min(BLOCK as u64);
        let block = &mut buffer[..usize::try_from(length).unwrap_or(BLOCK)];
        at -= length;
        file.read_exact_at(block, at)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let place = at + index as u64;
            // The line feed at the very end closes the last line, and begins none.
            if *byte == b'\n' && place + 1 != end {
                found += 1;
                if found == wanted {
                    return Ok((place + 1, found));
                }
            }
        }
    }
    Ok((0, if end > 0 { found + 1 } else { 0 }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn line(number: u32) -> String {
        format!(
            "{{\"log\":\"{number}\\n\",\"stream\":\"stdout\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"
        )
    }

    fn write(path: &Path, numbers: std::ops::Range<u32>) {
        let text: String = numbers.map(line).collect();
        fs::write(path, text).unwrap();
    }

    fn numbers(log: OpenLog) -> (OpenLog, Vec<u32>) {
        let mut log = log;
        let mut all = Vec::new();
        loop {
            let (next, entries) = log.read().unwrap();
            log = next;
            if entries.is_empty() {
                return (log, all);
            }
            all.extend(entries.iter().map(|it| it.text.trim().parse::<u32>().unwrap()));
        }
    }

    fn rotated() -> (tempfile::TempDir, PathBuf) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        write(&scratch.path().join("log.2"), 0..1000);
        write(&scratch.path().join("log.1"), 1000..2000);
        write(&path, 2000..3000);
        (scratch, path)
    }

    #[test]
    fn rotated_files_are_read_from_the_oldest_on() {
        let (_scratch, path) = rotated();
        let log = LogFiles::new(path, 3).open(None).unwrap();
        assert_eq!(numbers(log).1, (0..3000).collect::<Vec<_>>());
    }

    #[test]
    fn the_tail_reaches_into_older_files() {
        for wanted in [0, 1, 999, 1000, 1001, 2500, 3000, 9999] {
            let (_scratch, path) = rotated();
            let log = LogFiles::new(path, 3).open(Some(wanted)).unwrap();
            let first = 3000_u32.saturating_sub(u32::try_from(wanted).unwrap());
            assert_eq!(numbers(log).1, (first..3000).collect::<Vec<_>>(), "tail {wanted}");
        }
    }

    #[test]
    fn a_rotation_while_reading_leaves_no_gap() {
        let (scratch, path) = rotated();
        let log = LogFiles::new(path.clone(), 3).open(None).unwrap();
        let (log, _) = numbers(log);
        let name = |number: u32| scratch.path().join(format!("log.{number}"));
        let append = line(3000);
        io::Write::write_all(
            &mut fs::OpenOptions::new().append(true).open(&path).unwrap(),
            append.as_bytes(),
        )
        .unwrap();
        fs::rename(name(1), name(2)).unwrap();
        fs::rename(&path, name(1)).unwrap();
        write(&path, 3001..3003);
        assert_eq!(numbers(log).1, [3000, 3001, 3002]);
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("log");
        let text = line(7);
        let (first, second) = text.split_at(20);
        fs::write(&path, first).unwrap();
        let log = LogFiles::new(path.clone(), 1).open(None).unwrap();
        let (log, none) = numbers(log);
        assert!(none.is_empty());
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut file, second.as_bytes()).unwrap();
        assert_eq!(numbers(log).1, [7]);
    }
}
