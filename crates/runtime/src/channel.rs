//! What a new process and its parent say to each other until its executable runs.
//!
//! The child sends [`Report`]s, some with a descriptor; the parent answers those that ask for it
//! with one *go*, which carries the child's pid as the parent sees it. Both ends are close-on-exec:
//! the end of the stream after [`Report::Ready`] means that `execve` succeeded.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
        socketpair,
    },
    process::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{CreateError, ExecError, Launch, StartError};

/// The longest report, in bytes; longer texts are cut by whoever makes them.
const MAX_REPORT: usize = 16 << 10;

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// What a child tells.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Something could not be done as asked and was gone on without.
    Warning(String),
    /// The user namespace is there: write its maps, and *go*.
    MapIds,
    /// Here is the other side of the terminal.
    Terminal,
    /// The mounts are there, the root is not changed yet: run the hooks of this point, and *go*.
    Hooks,
    /// Here is the listener of a notifying seccomp filter.
    SeccompListener,
    /// At the gate: *go* opens it.
    Ready,
    /// The end.
    Failed(Failure),
}

/// Why a child ends before its executable runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// A step of the set-up.
    Step { step: String, errno: i32 },
    /// A hook.
    Hook { kind: String, path: PathBuf, problem: String },
    /// The executable or the working directory.
    Launch(Launch),
}

/// Names the step that failed.
pub(crate) trait Context<T> {
    /// Turns the kernel's answer into a [`Failure`] of the step that `name` describes.
    fn step<S: Into<String>>(self, name: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn step<S: Into<String>>(self, name: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| {
            let error: io::Error = error.into();
            let unknown = Errno::INVAL.raw_os_error();
            Failure::Step { step: name().into(), errno: error.raw_os_error().unwrap_or(unknown) }
        })
    }
}

impl Channel {
    /// Makes both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (one, other) = socketpair(family, kind, SocketFlags::CLOEXEC, None)?;
        Ok((Self(one), Self(other)))
    }

    /// Takes a connected socket that keeps messages apart.
    pub(crate) fn from_socket(socket: OwnedFd) -> Self {
        Self(socket)
    }

    /// The child's part: tells something.
    pub(crate) fn send(&self, report: &Report) -> io::Result<()> {
        let bytes = encode(report);
        send(&self.0, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The child's part: tells something and hands over a descriptor.
    pub(crate) fn send_with(&self, report: &Report, fd: BorrowedFd<'_>) -> io::Result<()> {
        let bytes = encode(report);
        let fds = [fd];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The child's part: waits for the parent's *go*. The parent's end is an error.
    pub(crate) fn wait_for_go(&self) -> io::Result<i32> {
        let mut bytes = [0; 4];
        match retry(|| recv(&self.0, &mut bytes, RecvFlags::empty()))? {
            (_, 4) => Ok(i32::from_ne_bytes(bytes)),
            _ => Err(Errno::CONNRESET.into()),
        }
    }

    /// The parent's part: lets the child go on.
    pub(crate) fn go(&self, child: Pid) -> io::Result<()> {
        let bytes = child.as_raw_nonzero().get().to_ne_bytes();
        send(&self.0, &bytes, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// The parent's part: the next report, or `None` when the child's end is closed.
    pub(crate) fn receive(&self) -> io::Result<Option<(Report, Option<OwnedFd>)>> {
        let mut bytes = vec![0; MAX_REPORT];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = retry(|| {
            let mut slices = [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        if received.bytes == 0 {
            return Ok(None);
        }
        let fd = ancillary.drain().find_map(|it| match it {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let report = serde_json::from_slice(&bytes[..received.bytes])
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some((report, fd)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn retry<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            // The child died with our last words unread: that is its end, like any other.
            outcome => return outcome.map_err(io::Error::from),
        }
    }
}

fn encode(report: &Report) -> Vec<u8> {
    let bytes = serde_json::to_vec(report).expect("BUG: a report is plain data");
    if bytes.len() <= MAX_REPORT {
        return bytes;
    }
    let failure = Failure::Step {
        step: "tell what failed, at length".into(),
        errno: Errno::MSGSIZE.raw_os_error(),
    };
    serde_json::to_vec(&Report::Failed(failure)).expect("BUG: a report is plain data")
}

impl From<Failure> for CreateError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Step { step, errno } => Self::Step { step, errno },
            Failure::Hook { kind, path, problem } => Self::Hook { kind, path, problem },
            Failure::Launch(launch) => Self::Launch(launch),
        }
    }
}

impl From<Failure> for StartError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Step { step, errno } => Self::Step { step, errno },
            Failure::Hook { kind, path, problem } => Self::Hook { kind, path, problem },
            Failure::Launch(launch) => Self::Launch(launch),
        }
    }
}

impl From<Failure> for ExecError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Launch(launch) => Self::Launch(launch),
            other => Self::Create(other.into()),
        }
    }
}
