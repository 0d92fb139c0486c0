//! Device nodes and the links that programs expect beside them.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use rustix::{
    fs::{
        AtFlags, CWD, Dev, FileType, Gid, Mode, OFlags, Uid, chmodat, chownat, fstat, makedev,
        mknodat, openat, symlinkat,
    },
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
};
use wadah_sys::rootfs::{Root, stat_no_follow};

use super::mounts::attach;
use crate::{
    channel::{Context, Failure},
    plan::{Plan, invalid_device},
};

/// A node to be made.
struct Node<'a> {
    path: &'a Path,
    kind: FileType,
    number: Dev,
    mode: Mode,
    owner: (Uid, Gid),
}

/// The devices that every container has.
const DEFAULT: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links, and what they name.
const LINKS: [(&str, &str); 5] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Makes the default devices, those of the specification and the links.
pub(super) fn make_all(root: &Root, plan: &Plan<'_>) -> Result<(), Failure> {
    let asked = plan.linux.devices().as_deref().unwrap_or_default();
    let is_asked = |path: &str| asked.iter().any(|it| it.path() == Path::new(path));
    // Modes are meant as they are.
    let mask = rustix::process::umask(Mode::empty());
    for (path, major, minor) in DEFAULT.iter().filter(|it| !is_asked(it.0)) {
        make(root, &default_node(path, *major, *minor), plan)?;
    }
    for device in asked {
        let node = node(device).ok_or(Errno::INVAL).step(|| invalid_device(device))?;
        make(root, &node, plan)?;
    }
    rustix::process::umask(mask);
    for (path, target) in LINKS {
        link(root, path, target)?;
    }
    // Where the kernel has one.
    match root.exists(Path::new("/proc/kcore")) {
        Ok(true) => link(root, "/dev/core", "/proc/kcore"),
        _ => Ok(()),
    }
}

fn default_node(path: &'static str, major: u32, minor: u32) -> Node<'static> {
    Node {
        path: Path::new(path),
        kind: FileType::CharacterDevice,
        number: makedev(major, minor),
        mode: Mode::from_raw_mode(0o666),
        owner: (Uid::ROOT, Gid::ROOT),
    }
}

fn node(device: &LinuxDevice) -> Option<Node<'_>> {
    let kind = match device.typ() {
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return None,
    };
    let (major, minor) = (u32::try_from(device.major()), u32::try_from(device.minor()));
    let number = if kind == FileType::Fifo { 0 } else { makedev(major.ok()?, minor.ok()?) };
    Some(Node {
        path: device.path(),
        kind,
        number,
        mode: Mode::from_raw_mode(device.file_mode().unwrap_or(0o666) & 0o7777),
        owner: (Uid::from_raw(device.uid().unwrap_or(0)), Gid::from_raw(device.gid().unwrap_or(0))),
    })
}

fn make(root: &Root, node: &Node<'_>, plan: &Plan<'_>) -> Result<(), Failure> {
    let step = || format!("make the device {:?}", node.path);
    let (parent, name) = parent(root, node.path).step(step)?;
    // In a user namespace nodes cannot be made, only those of the host bound.
    if !plan.namespaces.has_user() || node.kind == FileType::Fifo {
        match mknodat(&parent, name, node.kind, node.mode, node.number) {
            Ok(()) => {
                let (uid, gid) = node.owner;
                let (uid, gid) = (Some(uid), Some(gid));
                chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).step(step)?;
                // Bits that a change of the owner clears.
                return chmodat(&parent, name, node.mode, AtFlags::empty()).step(step);
            }
            Err(Errno::EXIST) if is_there(parent.as_fd(), name, node) => return Ok(()),
            Err(Errno::EXIST | Errno::PERM) => {}
            Err(errno) => return Err(errno).step(step),
        }
    }
    bind(parent.as_fd(), name, node).step(step)
}

fn parent<'p>(root: &Root, path: &'p Path) -> std::io::Result<(OwnedFd, &'p OsStr)> {
    let above = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let parent = match root.open_no_links(above, flags, Mode::empty()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            root.mkdir_all(above, Mode::from_raw_mode(0o755))
        }
        outcome => outcome,
    };
    Ok((parent?, name))
}

fn is_there(parent: BorrowedFd<'_>, name: &OsStr, node: &Node<'_>) -> bool {
    stat_no_follow(parent, name).is_ok_and(|it| {
        FileType::from_raw_mode(it.st_mode) == node.kind && it.st_rdev == node.number
    })
}

/// Binds the host's node of the same path, if it is the same device.
fn bind(parent: BorrowedFd<'_>, name: &OsStr, node: &Node<'_>) -> rustix::io::Result<()> {
    let tree = host_node(node.path, node.kind, node.number)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::EXCL, Mode::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&target)?.st_mode) == FileType::Symlink {
        return Err(Errno::LOOP);
    }
    attach(tree.as_fd(), target.as_fd())
}

/// A detached mount of a device node of the host, verified to be that device.
pub(super) fn host_node(path: &Path, kind: FileType, number: Dev) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, path, flags)?;
    let stat = fstat(&tree)?;
    if FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == number {
        Ok(tree)
    } else {
        Err(Errno::NODEV)
    }
}

/// Makes a link; what an image has at its place stays.
fn link(root: &Root, path: &str, target: &str) -> Result<(), Failure> {
    let step = || format!("link {path} to {target}");
    let (parent, name) = parent(root, Path::new(path)).step(step)?;
    match symlinkat(target, &parent, name) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step(step),
    }
}
