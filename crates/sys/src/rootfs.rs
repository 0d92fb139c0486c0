//! Paths inside a root filesystem that is not ours to trust.
//!
//! A [`Root`] is a directory that bounds every path walked from it: the kernel resolves absolute
//! symlinks and `..` as if it were `/` (`openat2(2)`, `RESOLVE_IN_ROOT`), so that neither an image's
//! links nor somebody who swaps directories meanwhile leads out. What comes back is a descriptor;
//! use that, never the name again.
//!
//! **Invariant:** nothing outside the root is ever opened, created or looked at.
//! **Invariant:** magic links (`/proc/PID/root` and the like) are never followed.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// How often a resolution that the kernel could not finish, because of a rename on its way, is
/// begun again; and how many links a path may have.
const ATTEMPTS: u32 = 256;
const LINKS: u32 = 40;

/// A directory that no path walked from it leads out of.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Takes the directory at `path`, a path of the host.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Takes the directory that `fd` refers to.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Opens what is at `path`, following links inside the root, the last component's too unless
    /// `flags` have `O_NOFOLLOW`. Close-on-exec.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_with(path, flags, mode, ResolveFlags::empty())
    }

    /// As [`Root::open_at`], refusing every symbolic link on the way, the last component too
    /// (`ELOOP`).
    pub fn open_no_links(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        self.open_with(path, flags, mode, ResolveFlags::NO_SYMLINKS)
    }

    /// As [`Root::open_at`], with further restrictions on the resolution.
    pub fn open_with(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        restrictions: ResolveFlags,
    ) -> io::Result<OwnedFd> {
        open_beneath(self.0.as_fd(), path, flags, mode, restrictions)
    }

    /// Opens (`O_PATH`) the directory that holds the last component of `path`, and returns that
    /// component, for the `*at` calls. A path that ends in `..` or names the root has none
    /// (`EINVAL`).
    pub fn open_parent<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok((self.open_at(parent, flags, Mode::empty())?, name))
    }

    /// Makes the directory `path` and those above it that are missing, all with `mode`, and opens
    /// the last (`O_PATH`). Links are followed inside the root, dangling ones by making what they
    /// name. `..` in the path is refused (`EINVAL`).
    pub fn mkdir_all(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        match self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()) {
            Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {
                self.make_missing(plain_components(path)?, mode)
            }
            outcome => outcome,
        }
    }

    /// Makes an empty file at `path`, and the directories above it, unless something is there;
    /// opens (`O_PATH`) what is there. For mount points.
    pub fn make_file(&self, path: &Path, mode: Mode) -> io::Result<OwnedFd> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            match self.open_at(&path, OFlags::PATH, Mode::empty()) {
                Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                outcome => return outcome,
            }
            let name = path.file_name().ok_or(Errno::INVAL)?.to_owned();
            let above = path.parent().unwrap_or(Path::new("/")).to_owned();
            let parent = self.mkdir_all(&above, Mode::from_raw_mode(0o755))?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match fs::openat(&parent, &name, flags | OFlags::WRONLY, mode) {
                Ok(_file) => {
                    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    return Ok(fs::openat(&parent, &name, flags, Mode::empty())?);
                }
                // Somebody was faster, or a dangling link is in the way: look where it leads.
                Err(Errno::EXIST) => path = above.join(link_target(parent.as_fd(), &name)?),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Tells whether `path` leads to something, following links inside the root.
    pub fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.open_at(path, OFlags::PATH, Mode::empty()) {
            Ok(_found) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Walks to the first component that is missing, makes it and goes on from there.
    fn make_missing(&self, mut todo: Vec<OsString>, mode: Mode) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut links = 0;
        let mut walked = PathBuf::new();
        let mut here = self.open_at(Path::new("/"), flags, Mode::empty())?;
        todo.reverse();
        while let Some(name) = todo.pop() {
            // From the root, not from `here`: only so is a link of the name bounded by the root.
            let next = walked.join(&name);
            let opened = match self.open_at(&next, flags, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_directory(here.as_fd(), &name, mode)
                }
                outcome => outcome.map(Made::Directory),
            };
            match opened? {
                Made::Directory(directory) => (here, walked) = (directory, next),
                Made::DanglingLink(target) => {
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.is_absolute() {
                        walked = PathBuf::new();
                        here = self.open_at(Path::new("/"), flags, Mode::empty())?;
                    }
                    todo.extend(plain_components(&target)?.into_iter().rev());
                }
            }
        }
        Ok(here)
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What was found where a directory had to be made.
enum Made {
    Directory(OwnedFd),
    DanglingLink(PathBuf),
}

fn make_directory(parent: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> io::Result<Made> {
    let made = fs::mkdirat(parent, name, mode);
    if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
        made?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(parent, name, flags, Mode::empty()) {
        // O_PATH|O_NOFOLLOW opens the link itself, and O_DIRECTORY then refuses it.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            Ok(Made::DanglingLink(link_target(parent, name)?.into()))
        }
        outcome => Ok(Made::Directory(outcome?)),
    }
}

fn link_target(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OsString> {
    match fs::readlinkat(parent, name, Vec::new()) {
        Ok(target) => Ok(OsStr::from_bytes(target.to_bytes()).to_owned()),
        // Not a link: something else took the place between two looks at it.
        Err(Errno::INVAL) => Ok(name.to_owned()),
        Err(errno) => Err(errno.into()),
    }
}

/// The names in `path`; `..` is refused.
fn plain_components(path: &Path) -> io::Result<Vec<OsString>> {
    path.components()
        .filter_map(|it| match it {
            Component::Normal(name) => Some(Ok(name.to_owned())),
            Component::ParentDir | Component::Prefix(_) => Some(Err(Errno::INVAL.into())),
            Component::RootDir | Component::CurDir => None,
        })
        .collect()
}

/// `openat2` bounded by `root`. The kernel answers `EAGAIN` when a rename or a mount elsewhere
/// kept it from proving that a `..` stays inside; the next attempt usually can.
fn open_beneath(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    restrictions: ResolveFlags,
) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | restrictions;
    let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
    for _ in 0..ATTEMPTS {
        match fs::openat2(root, path, flags | OFlags::CLOEXEC, mode, resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
    Err(Errno::AGAIN.into())
}

/// Tells whether `fd` is the directory that `path` names below `root`.
pub fn is_same_file(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<bool> {
    let (one, other) = (fs::fstat(one)?, fs::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Opens again what an `O_PATH` descriptor refers to, by the descriptor alone.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(fs::openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// The metadata of `name` in `directory`, of a link itself and not of what it names.
pub fn stat_no_follow(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<fs::Stat> {
    Ok(fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::{fs as stdfs, os::unix::fs::symlink};

    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rootfs-{name}-{}", std::process::id()));
            stdfs::create_dir_all(path.join("root")).unwrap();
            Self(path)
        }

        fn root(&self) -> Root {
            Root::open(&self.0.join("root")).unwrap()
        }

        fn path(&self, inside: &str) -> PathBuf {
            self.0.join("root").join(inside)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            drop(stdfs::remove_dir_all(&self.0));
        }
    }

    const MODE: Mode = Mode::from_raw_mode(0o755);

    #[test]
    fn links_that_lead_out_lead_nowhere() {
        let scratch = Scratch::new("out");
        stdfs::write(scratch.0.join("secret"), "x").unwrap();
        symlink("../secret", scratch.path("relative")).unwrap();
        symlink(scratch.0.join("secret"), scratch.path("absolute")).unwrap();
        symlink("/proc/self/root", scratch.path("magic")).unwrap();
        for name in ["relative", "absolute", "magic/etc", "../secret"] {
            let found = scratch.root().open_at(Path::new(name), OFlags::RDONLY, Mode::empty());
            found.expect_err(name);
        }
    }

    #[test]
    fn missing_directories_are_made_inside() {
        let scratch = Scratch::new("mkdir");
        symlink("/run", scratch.path("var")).unwrap();
        symlink("../../../outside", scratch.path("up")).unwrap();
        scratch.root().mkdir_all(Path::new("/var/lock/x"), MODE).unwrap();
        assert!(scratch.path("run/lock/x").is_dir());
        scratch.root().mkdir_all(Path::new("/up/x"), MODE).unwrap_err();
        scratch.root().mkdir_all(Path::new("/a/../../b"), MODE).unwrap_err();
        assert!(!scratch.0.join("outside").exists());
    }

    #[test]
    fn a_file_is_made_where_a_dangling_link_leads() {
        let scratch = Scratch::new("file");
        symlink("/etc/real", scratch.path("alias")).unwrap();
        scratch.root().make_file(Path::new("/alias"), Mode::from_raw_mode(0o644)).unwrap();
        assert!(scratch.path("etc/real").is_file());
        symlink("loop", scratch.path("loop")).unwrap();
        scratch.root().make_file(Path::new("/loop/x"), MODE).unwrap_err();
    }

    #[test]
    fn the_parent_and_the_name_are_told_apart() {
        let scratch = Scratch::new("parent");
        stdfs::create_dir(scratch.path("d")).unwrap();
        let root = scratch.root();
        let (parent, name) = root.open_parent(Path::new("d/f")).unwrap();
        assert_eq!(name, "f");
        let directory = root.open_at(Path::new("/d"), OFlags::PATH, Mode::empty()).unwrap();
        assert!(is_same_file(parent.as_fd(), directory.as_fd()).unwrap());
        root.open_parent(Path::new("d/..")).unwrap_err();
        root.open_parent(Path::new("/")).unwrap_err();
    }
}
