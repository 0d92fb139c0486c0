//! What sockets tell beyond their streams.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

/// How much of what was sent the other side has not taken yet, in the kernel's own measure: good
/// for comparing, not for counting.
pub fn unread_by_peer(socket: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    let mut length = 0;
    // SAFETY: the descriptor is open, and the kernel writes one `int` to where the pointer points.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut length) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn reading_shows_on_the_other_side() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(unread_by_peer(ours.as_fd()).unwrap(), 0);
        ours.write_all(b"hello").unwrap();
        assert!(unread_by_peer(ours.as_fd()).unwrap() > 0);
        theirs.read_exact(&mut [0; 5]).unwrap();
        assert_eq!(unread_by_peer(ours.as_fd()).unwrap(), 0);
    }
}
