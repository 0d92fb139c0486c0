//! The gate at which a created container waits to be started.
//!
//! With [`crate::Gate::Socket`] the waiting process listens on a socket in the caller's directory;
//! who connects and says *go* starts it and learns on the same connection how that went. The
//! directory is the protection: it must be its owner's alone.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, acceptfrom_with, bind, connect,
        listen, socket_with,
    },
    process::Pid,
};

use crate::{
    StartError,
    channel::{Channel, Report},
};

/// Starts the container that waits at the socket `path` ([`crate::Gate::Socket`]); returns when
/// its executable runs.
pub fn open(path: &Path) -> Result<(), StartError> {
    let not_created = |source| StartError::NotCreated { source };
    let socket = new_socket().map_err(not_created)?;
    let (_directory, address) = address(path).map_err(not_created)?;
    connect(&socket, &address).map_err(|errno| not_created(errno.into()))?;
    let channel = Channel::from_socket(socket);
    // Whom it starts, it knows itself.
    channel.go(Pid::INIT).map_err(not_created)?;
    wait_for_executable(&channel)
}

/// Waits until the channel's other end is gone because its process executes something else.
pub(crate) fn wait_for_executable(channel: &Channel) -> Result<(), StartError> {
    loop {
        match channel.receive() {
            Ok(None) => return Ok(()),
            Ok(Some((Report::Failed(failure), _))) => return Err(failure.into()),
            Ok(Some(_)) => {}
            Err(_) => return Err(StartError::Died),
        }
    }
}

/// Makes the socket of a gate.
pub(crate) fn make(path: &Path) -> io::Result<OwnedFd> {
    let socket = new_socket()?;
    let (_directory, address) = address(path)?;
    bind(&socket, &address)?;
    listen(&socket, 1)?;
    Ok(socket)
}

/// Waits until somebody starts us.
pub(crate) fn wait(listener: &OwnedFd) -> io::Result<Channel> {
    loop {
        let starter = match acceptfrom_with(listener, SocketFlags::CLOEXEC) {
            Ok((starter, _)) => Channel::from_socket(starter),
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(errno) => return Err(errno.into()),
        };
        // Who connects and leaves again has not started anything.
        if starter.wait_for_go().is_ok() {
            return Ok(starter);
        }
    }
}

fn new_socket() -> io::Result<OwnedFd> {
    let kind = SocketType::SEQPACKET;
    Ok(socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// The address of a socket at `path`, by way of its directory's descriptor: an address has room
/// for 108 bytes only.
fn address(path: &Path) -> io::Result<(OwnedFd, SocketAddrUnix)> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, parent, flags, Mode::empty())?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    Ok((directory, SocketAddrUnix::new(short)?))
}
