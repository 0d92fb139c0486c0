//! A request as handlers see it.
//!
//! **Invariant:** a body is read whole only within [`MAX_JSON`] and [`PATIENCE`]; what may be
//! larger is a stream.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{HeaderMap, Method, body::Incoming, header};
use tokio::time::timeout;

use crate::{error::ApiError, object::Object, query::Query, version::Version};

/// The longest JSON body.
const MAX_JSON: usize = 16 * 1024 * 1024;

/// How much more than that is read, and dropped, so that its sender comes to read the answer.
const MAX_DROPPED: usize = 512 * 1024 * 1024;

/// How long a JSON body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, its path taken apart.
pub(crate) struct Call {
    /// Its method.
    pub(crate) method: Method,
    /// The version it speaks.
    pub(crate) version: Version,
    /// What stood in the braces of its route.
    pub(crate) name: String,
    /// Its query.
    pub(crate) query: Query,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Incoming,
    /// Keeps the connection alive over the client's end of input.
    pub(crate) hides_eof: Arc<AtomicBool>,
}

impl Call {
    /// Whether the client offers to upgrade the connection.
    pub(crate) fn wants_upgrade(&self) -> bool {
        self.headers.contains_key(header::UPGRADE)
    }

    /// Declares that this request will take the connection over.
    pub(crate) fn will_hijack(&self) {
        self.hides_eof.store(true, Ordering::Relaxed);
    }

    /// The JSON object that is the body; an error if there is none.
    pub(crate) async fn object(&mut self) -> Result<Object, ApiError> {
        match self.optional_object().await? {
            Some(object) => Ok(object),
            None => Err(ApiError::bad_request("invalid JSON: got EOF while reading request body")),
        }
    }

    /// The JSON object that is the body, if there is a body.
    pub(crate) async fn optional_object(&mut self) -> Result<Option<Object>, ApiError> {
        let bytes = self.bytes().await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.check_media_type()?;
        Object::parse(&bytes).map(Some)
    }

    /// Docker refuses anything but JSON; curl's form type is how people meet this message.
    fn check_media_type(&self) -> Result<(), ApiError> {
        let given = self.headers.get(header::CONTENT_TYPE).map(|it| it.as_bytes());
        let given = String::from_utf8_lossy(given.unwrap_or_default());
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(ApiError::bad_request(format!(
            "unsupported Content-Type header ({given}): must be 'application/json'"
        )))
    }

    async fn bytes(&mut self) -> Result<Vec<u8>, ApiError> {
        let read = timeout(PATIENCE, read_bounded(&mut self.body)).await;
        read.unwrap_or(Err(ApiError::TooSlow { seconds: PATIENCE.as_secs() }))
    }
}

async fn read_bounded(body: &mut Incoming) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken_body(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if dropped > 0 || bytes.len() + data.len() > MAX_JSON {
            bytes = Vec::new();
            dropped += data.len();
        } else {
            bytes.extend_from_slice(&data);
        }
        if dropped > MAX_DROPPED {
            break;
        }
    }
    if dropped > 0 { Err(ApiError::TooLarge { limit: MAX_JSON }) } else { Ok(bytes) }
}

fn broken_body(error: &hyper::Error) -> ApiError {
    ApiError::bad_request(format!("cannot read the request body: {error}"))
}
