//! Directories that a layer has things in but does not describe.
//!
//! Archives need not have an entry for every parent. Such a directory must look, in the stack, as
//! it does below: otherwise adding `/etc/motd` would reset the mode and the owner of `/etc`.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid},
    io::Errno,
};

use super::{
    journal::{Record, Records},
    path::EntryPath,
    unpack::JOURNAL,
    walk::{IMPLIED, open_child, unmark},
};
use crate::disk::DiskError;

/// Gives the implied directories of the staged layer the looks of those below, and forgets which
/// they were.
pub(super) fn settle(staged: &Path, lower: &[PathBuf]) -> Result<(), DiskError> {
    let journal = staged.join(JOURNAL);
    let settled = settle_all(staged, &journal, lower);
    settled.map_err(DiskError::new("settle the directories of", staged))?;
    std::fs::remove_file(&journal).map_err(DiskError::new("remove", &journal))
}

fn settle_all(staged: &Path, journal: &Path, lower: &[PathBuf]) -> io::Result<()> {
    let root = open_child(CWD, staged.join("fs"))?;
    let lower: Vec<OwnedFd> =
        lower.iter().map(|it| File::open(it).map(OwnedFd::from)).collect::<io::Result<_>>()?;
    for record in Records::open(journal)? {
        if let Record::Implied(path) = record? {
            settle_one(&root, &path, &lower)?;
        }
    }
    Ok(())
}

fn settle_one(root: &OwnedFd, path: &EntryPath, lower: &[OwnedFd]) -> io::Result<()> {
    // A later entry may have replaced, or described, the directory.
    let Ok(directory) = open(root, path) else { return Ok(()) };
    if !unmark(&directory, IMPLIED)? {
        return Ok(());
    }
    if let Some(like) = below(path, lower)? {
        let owner = Uid::from_raw(like.st_uid);
        rustix::fs::fchown(&directory, Some(owner), Some(Gid::from_raw(like.st_gid)))?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(like.st_mode & 0o7777))?;
        let nanoseconds = like.st_mtime_nsec.try_into().unwrap_or_default();
        let time = Timespec { tv_sec: like.st_mtime, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::futimens(&directory, &times)?;
    }
    Ok(())
}

/// How the directory looks in the nearest layer that has it. A layer that has something else
/// there hides what is further down.
fn below(path: &EntryPath, lower: &[OwnedFd]) -> io::Result<Option<Stat>> {
    for layer in lower {
        match open(layer, path) {
            Ok(directory) => return Ok(Some(rustix::fs::fstat(directory)?)),
            Err(Errno::NOENT) => {}
            Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

fn open(root: &OwnedFd, path: &EntryPath) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let path = if path.is_root() { b"." } else { path.as_bytes() };
    rustix::fs::openat2(root.as_fd(), path, flags, Mode::empty(), resolve)
}
