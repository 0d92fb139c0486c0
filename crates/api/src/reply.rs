//! What a handler answers: an HTTP response, or the connection itself.
//!
//! **Invariant:** a streamed body is a bounded queue. A client that goes away drops it, and with
//! it whatever fills it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{self, HeaderName, HeaderValue},
};
use serde::Serialize;
use tokio::sync::mpsc;
use wadah_engine::stream::Chunk;

use crate::{
    error::ApiError,
    hijack::{self, Hijack, MULTIPLEXED, RAW},
    version::NEWEST,
};

/// Chunks of a streamed body that may wait for a slow client.
const QUEUE: usize = 32;

/// What a handler answers.
pub(crate) enum Reply {
    /// A response.
    Http(Response<ReplyBody>),
    /// From here on the connection carries a process's streams.
    Hijack(Box<Hijack>),
}

/// The body of a response.
pub(crate) enum ReplyBody {
    /// All of it, or none.
    Whole(Bytes),
    /// As it comes.
    Stream(mpsc::Receiver<Bytes>),
    /// A process's output.
    Output {
        /// As it comes.
        chunks: mpsc::Receiver<Chunk>,
        /// Whether it goes out in frames.
        framed: bool,
    },
    /// A body with what fills it. It lives and dies with the connection: no task outlives the
    /// client.
    Fed {
        /// The body.
        body: Box<Self>,
        /// What fills it, until it is done.
        feed: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    },
}

impl Reply {
    /// A status without a body.
    pub(crate) fn status(status: StatusCode) -> Self {
        Self::whole(status, None, Bytes::new())
    }

    /// 204.
    pub(crate) fn no_content() -> Self {
        Self::status(StatusCode::NO_CONTENT)
    }

    /// 200 with a JSON body.
    pub(crate) fn json(value: &impl Serialize) -> Self {
        Self::json_with(StatusCode::OK, value)
    }

    /// A JSON body. It ends with a line feed, as Go's encoder has it.
    pub(crate) fn json_with(status: StatusCode, value: &impl Serialize) -> Self {
        let mut bytes = to_json(value);
        bytes.push(b'\n');
        Self::whole(status, Some("application/json"), bytes.into())
    }

    /// 200 with a text body.
    pub(crate) fn text(text: &'static str) -> Self {
        Self::whole(
            StatusCode::OK,
            Some("text/plain; charset=utf-8"),
            Bytes::from_static(text.as_bytes()),
        )
    }

    /// 200, then what is sent; the headers leave at once.
    pub(crate) fn stream(media_type: &'static str) -> (mpsc::Sender<Bytes>, Self) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let response = Response::new(ReplyBody::Stream(receiver));
        (sender, Self::Http(with_media_type(response, media_type)))
    }

    /// 200, then a process's output, in frames or raw; the headers leave at once.
    pub(crate) fn output(
        chunks: mpsc::Receiver<Chunk>,
        framed: bool,
        announces_frames: bool,
    ) -> Self {
        let media_type = if framed && announces_frames { MULTIPLEXED } else { RAW };
        let body = ReplyBody::Output { chunks, framed };
        Self::Http(with_media_type(Response::new(body), media_type))
    }

    /// Runs `feed`, which fills the streamed body, until it or the client ends.
    pub(crate) fn fed_by(self, feed: impl Future<Output = ()> + Send + 'static) -> Self {
        let Self::Http(response) = self else { return self };
        Self::Http(
            response
                .map(|body| ReplyBody::Fed { body: Box::new(body), feed: Some(Box::pin(feed)) }),
        )
    }

    /// Adds a header.
    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Http(response) = &mut self {
            let name = HeaderName::from_static(name);
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        self
    }

    fn whole(status: StatusCode, media_type: Option<&'static str>, bytes: Bytes) -> Self {
        let mut response = Response::new(ReplyBody::Whole(bytes));
        *response.status_mut() = status;
        Self::Http(match media_type {
            Some(media_type) => with_media_type(response, media_type),
            None => response,
        })
    }
}

impl From<ApiError> for Reply {
    fn from(error: ApiError) -> Self {
        #[derive(Serialize)]
        struct Message {
            message: String,
        }

        match error.status() {
            StatusCode::NOT_MODIFIED => Self::status(StatusCode::NOT_MODIFIED),
            status => Self::json_with(status, &Message { message: error.to_string() }),
        }
    }
}

/// Serialises one of our own wire models.
pub(crate) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("BUG: a wire model has only string keys")
}

/// The headers of every reply.
pub(crate) fn common_headers() -> [(HeaderName, HeaderValue); 4] {
    let server = concat!("Wadah/", env!("CARGO_PKG_VERSION"), " (linux)");
    let version = HeaderValue::from_str(&NEWEST.to_string());
    [
        (HeaderName::from_static("api-version"), version.expect("BUG: a version is digits")),
        (HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false")),
        (HeaderName::from_static("ostype"), HeaderValue::from_static("linux")),
        (header::SERVER, HeaderValue::from_static(server)),
    ]
}

/// Puts them on a reply.
pub(crate) fn add_common_headers(headers: &mut HeaderMap) {
    for (name, value) in common_headers() {
        headers.insert(name, value);
    }
}

fn with_media_type(
    mut response: Response<ReplyBody>,
    media_type: &'static str,
) -> Response<ReplyBody> {
    let value = HeaderValue::from_static(media_type);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// Gathers the chunks that wait into one piece of the body.
fn poll_output(
    chunks: &mut mpsc::Receiver<Chunk>,
    framed: bool,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
    let mut waiting = Vec::new();
    let count = ready!(chunks.poll_recv_many(cx, &mut waiting, QUEUE));
    if count == 0 {
        return Poll::Ready(None);
    }
    let mut bytes = BytesMut::new();
    for chunk in &waiting {
        hijack::append(&mut bytes, chunk, framed);
    }
    Poll::Ready(Some(Ok(Frame::data(bytes.freeze()))))
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(receiver) => {
                receiver.poll_recv(cx).map(|it| it.map(|it| Ok(Frame::data(it))))
            }
            Self::Output { chunks, framed } => poll_output(chunks, *framed, cx),
            Self::Fed { body, feed } => {
                if feed.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready()) {
                    *feed = None;
                }
                Pin::new(&mut **body).poll_frame(cx)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) | Self::Output { .. } | Self::Fed { .. } => SizeHint::default(),
        }
    }
}
