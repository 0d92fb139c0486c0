//! The client: HTTP requests to a daemon and their answers.
//!
//! Connections are made when a request needs one; one idle connection is kept for the next. There
//! is no handshake: paths carry no version, so the daemon answers with its newest, unless
//! `DOCKER_API_VERSION` insists on another.
//!
//! **Invariant:** what somebody typed reaches a path only percent-encoded ([`Request::path`]).

mod request;
mod socket;

use std::{cell::RefCell, convert::Infallible, io, os::fd::OwnedFd};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{self, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

pub(crate) use self::request::{Request, image, image_itself};
use self::socket::Stream;
use crate::{failure::Failure, host::Host, launch};

/// Bytes read at a time from what is sent.
const PIECE: usize = 128 * 1024;

/// A request's body.
pub(crate) type Sent = UnsyncBoxBody<Bytes, io::Error>;

/// Speaks to one daemon.
#[derive(Debug)]
pub(crate) struct Client {
    host: Host,
    /// `/v1.41`, or nothing.
    prefix: String,
    idle: RefCell<Option<SendRequest<Sent>>>,
}

/// A connection that has left HTTP behind: bytes both ways.
#[derive(Debug)]
pub(crate) struct Hijacked {
    /// In blocking mode.
    pub socket: OwnedFd,
    /// What arrived together with the answer's head.
    pub early: Bytes,
}

/// An answer whose head has arrived and whose body is still to come.
#[derive(Debug)]
pub(crate) struct Pending {
    what: String,
    kind: Option<HeaderValue>,
    body: Incoming,
    sender: SendRequest<Sent>,
}

impl Client {
    /// A client of the daemon at `host`. Nothing is sent yet.
    pub(crate) fn new(host: Host, version: Option<&str>) -> Self {
        let prefix = version.map_or(String::new(), |it| format!("/v{it}"));
        Self { host, prefix, idle: RefCell::new(None) }
    }

    /// Sends `request` and waits for the head of the answer; refusals become failures.
    pub(crate) async fn open(&self, request: Request) -> Result<Pending, Failure> {
        let what = request.what();
        let (response, sender) = self.exchange(request).await?;
        let mut response = accepted(response).await?;
        let kind = response.headers_mut().remove(header::CONTENT_TYPE);
        Ok(Pending { what, kind, body: response.into_body(), sender })
    }

    /// Sends `request` and reads the JSON answer.
    pub(crate) async fn json<T: DeserializeOwned>(&self, request: Request) -> Result<T, Failure> {
        let what = request.what();
        let bytes = self.bytes(request).await?;
        serde_json::from_slice(&bytes).map_err(|source| Failure::Answer { what, source })
    }

    /// Sends `request`; an answer other than a refusal is success.
    pub(crate) async fn unit(&self, request: Request) -> Result<(), Failure> {
        self.bytes(request).await.map(drop)
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn bytes(&self, request: Request) -> Result<Bytes, Failure> {
        let pending = self.open(request).await?;
        let (bytes, sender) = pending.collect().await?;
        self.idle.replace(Some(sender));
        Ok(bytes)
    }

    /// Sends `request`, asking to take the connection over.
    pub(crate) async fn hijack(&self, request: Request) -> Result<Hijacked, Failure> {
        let request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        let (response, _sender) = self.exchange(request).await?;
        let response = accepted(response).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::refused("the daemon does not let this connection be taken over"));
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|it| lost("an attach", it))?;
        let parts = upgraded
            .downcast::<TokioIo<Stream>>()
            .expect("BUG: connections are made of our own streams");
        let socket = parts.io.into_inner().into_blocking();
        let socket = socket.map_err(|it| lost("an attach", it))?;
        Ok(Hijacked { socket, early: parts.read_buf })
    }

    async fn exchange(
        &self,
        request: Request,
    ) -> Result<(Response<Incoming>, SendRequest<Sent>), Failure> {
        let request = request.build(&self.prefix)?;
        let mut sender = self.sender().await?;
        let response = sender.send_request(request).await.map_err(|it| lost("an answer", it))?;
        Ok((response, sender))
    }

    /// An idle connection, or a new one.
    async fn sender(&self) -> Result<SendRequest<Sent>, Failure> {
        let idle = self.idle.take();
        if let Some(mut sender) = idle
            && sender.ready().await.is_ok()
        {
            return Ok(sender);
        }
        let stream = self.connect().await?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|it| lost("a connection", it))?;
        // Whatever ends the connection shows in the requests on it.
        drop(tokio::spawn(connection.with_upgrades()));
        Ok(sender)
    }

    async fn connect(&self) -> Result<Stream, Failure> {
        match Stream::connect(&self.host.address).await {
            Ok(stream) => Ok(stream),
            Err(source) if launch::possible(&self.host, &source) => {
                launch::start(&self.host).await?;
                let stream = Stream::connect(&self.host.address).await;
                stream.map_err(|source| self.unreachable(source))
            }
            Err(source) => Err(self.unreachable(source)),
        }
    }

    fn unreachable(&self, source: io::Error) -> Failure {
        let host = self.host.address.to_string();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Failure::Forbidden { host, source },
            _ => Failure::Unreachable { host, source },
        }
    }
}

impl Pending {
    /// Whether the body says that it is of the media type `kind`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_ref().is_some_and(|it| it == kind)
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        while let Some(frame) = self.body.frame().await {
            let frame = frame.map_err(|it| lost("an answer", it))?;
            // What is not data is a trailer, which nothing here sends.
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// The rest of the body as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let what = self.what.clone();
        let (bytes, _) = self.collect().await?;
        serde_json::from_slice(&bytes).map_err(|source| Failure::Answer { what, source })
    }

    async fn collect(self) -> Result<(Bytes, SendRequest<Sent>), Failure> {
        let body = self.body.collect().await.map_err(|it| lost("an answer", it))?;
        Ok((body.to_bytes(), self.sender))
    }
}

/// Makes a failure of an answer that is a refusal.
async fn accepted(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    #[derive(Deserialize)]
    struct Refusal {
        message: String,
    }
    let status = response.status();
    if status.is_success()
        || status == StatusCode::NOT_MODIFIED
        || status == StatusCode::SWITCHING_PROTOCOLS
    {
        return Ok(response);
    }
    let body = response.into_body().collect().await.map_err(|it| lost("an answer", it))?;
    let bytes = body.to_bytes();
    let message = match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => refusal.message,
        Err(_) if bytes.is_empty() => status.to_string(),
        Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    Err(Failure::Daemon { status: status.as_u16(), message })
}

fn lost(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Failure {
    Failure::Connection { what, source: source.into() }
}

/// A body of bytes that are all there.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Sent {
    http_body_util::Full::new(bytes.into())
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

/// A body that is read as it is sent.
pub(crate) fn streamed(body: impl Body<Data = Bytes, Error = io::Error> + Send + 'static) -> Sent {
    body.boxed_unsync()
}

/// A body that is read piece by piece.
pub(crate) fn reading(
    reader: impl AsyncRead + Send + Unpin + 'static,
) -> impl Body<Data = Bytes, Error = io::Error> + Send + 'static {
    let pieces = stream::try_unfold(reader, |mut reader| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let count = reader.read_buf(&mut piece).await?;
        Ok((count > 0).then(|| (Frame::data(piece.freeze()), reader)))
    });
    StreamBody::new(pieces)
}
