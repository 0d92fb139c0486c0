//! Terminals: sending one to whoever asked for it, and standing in for one.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    termios::{self, OptionalActions, Termios},
};

use super::error::CommandError;

/// Sends a descriptor over the unix socket at `path`, with its name as the data.
pub(super) fn send(
    path: &Path,
    descriptor: BorrowedFd<'_>,
    name: &str,
) -> Result<(), CommandError> {
    let send = || -> io::Result<()> {
        let socket = UnixStream::connect(path)?;
        let descriptors = [descriptor];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let data = [IoSlice::new(name.as_bytes())];
        sendmsg(&socket, &data, &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    };
    send().map_err(|source| CommandError::Console { path: path.to_owned(), source })
}

/// Rows and columns of our own terminal, if we have one.
pub(super) fn own_size() -> Option<(u16, u16)> {
    let size = termios::tcgetwinsize(io::stdin().as_fd()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Gives `terminal` the size of our own.
pub(super) fn follow_size(terminal: BorrowedFd<'_>) {
    if let Ok(size) = termios::tcgetwinsize(io::stdin().as_fd()) {
        // A terminal whose other side is gone has no size to set.
        let _set = termios::tcsetwinsize(terminal, size);
    }
}

/// Our own terminal passing everything on; as it was before when dropped.
#[derive(Debug)]
#[must_use = "the terminal is raw only while it lives"]
pub(super) struct Raw {
    before: Option<Termios>,
}

impl Raw {
    pub(super) fn enter() -> Result<Self, CommandError> {
        let stdin = io::stdin();
        let failed = |step| {
            move |source: rustix::io::Errno| CommandError::Terminal { step, source: source.into() }
        };
        if !termios::isatty(&stdin) {
            return Ok(Self { before: None });
        }
        let before = termios::tcgetattr(&stdin).map_err(failed("read the terminal's settings"))?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)
            .map_err(failed("make the terminal raw"))?;
        Ok(Self { before: Some(before) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that went away has nothing to restore.
            let _restored = termios::tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
