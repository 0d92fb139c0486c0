//! Sending a listener's descriptor to its agent (OCI runtime spec, "Seccomp", `listenerPath`).

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::Listener;

impl Listener {
    /// Sends the listener's descriptor with the container process state (OCI runtime spec,
    /// "The Container Process State") as JSON in `state`.
    pub fn send(&self, listener: OwnedFd, state: &[u8]) -> io::Result<()> {
        let agent = UnixStream::connect(&self.path)?;
        let descriptors = [listener.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // The descriptor travels with the first byte; what does not fit follows as plain data.
        let sent = sendmsg(&agent, &[IoSlice::new(state)], &mut control, SendFlags::NOSIGNAL)?;
        io::Write::write_all(&mut &agent, &state[sent..])
    }
}
