//! The control groups as a container sees them: its own, and nothing above.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat, symlinkat},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
};
use wadah_sys::{
    mount::{Change, attribute, set_attributes},
    process::namespace,
};

use super::{
    Container,
    mounts::{attach, describe, make_filesystem, place},
};
use crate::{
    cgroup::Version,
    channel::{Context, Failure},
    plan::{Attributes, Mount},
};

/// Mounts the control groups at `target`. What is returned is to be made read-only in the end.
pub(super) fn mount(
    mount: &Mount,
    target: BorrowedFd<'_>,
    container: &Container<'_>,
) -> Result<Option<OwnedFd>, Failure> {
    match container.cgroup.version() {
        Version::V2 => mount_unified(mount, target, container).map(|()| None),
        Version::V1 => mount_controllers(mount, target, container),
    }
}

/// In a cgroup namespace of its own, a new mount shows the container's group as the root;
/// otherwise its directory is bound.
fn mount_unified(
    mount: &Mount,
    target: BorrowedFd<'_>,
    container: &Container<'_>,
) -> Result<(), Failure> {
    if container.plan.namespaces.isolates(namespace::CGROUP) {
        let made = make_filesystem("cgroup2", &[], mount.attributes);
        let made = made.map_err(|(errno, _)| errno).step(|| describe(mount))?;
        return place(made.as_fd(), target, mount);
    }
    let directories = container.cgroup.directories();
    let (_, directory) = directories.first().ok_or(Errno::NOENT).step(|| describe(mount))?;
    bind(directory, target, mount)
}

/// One directory for each hierarchy, in a small filesystem that becomes read-only if that was
/// asked for, after the hierarchies are in it.
fn mount_controllers(
    mount: &Mount,
    target: BorrowedFd<'_>,
    container: &Container<'_>,
) -> Result<Option<OwnedFd>, Failure> {
    let mut attributes = mount.attributes;
    attributes.set &= !attribute::READ_ONLY;
    let mode = [("mode".to_owned(), Some("755".to_owned()))];
    let filesystem = make_filesystem("tmpfs", &mode, attributes);
    let filesystem = filesystem.map_err(|(errno, _)| errno).step(|| describe(mount))?;
    place(filesystem.as_fd(), target, mount)?;
    let mut names = BTreeSet::new();
    for (mount_point, directory) in container.cgroup.directories() {
        let Some(name) = mount_point.file_name() else { continue };
        if names.insert(name.to_owned()) {
            bind_controller(filesystem.as_fd(), name, &directory, mount)?;
        }
    }
    let is_read_only = mount.attributes.set & attribute::READ_ONLY != 0;
    Ok(is_read_only.then_some(filesystem))
}

fn bind_controller(
    filesystem: BorrowedFd<'_>,
    name: &OsStr,
    directory: &Path,
    mount: &Mount,
) -> Result<(), Failure> {
    mkdirat(filesystem, name, Mode::from_raw_mode(0o755)).step(|| describe(mount))?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = openat(filesystem, name, flags, Mode::empty()).step(|| describe(mount))?;
    bind(directory, place.as_fd(), mount)?;
    // A hierarchy of several controllers has the name of each.
    let parts: Vec<_> = name.as_bytes().split(|it| *it == b',').collect();
    if parts.len() > 1 {
        for part in parts {
            symlinkat(name, filesystem, OsStr::from_bytes(part)).step(|| describe(mount))?;
        }
    }
    Ok(())
}

fn bind(directory: &Path, target: BorrowedFd<'_>, mount: &Mount) -> Result<(), Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, directory, flags).step(|| describe(mount))?;
    let Attributes { set, clear } = mount.attributes;
    if !mount.attributes.is_empty() {
        let change = Change { set, clear, ..Change::default() };
        set_attributes(tree.as_fd(), &change).step(|| describe(mount))?;
    }
    attach(tree.as_fd(), target).step(|| describe(mount))
}
