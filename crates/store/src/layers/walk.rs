//! Walking a layer's tree while it is being unpacked.
//!
//! **Invariant:** every path is resolved by the kernel below the layer's root
//! (`RESOLVE_IN_ROOT`), and what is then changed is named by a descriptor of its parent and one
//! component, which is not followed.

use std::{
    ffi::OsStr,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags},
    io::Errno,
};

use super::path::{EntryPath, PathProblem};

/// Marks a directory that no entry described, until it is known what lies below.
pub(super) const IMPLIED: &str = "trusted.wadah.implied";
/// Marks a directory that hides what is below it (kernel, `overlayfs.rst`, "Whiteouts and opaque
/// directories").
pub(super) const OPAQUE: &str = "trusted.overlay.opaque";

const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// The tree of a layer.
pub(super) struct Tree {
    root: OwnedFd,
    /// The parent that was used last: most entries follow a sibling. Nothing may be removed
    /// without forgetting it.
    cached: Option<(Vec<u8>, OwnedFd)>,
    /// Directories that had to be made without an entry of their own, not yet fetched.
    implied: Vec<EntryPath>,
}

/// Why a place in the tree was not found.
#[derive(Debug)]
pub(super) enum WalkError {
    Path(PathProblem),
    Disk(io::Error),
}

impl From<Errno> for WalkError {
    fn from(error: Errno) -> Self {
        match error {
            Errno::LOOP => Self::Path(PathProblem::Loop),
            Errno::NOTDIR => Self::Path(PathProblem::NotADirectory),
            Errno::NAMETOOLONG => Self::Path(PathProblem::TooLong),
            error => Self::Disk(error.into()),
        }
    }
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, cached: None, implied: Vec::new() }
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directories made since the last call, that no entry described yet.
    pub(super) fn take_implied(&mut self) -> Vec<EntryPath> {
        std::mem::take(&mut self.implied)
    }

    /// Opens the directory at `path`, making it and those above if they are missing.
    pub(super) fn parent(&mut self, path: &[u8]) -> Result<BorrowedFd<'_>, WalkError> {
        let is_cached = self.cached.as_ref().is_some_and(|(cached, _)| cached == path);
        if !is_cached {
            let opened = match open_below(&self.root, path) {
                Ok(opened) => opened,
                Err(Errno::NOENT | Errno::NOTDIR) => self.make_directories(path)?,
                Err(error) => return Err(error.into()),
            };
            self.cached = Some((path.to_vec(), opened));
        }
        let (_, opened) = self.cached.as_ref().expect("BUG: it was just cached");
        Ok(opened.as_fd())
    }

    /// Opens the directory at `path`, if it is there.
    pub(super) fn existing(&self, path: &[u8]) -> Result<Option<OwnedFd>, WalkError> {
        match open_below(&self.root, path) {
            Ok(opened) => Ok(Some(opened)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes whatever is called `name` in `parent`.
    pub(super) fn remove(&mut self, path: &[u8], name: &OsStr) -> Result<(), WalkError> {
        let parent = self.parent(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(Errno::ISDIR | Errno::PERM) => {
                let directory = open_child(parent, name)?;
                crate::tree::empty(&directory).map_err(WalkError::Disk)?;
                rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
            }
            Err(error) => return Err(error.into()),
        }
        self.cached = None;
        Ok(())
    }

    /// Makes the directories that are missing on the way to `path`, from the deepest that exists.
    fn make_directories(&mut self, path: &[u8]) -> Result<OwnedFd, WalkError> {
        let mut length = path.len();
        let mut opened = loop {
            let shorter = path[..length].iter().rposition(|it| *it == b'/').unwrap_or(0);
            length = shorter;
            match open_below(&self.root, &path[..length]) {
                Ok(opened) => break opened,
                Err(Errno::NOENT | Errno::NOTDIR) if length > 0 => {}
                Err(error) => return Err(error.into()),
            }
        };
        let missing = if length == 0 { path } else { &path[length + 1..] };
        let mut made = length;
        for component in missing.split(|it| *it == b'/') {
            made += component.len() + usize::from(made > 0);
            opened = self.make_implied(&opened, component, &path[..made])?;
        }
        Ok(opened)
    }

    fn make_implied(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<OwnedFd, WalkError> {
        let was_hidden = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => false,
            Err(Errno::EXIST) if is_whiteout(&stat(parent.as_fd(), name)?) => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
                true
            }
            // A file, or a link to what this layer does not have.
            Err(Errno::EXIST) => return Err(WalkError::Path(PathProblem::NotADirectory)),
            Err(error) => return Err(error.into()),
        };
        let made = open_child(parent.as_fd(), name)?;
        if was_hidden {
            mark(&made, OPAQUE)?;
        } else {
            mark(&made, IMPLIED)?;
            self.implied.push(EntryPath::from_bytes(path.to_vec()));
        }
        rustix::fs::fchmod(&made, Mode::from_raw_mode(0o755))?;
        Ok(made)
    }
}

/// Opens a directory of the tree, following links within it.
fn open_below(root: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, Mode::empty(), RESOLVE)
}

/// Opens the directory `name` of `parent`, not following it.
pub(super) fn open_child<P: rustix::path::Arg>(
    parent: BorrowedFd<'_>,
    name: P,
) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

pub(super) fn stat<P: rustix::path::Arg>(parent: BorrowedFd<'_>, name: P) -> Result<Stat, Errno> {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Sets one of our own or overlayfs's marks.
pub(super) fn mark(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    rustix::fs::fsetxattr(directory, name, b"y", XattrFlags::empty())
}

/// Takes a mark away, if it is there; says whether it was.
pub(super) fn unmark(directory: &OwnedFd, name: &str) -> Result<bool, Errno> {
    match rustix::fs::fremovexattr(directory, name) {
        Ok(()) => Ok(true),
        Err(Errno::NODATA) => Ok(false),
        Err(error) => Err(error),
    }
}
