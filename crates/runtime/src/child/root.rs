//! The container's root: attached in its mount namespace first, made `/` last.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::CWD,
    mount::{
        MountPropagationFlags, MoveMountFlags, UnmountFlags, mount_change, move_mount, unmount,
    },
    process::{chdir, chroot, fchdir, pivot_root},
};
use wadah_sys::{
    mount::{Change, attribute, set_attributes},
    rootfs::Root,
};

use crate::{
    channel::{Context, Failure},
    plan::{Plan, Propagation},
};

/// Attaches the detached root filesystem, so that things can be mounted in it: at its own path if
/// it has one, where hooks look for it, and on top of the old root otherwise, which is as good and
/// needs no directory of its own.
pub(super) fn attach(detached: &OwnedFd, path: Option<&Path>) -> Result<Root, Failure> {
    // What we mount from here on must not appear on the host; what the host mounts may appear here.
    let down = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", down).step(|| "keep our mounts from the host")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    let at = |path: &Path| move_mount(detached, "", CWD, path, flags);
    // Its own path may be out of reach: in a user namespace, or in a joined mount namespace.
    if path.is_none_or(|it| at(it).is_err()) {
        at(Path::new("/")).step(|| "attach the root filesystem")?;
    }
    let own = rustix::io::fcntl_dupfd_cloexec(detached, 3).step(|| "keep the root filesystem")?;
    Ok(Root::from_fd(own))
}

/// Makes the root filesystem the root, with the propagation and the mode that were asked for.
pub(super) fn change(root: &Root, plan: &Plan<'_>, no_pivot: bool) -> Result<(), Failure> {
    if plan.root_read_only {
        let change = Change { set: attribute::READ_ONLY, ..Change::default() };
        set_attributes(root.as_fd(), &change).step(|| "make the root filesystem read-only")?;
    }
    fchdir(root).step(|| "enter the root filesystem")?;
    if no_pivot {
        chroot(".").step(|| "change the root")?;
    } else {
        // The old root goes below the new one, into the same place (pivot_root(2), "Notes"), so
        // that no directory for it is needed; and from there away, with all that is mounted in it.
        pivot_root(".", ".").step(|| "change the root (pivot_root)")?;
        unmount(".", UnmountFlags::DETACH).step(|| "let go of the old root")?;
    }
    chdir("/").step(|| "enter the new root")?;
    plan.root_propagation.map_or(Ok(()), set_propagation)
}

fn set_propagation(propagation: Propagation) -> Result<(), Failure> {
    let below = if propagation.recursive {
        MountPropagationFlags::REC
    } else {
        MountPropagationFlags::empty()
    };
    mount_change("/", propagation.flag | below).step(|| "set the root's propagation")
}
