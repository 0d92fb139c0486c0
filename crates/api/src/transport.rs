//! The sockets that requests come in by.
//!
//! **Invariant:** what is above knows of a connection only that bytes go in and out, and whether
//! the other end has gone altogether.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};

/// A connected socket.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The two directions. Dropping the writer closes its direction.
    fn into_split(self: Box<Self>) -> (Box<dyn Reader>, Box<dyn Writer>);
}

/// The direction from the client.
pub(crate) trait Reader: AsyncRead + Unpin + Send {
    /// Whether the other end is closed in both directions. A half-closed connection is not gone:
    /// its client still reads. (Over TCP the two look the same until something is written.)
    fn is_gone(&self) -> bool;
}

/// The direction to the client.
pub(crate) trait Writer: AsyncWrite + Unpin + Send {}

impl<T: AsyncWrite + Unpin + Send> Writer for T {}

impl Transport for UnixStream {
    fn into_split(self: Box<Self>) -> (Box<dyn Reader>, Box<dyn Writer>) {
        let (reader, writer) = Self::into_split(*self);
        (Box::new(reader), Box::new(writer))
    }
}

impl Transport for TcpStream {
    fn into_split(self: Box<Self>) -> (Box<dyn Reader>, Box<dyn Writer>) {
        let (reader, writer) = Self::into_split(*self);
        (Box::new(reader), Box::new(writer))
    }
}

impl Reader for unix::OwnedReadHalf {
    fn is_gone(&self) -> bool {
        has_hung_up(self.as_ref())
    }
}

impl Reader for tcp::OwnedReadHalf {
    fn is_gone(&self) -> bool {
        has_hung_up(self.as_ref())
    }
}

fn has_hung_up(socket: &impl AsFd) -> bool {
    let mut sockets = [PollFd::new(socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::HUP | PollFlags::ERR;
    poll(&mut sockets, Some(&now)).is_ok() && sockets[0].revents().intersects(gone)
}

/// A transport that can hide its end of input from hyper.
///
/// hyper gives up on a connection whose client says no more before it was answered. For a request
/// that takes the connection over that is wrong: the end of input is the process's.
pub(crate) struct Gate {
    transport: Box<dyn Transport>,
    hides_eof: Arc<AtomicBool>,
}

impl Gate {
    /// Wraps `transport`; the end of input is hidden while `hides_eof` is set.
    pub(crate) fn new(transport: Box<dyn Transport>, hides_eof: Arc<AtomicBool>) -> Self {
        Self { transport, hides_eof }
    }

    /// The transport itself.
    pub(crate) fn into_inner(self) -> Box<dyn Transport> {
        self.transport
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let it = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut it.transport).poll_read(cx, buffer))?;
        let is_eof = buffer.filled().len() == before && buffer.remaining() > 0;
        if is_eof && it.hides_eof.load(Ordering::Relaxed) {
            // Nobody is woken: the handler that takes over meets the same end again.
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}
