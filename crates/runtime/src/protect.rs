//! Keeping our own executable out of the reach of containers (CVE-2019-5736).
//!
//! A process of ours that is about to be seen from inside a container must have been executed
//! from a read-only, detached clone of the mount its executable lies on: whoever opens
//! `/proc/PID/exe` then finds a file that cannot be opened for writing, now or later.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
};

use rustix::{
    fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat},
    mount::{OpenTreeFlags, open_tree},
};
use wadah_sys::{
    mount::{Change, attribute, set_attributes},
    process::{Strings, execve_descriptor},
};

const OWN: &str = "/proc/self/exe";

/// Opens our own executable on a read-only clone of its mount, for `execveat`. Close-on-exec.
pub fn executable() -> io::Result<OwnedFd> {
    // The link's text first: the link itself leads to the mount we were executed from, which, if
    // it is a clone already, is in no namespace and cannot be cloned again.
    if is_protected()? {
        return Ok(openat(CWD, OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let clone = open_tree(CWD, OWN, flags)?;
    let change =
        Change { set: attribute::READ_ONLY, clear: attribute::NO_EXEC, ..Change::default() };
    set_attributes(clone.as_fd(), &change)?;
    Ok(clone)
}

/// Tells whether this process was executed from such a clone, or from a read-only filesystem.
pub fn is_protected() -> io::Result<bool> {
    let own = openat(CWD, OWN, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fstatvfs(&own)?.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Executes ourselves again, with the same arguments and environment, from a read-only clone,
/// unless that was done before. Returns only if it was, or on an error.
pub fn reexec_from_readonly() -> io::Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let arguments = Strings::new(std::env::args_os().map(OsStringExt::into_vec))?;
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        [name.into_vec(), value.into_vec()].join(&b'=')
    };
    let environment = Strings::new(std::env::vars_os().map(entry))?;
    Err(execve_descriptor(executable()?.as_fd(), &arguments, &environment))
}
