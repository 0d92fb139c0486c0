//! `GET /events`.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::{HeaderMap, header};
use wadah_engine::events::{EventQuery, Events};

use crate::{
    call::Call,
    error::ApiError,
    filters,
    reply::Reply,
    version::{Gate, Version},
    wire,
};

/// How events are strung together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    /// One per line, announced as this.
    Lines(&'static str),
    /// RFC 7464: a record separator before each, a line feed behind.
    Sequence,
}

/// What a sequence calls itself.
const SEQUENCE: &str = "application/json-seq";

/// RFC 7464's record separator.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Streams events until the client has enough or `until` has come.
pub(crate) fn watch(events: &Events, call: &Call) -> Result<Reply, ApiError> {
    let since = wire::parse_time("since", call.query.get("since"))?;
    let until = wire::parse_time("until", call.query.get("until"))?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(ApiError::bad_request(format!(
            "`since` time ({since}) cannot be after `until` time ({until})"
        )));
    }
    let filters = filters::parse(&call.query)?;
    let mut subscription = events.subscribe(EventQuery { since, until, filters })?;
    let format = negotiate(&call.headers, call.version);
    let version = call.version;
    let (sender, reply) = Reply::stream(format.media_type());
    let feed = async move {
        while let Some(event) = subscription.next().await {
            let bytes = format.string(&wire::event(&event, version));
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    };
    Ok(reply.fed_by(feed))
}

/// Takes the first media type that the client accepts and we have.
fn negotiate(headers: &HeaderMap, version: Version) -> Format {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|it| it.to_str().ok());
    let types = accepted.flat_map(|it| it.split(','));
    for media_type in types.map(|it| it.split(';').next().unwrap_or_default().trim()) {
        match media_type {
            "application/x-ndjson" => return Format::Lines("application/x-ndjson"),
            "application/jsonl" => return Format::Lines("application/jsonl"),
            SEQUENCE => return Format::Sequence,
            _ => {}
        }
    }
    let is_new = version.has(Gate::NoLegacyEvents);
    Format::Lines(if is_new { "application/jsonl" } else { "application/json" })
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::Lines(media_type) => media_type,
            Self::Sequence => SEQUENCE,
        }
    }

    fn string(self, event: &[u8]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(event.len() + 2);
        if self == Self::Sequence {
            bytes.put_u8(RECORD_SEPARATOR);
        }
        bytes.put_slice(event);
        bytes.put_u8(b'\n');
        bytes.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, version: &str, expected: Format) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        let (version, _) = Version::split_path(version).unwrap();
        assert_eq!(negotiate(&headers, version), expected, "{accept}");
    }

    #[test]
    fn the_client_chooses_the_media_type() {
        check("*/*", "/v1.51", Format::Lines("application/json"));
        check("*/*", "/v1.52", Format::Lines("application/jsonl"));
        check("application/json-seq;q=1", "/v1.52", Format::Sequence);
        check("text/plain, application/x-ndjson", "/v1.24", Format::Lines("application/x-ndjson"));
    }
}
