//! Small acts on files and directories, each with an error that names its path.
//!
//! **Invariant:** [`write_atomically`] leaves either the old file or the whole new one, also
//! after a power cut.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// An act on the disk that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}", path = .path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub act: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl DiskError {
    pub(crate) fn new(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { act, path: path.into(), source }
    }

    /// Whether the disk, or a quota on it, is full.
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// Makes the directory unless it is there, and gives it `mode`, whatever the umask.
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), DiskError> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(DiskError::new("create directory", path)(error)),
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(DiskError::new("set the mode of", path))
}

/// Flushes a directory, so that what was renamed into it stays after a power cut.
pub(crate) fn sync_directory(path: &Path) -> Result<(), DiskError> {
    File::open(path).and_then(|it| it.sync_all()).map_err(DiskError::new("flush", path))
}

/// Replaces the file at `path` by `bytes`, durably: written beside it, flushed, renamed.
pub fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    let beside = beside(path);
    let written = write_whole(&beside, bytes, mode)
        .and_then(|()| fs::rename(&beside, path).map_err(DiskError::new("replace", path)));
    if written.is_err() {
        // The error that matters is the first one; a leftover is overwritten by the next try.
        fs::remove_file(&beside).unwrap_or_default();
    }
    written?;
    path.parent().map_or(Ok(()), sync_directory)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(DiskError::new("create", path))?;
    file.write_all(bytes).map_err(DiskError::new("write", path))?;
    file.sync_all().map_err(DiskError::new("flush", path))
}
