//! Asking the kernel to begin writing a file to the disk.

use std::{io, os::fd::AsRawFd as _, os::fd::BorrowedFd};

/// Starts to write a range of a file to the disk, without waiting, so that a later flush finds
/// little left to do (`sync_file_range(2)`). It promises nothing; a file system that cannot is
/// no error worth handling.
pub fn start_writeback(file: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
    let (Ok(offset), Ok(length)) = (offset.try_into(), length.try_into()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let flags = libc::SYNC_FILE_RANGE_WRITE;
    // SAFETY: takes no pointer, and the descriptor is borrowed for the call.
    let result = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, flags) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
