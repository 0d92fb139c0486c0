//! Removing whole trees, whatever a container or a layer made of them.
//!
//! **Invariant:** nothing outside the tree is touched: every step is relative to a descriptor and
//! follows no link; a mount on the way is not entered (`rmdir` of it fails with `EBUSY`, which is
//! reported).
//! **Invariant:** depth costs neither stack nor descriptors. A tree 10,000 deep is flattened: what
//! lies deeper than [`MAX_DEPTH`] is renamed up to the top first.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};

const MAX_DEPTH: usize = 24;

/// A tree that could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {path}", path = .path.display())]
pub struct RemoveTreeError {
    /// The tree.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Removes the file or tree at `path`, whose parents are trusted. One that is not there is fine.
pub fn remove_tree(path: &Path) -> Result<(), RemoveTreeError> {
    remove_at(CWD, path).map_err(|source| RemoveTreeError { path: path.into(), source })
}

fn remove_at(parent: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, path, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
        Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let top = open_directory(parent, path)?;
    empty(&top)?;
    drop(top);
    rustix::fs::unlinkat(parent, path, AtFlags::REMOVEDIR).map_err(Into::into)
}

/// Removes everything in the directory `top`, but not the directory itself.
pub(crate) fn empty(top: &OwnedFd) -> io::Result<()> {
    let mut removal = Removal { top: top.as_fd(), flattened: 0, device: device_of(top)? };
    // What was renamed up to the top is met by a further round.
    loop {
        let before = removal.flattened;
        removal.empty(top.as_fd(), 0)?;
        if removal.flattened == before {
            return Ok(());
        }
    }
}

fn device_of(directory: &OwnedFd) -> io::Result<u64> {
    Ok(rustix::fs::fstat(directory)?.st_dev)
}

fn open_directory<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    flattened: u64,
    device: u64,
}

impl Removal<'_> {
    fn empty(&mut self, directory: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.remove(directory, name, entry.file_type(), depth)?;
        }
        Ok(())
    }

    fn remove(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &CStr,
        kind: FileType,
        depth: usize,
    ) -> io::Result<()> {
        if kind != FileType::Directory {
            match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
                Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
                Err(rustix::io::Errno::ISDIR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(rustix::io::Errno::NOTEMPTY) => {}
            Err(error) => return Err(error.into()),
        }
        if depth >= MAX_DEPTH {
            return self.flatten(parent, name);
        }
        let child = open_directory(parent, name)?;
        if device_of(&child)? != self.device {
            return Err(rustix::io::Errno::BUSY.into());
        }
        self.empty(child.as_fd(), depth + 1)?;
        drop(child);
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }

    /// Moves a directory that lies too deep to the top.
    fn flatten(&mut self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        loop {
            self.flattened += 1;
            let there = format!(".flattened-{}", self.flattened);
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(parent, name, self.top, there.as_str(), flags) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_tree_of_any_depth_is_removed_and_links_are_not_followed() {
        let scratch = tempfile::tempdir().unwrap();
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        let tree = scratch.path().join("tree");
        fs::create_dir(&tree).unwrap();
        symlink(&outside, tree.join("link")).unwrap();
        let mut at: OwnedFd = open_directory(CWD, tree.as_path()).unwrap();
        for _ in 0..10_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            let flags = OFlags::CREATE | OFlags::WRONLY;
            rustix::fs::openat(&at, "f", flags, Mode::RUSR).unwrap();
            at = open_directory(at.as_fd(), "d").unwrap();
        }
        drop(at);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        remove_tree(&tree).unwrap();
    }
}
