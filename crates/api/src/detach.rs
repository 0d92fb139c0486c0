//! The keys that leave a container's terminal without ending the container.
//!
//! **Invariant:** bytes that may be the beginning of the sequence are held back until it is clear
//! that they are not; then they reach the process in their order.

use bytes::{Bytes, BytesMut};

use crate::error::ApiError;

/// What is typed unless the client says otherwise: ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// A sequence of keys, and how much of it was typed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`; the default if nothing is given.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let keys = match text {
            None | Some("") => DEFAULT.to_vec(),
            Some(text) => text.split(',').map(parse_key).collect::<Result<_, _>>()?,
        };
        Ok(Self { keys, typed: 0 })
    }

    /// Takes what was typed; returns what the process gets, and whether the sequence is complete.
    /// What was typed behind it is dropped.
    pub(crate) fn filter(&mut self, bytes: Bytes) -> (Bytes, bool) {
        if self.typed == 0 && !bytes.contains(&self.keys[0]) {
            return (bytes, false);
        }
        let mut passed = BytesMut::with_capacity(bytes.len() + self.typed);
        for byte in bytes {
            if byte != self.keys[self.typed] {
                passed.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if byte == self.keys[self.typed] {
                self.typed += 1;
            } else {
                passed.extend_from_slice(&[byte]);
            }
            if self.typed == self.keys.len() {
                self.typed = 0;
                return (passed.freeze(), true);
            }
        }
        (passed.freeze(), false)
    }
}

fn parse_key(key: &str) -> Result<u8, ApiError> {
    if let [byte] = key.as_bytes() {
        return Ok(*byte);
    }
    let control = key.strip_prefix("ctrl-").map(str::as_bytes);
    match control {
        Some([byte @ (b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')]) => {
            Ok(byte.to_ascii_uppercase() & 0x1f)
        }
        _ => Err(ApiError::bad_request(format!("Invalid detach keys: Unknown character: '{key}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(keys: &str, typed: &[&[u8]], passed: &[u8], detached: bool) {
        let mut keys = DetachKeys::parse(Some(keys)).unwrap();
        let (mut found, mut found_detached) = (Vec::new(), false);
        for part in typed {
            let (bytes, is_complete) = keys.filter(Bytes::copy_from_slice(part));
            found.extend_from_slice(&bytes);
            found_detached |= is_complete;
        }
        assert_eq!((found.as_slice(), found_detached), (passed, detached));
    }

    #[test]
    fn the_sequence_detaches_however_it_is_cut() {
        check("", &[b"ls\n\x10\x11"], b"ls\n", true);
        check("", &[b"ls\n\x10", b"\x11"], b"ls\n", true);
        check("ctrl-a,x", &[b"\x01", b"x"], b"", true);
        check("q", &[b"abq"], b"ab", true);
    }

    #[test]
    fn half_a_sequence_reaches_the_process() {
        check("", &[b"\x10", b"a"], b"\x10a", false);
        check("", &[b"\x10\x10\x11"], b"\x10", true);
        check("a,a,b", &[b"aac"], b"aac", false);
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = DetachKeys::parse(Some("ctrl-p,foo")).unwrap_err().to_string();
        assert_eq!(error, "Invalid detach keys: Unknown character: 'foo'");
    }
}
