//! Exchanges with the kernel: send, then read until all is answered.

use std::{
    mem,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink,
        sockopt::{self, Timeout},
    },
};

use super::{
    Attributes, Messages, NetlinkError,
    message::{DUMP, HEADER},
};

/// How long an exchange waits for an answer.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The kernel writes dumps in pieces of at most 32 KiB (`netlink_dump`), and acknowledgements are
/// far shorter.
const BUFFER: usize = 64 << 10;
/// How often a listing is tried while others change what it lists.
const ATTEMPTS: u32 = 20;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// A netlink protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// nf_tables and connection tracking.
    Netfilter,
}

/// A netlink socket, in the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// Takes the type and payload of one thing of a listing.
type Reader<'a> = dyn FnMut(u16, &[u8]) -> Result<(), NetlinkError> + 'a;

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open(protocol: Protocol) -> Result<Self, NetlinkError> {
        let open = || -> Result<OwnedFd, Errno> {
            let number = match protocol {
                // NETLINK_ROUTE is 0, the default.
                Protocol::Route => None,
                Protocol::Netfilter => Some(netlink::NETFILTER),
            };
            let flags = SocketFlags::CLOEXEC;
            let fd = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, number)?;
            sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(DEADLINE))?;
            // The kernel's own words about a refusal, and no copy of what was refused. Both are
            // comforts: a kernel without them is answered all the same.
            for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
                let _ignored = set_option(fd.as_fd(), option);
            }
            net::bind(&fd, &netlink::SocketAddrNetlink::new(0, 0))?;
            Ok(fd)
        };
        let fd = open().map_err(|source| NetlinkError::Open { protocol, source })?;
        Ok(Self { fd, sequence: 0, buffer: Vec::new() })
    }

    /// Gives back the memory for answers, which the next exchange takes again: for sockets that
    /// are kept in store.
    pub fn rest(&mut self) {
        self.buffer = Vec::new();
    }

    /// Sends messages that the kernel treats one by one, and returns the first refusal.
    ///
    /// A refused message does not keep the kernel from those after it.
    pub fn send(&mut self, messages: &mut Messages) -> Result<(), NetlinkError> {
        self.exchange(messages, false)
    }

    /// Sends messages that the kernel takes together or not at all. The first refusal is the
    /// cause of the failure.
    pub fn send_atomic(&mut self, messages: &mut Messages) -> Result<(), NetlinkError> {
        self.exchange(messages, true)
    }

    /// Asks for one thing, and gives the answer's type and payload to `read`.
    pub fn get<T>(
        &mut self,
        messages: &mut Messages,
        read: impl FnOnce(u16, &[u8]) -> Result<T, NetlinkError>,
    ) -> Result<T, NetlinkError> {
        let base = self.transmit(messages)?.0;
        loop {
            let length = self.receive()?;
            for answer in answers(&self.buffer[..length]) {
                let answer = answer?;
                if answer.sequence != base {
                    continue;
                }
                if answer.kind == NLMSG_ERROR {
                    refusal(&answer, base)?;
                    continue;
                }
                return read(answer.kind, answer.payload);
            }
        }
    }

    /// Lists things: `read` gets the type and payload of each. A listing overtaken by a change
    /// starts anew, with a fresh `T`.
    pub fn dump<T: Default>(
        &mut self,
        kind: u16,
        header: &[u8],
        filter: impl Fn(&mut Messages),
        mut read: impl FnMut(&mut T, u16, &[u8]) -> Result<(), NetlinkError>,
    ) -> Result<T, NetlinkError> {
        for _ in 0..ATTEMPTS {
            let mut messages = Messages::new();
            messages.begin(kind, DUMP, header);
            filter(&mut messages);
            let mut found = T::default();
            if self.dump_once(&mut messages, &mut |kind, it| read(&mut found, kind, it))? {
                return Ok(found);
            }
        }
        Err(NetlinkError::Interrupted { attempts: ATTEMPTS })
    }

    /// Reads one listing to its end; whether nothing changed meanwhile.
    fn dump_once(
        &mut self,
        messages: &mut Messages,
        read: &mut Reader<'_>,
    ) -> Result<bool, NetlinkError> {
        let base = self.transmit(messages)?.0;
        let (mut consistent, mut result) = (true, Ok(()));
        loop {
            let length = self.receive()?;
            for answer in answers(&self.buffer[..length]) {
                let answer = answer?;
                if answer.sequence != base {
                    continue;
                }
                consistent &= answer.flags & NLM_F_DUMP_INTR == 0;
                match answer.kind {
                    NLMSG_ERROR => refusal(&answer, base)?,
                    NLMSG_DONE => return result.map(|()| consistent),
                    // Read on after a failure: an unfinished listing blocks the next.
                    kind if result.is_ok() => result = read(kind, answer.payload),
                    _ => {}
                }
            }
        }
    }

    fn exchange(&mut self, messages: &mut Messages, atomic: bool) -> Result<(), NetlinkError> {
        let (base, last) = self.transmit(messages)?;
        let Some(last) = last else { return Ok(()) };
        let mut result = Ok(());
        loop {
            let length = self.receive()?;
            for answer in answers(&self.buffer[..length]) {
                let answer = answer?;
                let index = answer.sequence.wrapping_sub(base) as usize;
                if answer.kind != NLMSG_ERROR || index > messages.count() {
                    continue;
                }
                let refused = refusal(&answer, base);
                // A batch refused as a whole is answered at its first message, and nowhere else.
                let done = index == last || (atomic && index == 0 && refused.is_err());
                result = result.and(refused);
                if done {
                    return result;
                }
            }
        }
    }

    /// Sends; returns the first sequence number and the last message to be acknowledged.
    fn transmit(&mut self, messages: &mut Messages) -> Result<(u32, Option<usize>), NetlinkError> {
        let base = self.sequence.wrapping_add(1);
        let (bytes, last) = messages.seal(base);
        let length = bytes.len();
        let sent = match net::send(&self.fd, bytes, SendFlags::empty()) {
            // Longer than the send buffer: enlarge it, which needs CAP_NET_ADMIN, as all of this.
            Err(Errno::MSGSIZE) => sockopt::set_socket_send_buffer_size_force(&self.fd, length * 2)
                .and_then(|()| net::send(&self.fd, bytes, SendFlags::empty())),
            sent => sent,
        };
        sent.map_err(|source| NetlinkError::Send { length, source })?;
        let count = u32::try_from(messages.count()).unwrap_or(u32::MAX);
        self.sequence = self.sequence.wrapping_add(count);
        Ok((base, last))
    }

    fn receive(&mut self) -> Result<usize, NetlinkError> {
        self.buffer.resize(BUFFER, 0);
        loop {
            match net::recv(&self.fd, &mut self.buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) if length > self.buffer.len() => {
                    return Err(NetlinkError::Malformed { what: "answer exceeds the buffer" });
                }
                Ok((_, length)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(source) => return Err(NetlinkError::Receive { source }),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Splits a datagram into its messages.
fn answers(mut datagram: &[u8]) -> impl Iterator<Item = Result<Answer<'_>, NetlinkError>> {
    std::iter::from_fn(move || {
        let bytes = mem::take(&mut datagram);
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let number = |at: usize| {
            u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let length = number(0) as usize;
        let Some(payload) = bytes.get(HEADER..length) else {
            return Some(Err(NetlinkError::Malformed { what: "a message exceeds its datagram" }));
        };
        datagram = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let flags = u16::from_ne_bytes([header[6], header[7]]);
        Some(Ok(Answer { kind, flags, sequence: number(8), payload }))
    })
}

/// Reads `struct nlmsgerr`: 0 is an acknowledgement.
fn refusal(answer: &Answer<'_>, base: u32) -> Result<(), NetlinkError> {
    let malformed = NetlinkError::Malformed { what: "short error" };
    let Some(code) = answer.payload.first_chunk() else { return Err(malformed) };
    let code = i32::from_ne_bytes(*code);
    if code == 0 {
        return Ok(());
    }
    let index = answer.sequence.wrapping_sub(base) as usize;
    let source = Errno::from_raw_os_error(-code);
    Err(NetlinkError::Refused { index, hint: hint(answer), source })
}

/// The kernel's words: behind the error code and the refused message, whole or only its header.
fn hint(answer: &Answer<'_>) -> Option<String> {
    if answer.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let refused = answer.payload.get(4..)?;
    let length = u32::from_ne_bytes(*refused.first_chunk()?) as usize;
    let skip = if answer.flags & NLM_F_CAPPED != 0 { HEADER } else { length };
    Attributes::after(refused, skip).ok()?.text(NLMSGERR_ATTR_MSG)
}

fn set_option(fd: BorrowedFd<'_>, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
    // SAFETY: `fd` is open for the call, and `on` outlives it and is as long as `length` says.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_split_into_its_messages() {
        let mut bytes = vec![];
        for sequence in [7_u32, 8] {
            bytes.extend_from_slice(&18_u32.to_ne_bytes());
            bytes.extend_from_slice(&[2, 0, 0, 0]);
            bytes.extend_from_slice(&sequence.to_ne_bytes());
            bytes.extend_from_slice(&[0; 4]);
            bytes.extend_from_slice(&[1, 2, 0, 0]);
        }
        let found: Vec<u32> = answers(&bytes).map(|it| it.unwrap().sequence).collect();
        assert_eq!(found, [7, 8]);
        bytes[0] = 200;
        assert!(answers(&bytes).next().unwrap().is_err());
        bytes[0] = 3;
        assert!(answers(&bytes).next().unwrap().is_err());
    }

    #[test]
    fn a_refusal_carries_errno_and_hint() {
        let mut payload = (-libc::ENOENT).to_ne_bytes().to_vec();
        payload.extend_from_slice(&[0; HEADER]);
        payload.extend_from_slice(&[9, 0, 1, 0]);
        payload.extend_from_slice(b"gone\0\0\0\0");
        let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let answer = Answer { kind: NLMSG_ERROR, flags, sequence: 3, payload: &payload };
        let error = refusal(&answer, 1).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refused netlink message 2: gone");
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }
}
