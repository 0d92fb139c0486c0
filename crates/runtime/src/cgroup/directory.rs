//! A group's directory in one hierarchy, and its files.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags},
    io::Errno,
};

use super::CgroupError;

/// A directory, held open.
#[derive(Debug)]
pub(super) struct Directory {
    fd: OwnedFd,
    path: PathBuf,
}

/// How long the removal of a group waits for its last processes to be gone from it.
const REMOVAL: Duration = Duration::from_secs(8);
/// How deep groups inside a container may be nested for their removal.
const DEPTH: usize = 64;

impl Directory {
    /// Makes `path` and what is missing above it. The second value tells whether it is new.
    pub(super) fn make(path: PathBuf) -> Result<(Self, bool), CgroupError> {
        let new = make_all(&path)
            .map_err(|source| CgroupError::Create { path: path.clone(), source: source.into() })?;
        Ok((Self::open(path)?, new))
    }

    /// Opens `path`.
    pub(super) fn open(path: PathBuf) -> Result<Self, CgroupError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match fs::open(&path, flags, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(source) => Err(CgroupError::Open { path, source: source.into() }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a file for writing.
    pub(super) fn writer(&self, file: &str) -> Result<OwnedFd, CgroupError> {
        fs::openat(&self.fd, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
            |source| CgroupError::Open { path: self.path.join(file), source: source.into() },
        )
    }

    /// Opens a file for reading.
    pub(super) fn reader(&self, file: &str) -> Result<OwnedFd, CgroupError> {
        fs::openat(&self.fd, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
            |source| CgroupError::Read { path: self.path.join(file), source: source.into() },
        )
    }

    /// Writes a value with one system call, as the kernel wants it.
    pub(super) fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        self.try_write(file, value).map_err(|source| CgroupError::Write {
            path: self.path.join(file),
            value: value.to_owned(),
            source: source.into(),
        })
    }

    /// Writes several values to one file, each with one system call.
    pub(super) fn write_lines(
        &self,
        file: &str,
        lines: impl Iterator<Item = String>,
    ) -> Result<(), CgroupError> {
        let fd = self.writer(file)?;
        for line in lines {
            rustix::io::write(&fd, line.as_bytes()).map_err(|source| CgroupError::Write {
                path: self.path.join(file),
                value: line,
                source: source.into(),
            })?;
        }
        Ok(())
    }

    pub(super) fn try_write(&self, file: &str, value: &str) -> rustix::io::Result<()> {
        let fd = fs::openat(&self.fd, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::io::write(fd, value.as_bytes()).map(|_| ())
    }

    /// Reads a whole file.
    pub(super) fn read(&self, file: &str) -> Result<String, CgroupError> {
        self.try_read(file).map_err(|source| CgroupError::Read {
            path: self.path.join(file),
            source: source.into(),
        })
    }

    /// Reads a file that not every kernel or controller has.
    pub(super) fn read_if_there(&self, file: &str) -> Result<Option<String>, CgroupError> {
        match self.try_read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(None),
            Err(source) => {
                Err(CgroupError::Read { path: self.path.join(file), source: source.into() })
            }
        }
    }

    fn try_read(&self, file: &str) -> rustix::io::Result<String> {
        let fd = fs::openat(&self.fd, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        read_all(fd.as_fd())
    }

    pub(super) fn has(&self, file: &str) -> bool {
        fs::statat(&self.fd, file, AtFlags::empty()).is_ok()
    }

    /// Names of the files directly inside.
    pub(super) fn files(&self) -> Result<Vec<String>, CgroupError> {
        let unreadable =
            |source: Errno| CgroupError::Read { path: self.path.clone(), source: source.into() };
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.file_type() != FileType::Directory {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    /// The groups directly below.
    pub(super) fn below(&self) -> Result<Vec<Self>, CgroupError> {
        let names = names_below(self.fd.as_fd()).map_err(|source| CgroupError::Read {
            path: self.path.clone(),
            source: source.into(),
        })?;
        let mut groups = Vec::with_capacity(names.len());
        for name in names {
            match Self::open(self.path.join(name)) {
                Ok(group) => groups.push(group),
                // Removed since it was listed.
                Err(CgroupError::Open { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        Ok(groups)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads a file from its start to its end.
pub(super) fn read_all(fd: BorrowedFd<'_>) -> rustix::io::Result<String> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = rustix::io::pread(fd, &mut chunk, text.len() as u64)?;
        text.extend_from_slice(&chunk[..count]);
        if count == 0 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// Removes a group and those below it. Already gone is fine.
///
/// A process that has just been killed still holds its group for a moment, so `EBUSY` is tried
/// again until a deadline.
pub(super) fn remove(path: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + REMOVAL;
    let mut pause = Duration::from_micros(100);
    loop {
        match remove_tree(path, DEPTH) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) if Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(source) => {
                return Err(CgroupError::Remove { path: path.to_owned(), source: source.into() });
            }
        }
    }
}

fn remove_tree(path: &Path, depth: usize) -> rustix::io::Result<()> {
    match fs::rmdir(path) {
        Err(Errno::BUSY | Errno::NOTEMPTY) if depth > 0 => {}
        done => return done,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    for name in names_below(fs::open(path, flags, Mode::empty())?.as_fd())? {
        match remove_tree(&path.join(name), depth - 1) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(err) => return Err(err),
        }
    }
    fs::rmdir(path)
}

fn names_below(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

/// Makes a directory and what is missing above it; tells whether it is new.
fn make_all(path: &Path) -> rustix::io::Result<bool> {
    match fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(Errno::NOENT) => {
            let Some(above) = path.parent() else { return Err(Errno::NOENT) };
            make_all(above)?;
            match fs::mkdir(path, Mode::from_raw_mode(0o755)) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(err) => Err(err),
            }
        }
        Err(err) => Err(err),
    }
}
