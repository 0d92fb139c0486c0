//! Paths that a container must not see, or not change.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, makedev},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
};
use wadah_sys::{
    mount::{Change, attribute, set_attributes},
    rootfs::Root,
};

use super::{
    devices::host_node,
    mounts::{attach, make_filesystem},
};
use crate::{
    channel::{Context, Failure},
    plan::Attributes,
};

/// Covers what is at the paths: a file by the host's `/dev/null`, a directory by an empty one.
/// Paths that lead nowhere are passed over.
pub(super) fn mask(root: &Root, paths: &[String]) -> Result<(), Failure> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let step = || format!("mask {path:?}");
        let Some(target) = open(root, path).step(step)? else { continue };
        let kind = FileType::from_raw_mode(fstat(&target).step(step)?.st_mode);
        if kind == FileType::Directory {
            // One empty filesystem for all: the first place gets it, the others copies.
            let tree = match &empty {
                Some(first) => copy(first.as_fd(), false).step(step)?,
                None => empty_directory().step(step)?,
            };
            attach(tree.as_fd(), target.as_fd()).step(step)?;
            empty.get_or_insert(tree);
        } else {
            // Not the container's `/dev/null`, which may be anything by now.
            let null = host_node(Path::new("/dev/null"), FileType::CharacterDevice, makedev(1, 3));
            attach(null.step(step)?.as_fd(), target.as_fd()).step(step)?;
        }
    }
    Ok(())
}

/// Makes what is at the paths, and all mounted below, read-only.
pub(super) fn make_read_only(root: &Root, paths: &[String]) -> Result<(), Failure> {
    let change = Change { set: attribute::READ_ONLY, recursive: true, ..Change::default() };
    for path in paths {
        let step = || format!("make {path:?} read-only");
        let Some(target) = open(root, path).step(step)? else { continue };
        let tree = copy(target.as_fd(), true).step(step)?;
        set_attributes(tree.as_fd(), &change).step(step)?;
        attach(tree.as_fd(), target.as_fd()).step(step)?;
    }
    Ok(())
}

fn open(root: &Root, path: &str) -> io::Result<Option<OwnedFd>> {
    match root.open_at(Path::new(path), OFlags::PATH, Mode::empty()) {
        Ok(found) => Ok(Some(found)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            _ => Err(error),
        },
    }
}

fn empty_directory() -> rustix::io::Result<OwnedFd> {
    let parameters = [("nr_inodes", "1"), ("nr_blocks", "1"), ("mode", "555")];
    let parameters = parameters.map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    let set = attribute::READ_ONLY | attribute::NO_SUID | attribute::NO_DEV | attribute::NO_EXEC;
    make_filesystem("tmpfs", &parameters, Attributes { set, clear: 0 }).map_err(|(errno, _)| errno)
}

fn copy(mount: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let below = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    open_tree(mount, "", flags | below)
}
