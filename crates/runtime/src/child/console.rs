//! The terminal of a process: made in the container's own terminal filesystem.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Uid, fchown, fstat, fstatfs, makedev, openat},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
    process::ioctl_tiocsctty,
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use wadah_sys::rootfs::Root;

use super::mounts::attach;
use crate::channel::{Channel, Context, Failure, Report};

/// `f_type` of a terminal filesystem (`DEVPTS_SUPER_MAGIC`).
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Both sides of a terminal.
#[derive(Debug)]
pub(crate) struct Console {
    master: OwnedFd,
    slave: OwnedFd,
}

impl Console {
    /// Makes one, of `size` in rows and columns: in `devpts` if that is at hand, in what the
    /// container has at `/dev/pts` if that is a terminal filesystem, on the host otherwise.
    pub(crate) fn make(
        root: &Root,
        devpts: Option<OwnedFd>,
        size: Option<(u16, u16)>,
    ) -> Result<Self, Failure> {
        let master = match devpts {
            Some(devpts) => open_multiplexer(devpts.as_fd(), Path::new("ptmx")),
            None => open_in(root).or_else(|_none| open_multiplexer(CWD, Path::new("/dev/ptmx"))),
        };
        let master = master.step(|| "open a terminal")?;
        unlockpt(&master).step(|| "unlock the terminal")?;
        if let Some((rows, columns)) = size {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            tcsetwinsize(&master, size).step(|| "set the terminal's size")?;
        }
        // By the master's descriptor, not by a name that somebody may have covered.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags).step(|| "open the terminal's other side")?;
        Ok(Self { master, slave })
    }

    /// Makes it the container's `/dev/console`.
    pub(super) fn bind(&self, root: &Root) -> Result<(), Failure> {
        let step = || "bind the terminal at /dev/console";
        let directory = root.open_no_links(Path::new("/dev"), OFlags::PATH, Mode::empty());
        let directory = directory.step(step)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match openat(&directory, "console", flags, Mode::from_raw_mode(0o666)) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).step(step),
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(&directory, "console", flags, Mode::empty()).step(step)?;
        let kind = FileType::from_raw_mode(fstat(&target).step(step)?.st_mode);
        if kind == FileType::Symlink {
            return Err(Errno::LOOP).step(step);
        }
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(&self.slave, "", flags).step(step)?;
        attach(tree.as_fd(), target.as_fd()).step(step)
    }

    /// Gives the process's user its side, and the parent the other one.
    pub(crate) fn hand_over(&self, channel: &Channel, user: Uid) -> Result<(), Failure> {
        // The group stays: devpts gives terminals the group that its options name.
        fchown(&self.slave, Some(user), None).step(|| "give the terminal to the user")?;
        let master = self.master.as_fd();
        channel.send_with(&Report::Terminal, master).step(|| "hand over the terminal")
    }

    /// Makes it the caller's controlling terminal, and returns the caller's side.
    pub(super) fn take(self) -> Result<OwnedFd, Failure> {
        ioctl_tiocsctty(&self.slave).step(|| "take the terminal")?;
        Ok(self.slave)
    }
}

fn open_in(root: &Root) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let devpts = root.open_no_links(Path::new("/dev/pts"), flags, Mode::empty())?;
    open_multiplexer(devpts.as_fd(), Path::new("ptmx"))
}

/// Opens a multiplexer and makes sure that it is one, of a terminal filesystem or of `/dev`: what
/// is at its place in a container may be anything.
fn open_multiplexer(directory: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    // Without waiting for anybody, should it be a FIFO.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = openat(directory, path, flags, Mode::empty())?;
    let stat = fstat(&master)?;
    let is_multiplexer = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == makedev(5, 2);
    let in_devpts = path.is_absolute() || fstatfs(&master)?.f_type == DEVPTS_MAGIC;
    if !is_multiplexer || !in_devpts {
        return Err(Errno::NOTTY.into());
    }
    rustix::io::ioctl_fionbio(&master, false)?;
    Ok(master)
}
