//! Entries of a log in Docker's `json-file` format: one JSON object per line.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use crate::stream::{Chunk, Stream};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) stream: Stream,
    pub(super) time: Timestamp,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default, borrow)]
    log: Cow<'a, str>,
    #[serde(default, borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Entry {
    /// Reads a line; nothing if it is damaged.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line: Line<'_> = serde_json::from_slice(line).ok()?;
        let stream = if line.stream == "stderr" { Stream::Stderr } else { Stream::Stdout };
        let time = line.time.parse().ok()?;
        Some(Self { text: line.log.into_owned(), stream, time, attributes: line.attrs })
    }

    /// As a client gets it.
    pub(super) fn into_chunk(self, timestamps: bool, details: bool) -> Chunk {
        let mut text = String::new();
        if timestamps {
            text = format!("{:.9} ", self.time);
        }
        if details {
            let pairs: Vec<_> = self.attributes.iter().map(|(k, v)| format!("{k}={v}")).collect();
            text.push_str(&pairs.join(","));
            text.push(' ');
        }
        let text = if text.is_empty() { self.text } else { text + &self.text };
        Chunk { stream: self.stream, bytes: Bytes::from(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_and_decorated() {
        let line = br#"{"log":"a\u003cb\n","stream":"stderr","attrs":{"k":"v"},"time":"2026-01-02T03:04:05.1Z"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!(entry.stream, Stream::Stderr);
        let chunk = entry.clone().into_chunk(false, false);
        assert_eq!(chunk.bytes, "a<b\n");
        let chunk = entry.into_chunk(true, true);
        assert_eq!(chunk.bytes, "2026-01-02T03:04:05.100000000Z k=v a<b\n");
        assert_eq!(Entry::parse(b"{\"log\":"), None);
    }
}
