//! User namespaces that exist for their id maps alone.

use std::{
    fs, io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use oci_spec::runtime::LinuxIdMapping;
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use wadah_sys::process::{Birth, clone, namespace};

/// A user namespace that no process is in.
#[derive(Debug)]
pub(crate) struct UserNamespace(OwnedFd);

impl UserNamespace {
    /// Makes one with the maps given as the texts of `uid_map` and `gid_map`.
    ///
    /// The kernel makes user namespaces only around processes: one is born for it, waits and is
    /// killed. It allocates nothing, so that this works in a process of many threads.
    pub(crate) fn make(users: &str, groups: &str) -> io::Result<Self> {
        let (waits, _held) = pipe_with(PipeFlags::CLOEXEC)?;
        let birth = Birth { namespaces: namespace::USER, ..Birth::default() };
        let child = clone(&birth, || {
            let mut byte = [0];
            // Its own copy of the writing end keeps this from ending until it is killed.
            rustix::io::read(&waits, &mut byte).map_or(1, |_| 0)
        })?;
        let made = write_maps(child.pid, users, groups).and_then(|()| {
            let path = format!("/proc/{}/ns/user", child.pid.as_raw_nonzero());
            Ok(openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
        });
        pidfd_send_signal(&child.pidfd, Signal::KILL)?;
        waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED)?;
        made.map(Self)
    }
}

impl AsFd for UserNamespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Writes the maps of the user namespace that `process` is in.
pub(crate) fn write_maps(process: Pid, users: &str, groups: &str) -> io::Result<()> {
    let process = process.as_raw_nonzero();
    fs::write(format!("/proc/{process}/uid_map"), users)?;
    fs::write(format!("/proc/{process}/gid_map"), groups)
}

/// The text of `uid_map` or `gid_map`; the kernel judges it.
pub(crate) fn text(maps: &[LinuxIdMapping]) -> String {
    let line =
        |it: &LinuxIdMapping| format!("{} {} {}\n", it.container_id(), it.host_id(), it.size());
    maps.iter().map(line).collect()
}
