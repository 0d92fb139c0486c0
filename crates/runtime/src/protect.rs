//! Keeping our own executable out of the reach of containers (CVE-2019-5736).
//!
//! A process of ours that is about to be seen from inside a container must have been executed
//! from a read-only, detached clone of the mount its executable lies on: whoever opens
//! `/proc/PID/exe` then finds a file that cannot be opened for writing, now or later.

use std::{io, os::fd::OwnedFd};

/// Opens our own executable on a read-only clone of its mount, for `execveat`. Close-on-exec.
pub fn executable() -> io::Result<OwnedFd> {
    todo!()
}

/// Tells whether this process was executed from such a clone.
pub fn is_protected() -> io::Result<bool> {
    todo!()
}

/// Executes ourselves again, with the same arguments and environment, from a read-only clone,
/// unless that was done before. Returns only if it was, or on an error.
pub fn reexec_from_readonly() -> io::Result<()> {
    todo!()
}
