//! Copying what is at a mount point into the empty filesystem that will cover it.
//!
//! **Invariant:** no link is followed and nothing but directories, regular files and links is
//! copied; the tree is walked by descriptor.

use std::{
    ffi::{CStr, OsStr},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{
        AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, mkdirat,
        openat, readlinkat, statat, symlinkat,
    },
    io::Errno,
};

/// How deep a tree may be.
const MAX_DEPTH: u32 = 256;

/// Copies the contents of the directory `from` (`O_PATH` is enough) into `to`.
pub(super) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = openat(from, ".", flags, Mode::empty())?;
    let to = openat(to, ".", flags, Mode::empty())?;
    copy_directory(&from, &to, 0)
}

fn copy_directory(from: &OwnedFd, to: &OwnedFd, depth: u32) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP.into());
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            copy_entry(from, to, name, depth)?;
        }
    }
    let stat = rustix::fs::fstat(from)?;
    give(to.as_fd(), &stat)
}

fn copy_entry(from: &OwnedFd, to: &OwnedFd, name: &CStr, depth: u32) -> io::Result<()> {
    let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = flags | OFlags::RDONLY | OFlags::DIRECTORY;
            mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let below = openat(from, name, flags, Mode::empty())?;
            copy_directory(&below, &openat(to, name, flags, Mode::empty())?, depth + 1)
        }
        FileType::RegularFile => {
            let source = openat(from, name, flags | OFlags::RDONLY, Mode::empty())?;
            let create = flags | OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
            let target = openat(to, name, create, Mode::from_raw_mode(0o600))?;
            // Whoever swapped it for something endless since gets no more than was there.
            let mut limited =
                io::Read::take(File::from(source), stat.st_size.try_into().unwrap_or(0));
            io::copy(&mut limited, &mut File::from(target.try_clone()?))?;
            give(target.as_fd(), &stat)
        }
        FileType::Symlink => {
            let target = readlinkat(from, name, Vec::new())?;
            symlinkat(OsStr::from_bytes(target.to_bytes()), to, name)?;
            let (uid, gid) = owner(&stat);
            Ok(chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
        }
        _ => Ok(()),
    }
}

fn give(fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    fchown(fd, uid, gid)?;
    Ok(fchmod(fd, Mode::from_raw_mode(stat.st_mode))?)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}
