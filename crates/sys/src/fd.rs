//! Descriptors by number, for the moment before another executable takes over.

use std::io;

/// Marks every descriptor from `first` on close-on-exec.
pub fn set_close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_ON_EXEC: libc::c_uint = 4;
    close_range(first, u32::MAX, CLOSE_ON_EXEC)
}

/// Closes every descriptor from `first` on. For a process that is about to do nothing but wait:
/// owned descriptors of this range must not be used, or dropped, afterwards.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, 0)
}

/// Clears close-on-exec of the descriptors from `first` up to, without, `end`, as far as they are
/// open.
pub fn keep_on_exec(first: i32, end: i32) {
    for fd in first..end {
        // SAFETY: takes no pointer; a number that is not open fails with EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    }
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes no pointer; what closing means to owned descriptors is the callers' to know.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Tells whether a descriptor of this number is open.
pub fn is_open(fd: i32) -> bool {
    // SAFETY: takes no pointer; a number that is not open fails with EBADF.
    unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
}
