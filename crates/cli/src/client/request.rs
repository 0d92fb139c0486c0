//! A request in the making: method, path, query, headers and body.

use std::fmt::{Display, Write as _};

use hyper::{
    Method,
    header::{self, HeaderName},
};
use serde::Serialize;

use super::{Sent, whole};
use crate::failure::Failure;

/// A request that has not been sent.
#[derive(Debug)]
pub(crate) struct Request {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(HeaderName, String)>,
    body: Sent,
}

impl Request {
    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    pub(crate) fn post(segments: &[&str]) -> Self {
        Self::new(Method::POST, segments)
    }

    pub(crate) fn delete(segments: &[&str]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    /// A request for the path made of `segments`, each percent-encoded.
    fn new(method: Method, segments: &[&str]) -> Self {
        let mut path = String::with_capacity(96);
        for segment in segments {
            path.push('/');
            encode(segment, &mut path);
        }
        Self { method, path, query: String::new(), headers: Vec::new(), body: whole("") }
    }

    /// Adds a parameter.
    #[must_use]
    pub(crate) fn query(mut self, name: &str, value: impl Display) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        encode(name, &mut self.query);
        self.query.push('=');
        encode(&value.to_string(), &mut self.query);
        self
    }

    /// Adds a parameter, if it has a value.
    #[must_use]
    pub(crate) fn query_some(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds a parameter that is on, if it is.
    #[must_use]
    pub(crate) fn query_on(self, name: &str, on: bool) -> Self {
        if on { self.query(name, 1) } else { self }
    }

    /// Adds a header.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Gives the request a JSON body.
    #[must_use]
    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(body).expect("BUG: models have text keys and no cycles");
        self.body = whole(bytes);
        self.header(header::CONTENT_TYPE, "application/json")
    }

    /// Gives the request a body of its own.
    #[must_use]
    pub(crate) fn body(mut self, body: Sent) -> Self {
        self.body = body;
        self
    }

    /// What messages call this request.
    pub(super) fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(super) fn build(self, prefix: &str) -> Result<hyper::Request<Sent>, Failure> {
        let uri = format!("{prefix}{}{}", self.path, self.query);
        // The daemon's name is of no consequence, but HTTP/1.1 demands one.
        let mut builder =
            hyper::Request::builder().method(self.method).uri(uri).header(header::HOST, "wadah");
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(self.body).map_err(|error| Failure::refused(error.to_string()))
    }
}

/// Percent-encodes all that is neither unreserved (RFC 3986, section 2.3) nor harmless and common
/// in a segment or a value.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'@' => {
                to.push(char::from(byte));
            }
            _ => write!(to, "%{byte:02X}").expect("BUG: formatting into a string does not fail"),
        }
    }
}

/// Splits an image's name into segments: its slashes are part of the path.
pub(crate) fn image<'a>(name: &'a str, action: &'a str) -> Vec<&'a str> {
    let mut segments = vec!["images"];
    segments.extend(name.split('/'));
    segments.push(action);
    segments
}

/// The path of the image itself.
pub(crate) fn image_itself(name: &str) -> Vec<&str> {
    std::iter::once("images").chain(name.split('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_cannot_leave_its_segment() {
        let request = Request::get(&["containers", "../images?x#y", "json"]);
        assert_eq!(request.path, "/containers/..%2Fimages%3Fx%23y/json");
    }

    #[test]
    fn parameters_are_encoded() {
        let request = Request::get(&["x"]).query("filters", "{\"a\": 1}").query_on("all", true);
        assert_eq!(request.query, "?filters=%7B%22a%22:%201%7D&all=1");
    }
}
