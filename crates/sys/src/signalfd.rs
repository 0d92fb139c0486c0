//! Signals as a descriptor, for a loop that polls.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// Becomes readable when a child has ended.
#[derive(Debug)]
pub struct ChildSignals {
    fd: OwnedFd,
}

impl ChildSignals {
    /// Blocks every signal that can be blocked, in this thread and those it starts, and watches
    /// for ended children. A process executed by this one must unblock them itself
    /// ([`crate::process::reset_signals`]).
    pub fn watch() -> io::Result<Self> {
        crate::process::block_signals();
        let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the call initialises the set.
        unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
        // SAFETY: initialised just now.
        unsafe { libc::sigaddset(signals.as_mut_ptr(), libc::SIGCHLD) };
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: `signals` is an initialised set; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, signals.as_ptr(), flags) };
        if fd == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened this descriptor for us.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    /// Forgets the signals so far: whoever calls this looks for all ended children afterwards.
    pub fn drain(&self) {
        let mut buffer = [0; 512];
        while rustix::io::read(&self.fd, &mut buffer).is_ok_and(|length| length > 0) {}
    }
}

impl AsFd for ChildSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
