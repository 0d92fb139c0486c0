//! One entry of a log: a line of JSON, byte for byte as Docker's `json-file` driver writes it.
//!
//! Docker's encoder is its own: it escapes what could end an HTML script (`<`, `>`, `&`, U+2028,
//! U+2029), writes `\n` and `\r` short but every other control character as `\u00xx`, and
//! replaces each byte that is not UTF-8 by U+FFFD.
//!
//! **Invariant:** an entry is one line: it holds no line feed but its last byte.

use std::collections::BTreeMap;

use super::{Source, lines::Piece};
use crate::clock::Moment;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// How many bytes are looked at together.
const CHUNK: usize = 32;

/// What stands around the text of an entry, made once for all that was read at one time.
#[derive(Debug)]
pub(super) struct Frame {
    /// From the end of the text to the end of the entry.
    tail: Vec<u8>,
}

impl Frame {
    /// Makes the frame of entries of one stream, at one time.
    pub(super) fn new(source: Source, attributes: &BTreeMap<String, String>, now: Moment) -> Self {
        let mut tail = Vec::with_capacity(96);
        tail.extend_from_slice(b"\",\"stream\":\"");
        tail.extend_from_slice(source.name().as_bytes());
        tail.push(b'"');
        if !attributes.is_empty() {
            tail.extend_from_slice(b",\"attrs\":");
            write_attributes(attributes, &mut tail);
        }
        tail.extend_from_slice(b",\"time\":\"");
        now.write_rfc3339(&mut tail);
        tail.extend_from_slice(b"\"}\n");
        Self { tail }
    }

    /// Appends one entry.
    pub(super) fn write(&self, piece: Piece<'_>, out: &mut Vec<u8>) {
        out.reserve(piece.bytes.len() + self.tail.len() + 16);
        out.extend_from_slice(b"{\"log\":\"");
        escape(piece.bytes, out);
        if !piece.partial {
            out.extend_from_slice(b"\\n");
        }
        out.extend_from_slice(&self.tail);
    }
}

/// Appends a JSON object of strings.
fn write_attributes(attributes: &BTreeMap<String, String>, out: &mut Vec<u8>) {
    let mut before = b'{';
    for (key, value) in attributes {
        out.extend_from_slice(&[before, b'"']);
        escape(key.as_bytes(), out);
        out.extend_from_slice(b"\":\"");
        escape(value.as_bytes(), out);
        out.push(b'"');
        before = b',';
    }
    out.push(b'}');
}

/// Appends the text of a JSON string.
fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = first_special(rest) {
        out.extend_from_slice(&rest[..at]);
        let special = rest[at];
        rest = if special.is_ascii() {
            escape_ascii(special, out);
            &rest[at + 1..]
        } else {
            let length = rest[at..].iter().position(u8::is_ascii).unwrap_or(rest.len() - at);
            let (wide, after) = rest[at..].split_at(length);
            escape_wide(wide, out);
            after
        };
    }
    out.extend_from_slice(rest);
}

/// Appends one ASCII character that may not stand for itself.
fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        _ => {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    }
}

/// Appends bytes beyond ASCII.
fn escape_wide(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut valid = chunk.valid();
        while let Some(at) = valid.find(['\u{2028}', '\u{2029}']) {
            let (before, separator) = valid.split_at(at);
            out.extend_from_slice(before.as_bytes());
            let text: &[u8] =
                if separator.starts_with('\u{2028}') { b"\\u2028" } else { b"\\u2029" };
            out.extend_from_slice(text);
            valid = &separator['\u{2028}'.len_utf8()..];
        }
        out.extend_from_slice(valid.as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Finds the first byte that may not stand for itself.
fn first_special(bytes: &[u8]) -> Option<usize> {
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    for (index, chunk) in chunks.iter().enumerate() {
        // Without an early exit the compiler compares all bytes of a chunk at once.
        if chunk.iter().fold(false, |found, byte| found | is_special(*byte)) {
            let at = chunk.iter().position(|byte| is_special(*byte));
            return at.map(|at| index * CHUNK + at);
        }
    }
    let at = rest.iter().position(|byte| is_special(*byte));
    at.map(|at| bytes.len() - rest.len() + at)
}

/// Whether a byte may not stand for itself. No branches: it runs over every byte of every log.
const fn is_special(byte: u8) -> bool {
    (byte < 0x20)
        | (byte >= 0x80)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn check(bytes: &[u8], golden: &Expect) {
        golden.assert_eq(&escaped(bytes));
    }

    #[test]
    fn text_is_escaped_as_docker_escapes_it() {
        check(b"plain, with \x7f", &expect!["plain, with \u{7f}"]);
        check(b"\t\r\x00\x1b[0m", &expect![r"\u0009\r\u0000\u001b[0m"]);
        check(br#"<a href="x">&\"#, &expect![r#"\u003ca href=\"x\"\u003e\u0026\\"#]);
        check("grüße €\u{2028}\u{2029}🦀".as_bytes(), &expect![r"grüße €\u2028\u2029🦀"]);
    }

    #[test]
    fn each_byte_that_is_no_text_is_replaced_alone() {
        check(b"a\xffb", &expect![r"a\ufffdb"]);
        // Two bytes of a character of three, a surrogate, a character cut short at the end.
        check(b"\xe2\x82x", &expect![r"\ufffd\ufffdx"]);
        check(b"\xed\xa0\x80", &expect![r"\ufffd\ufffd\ufffd"]);
        check(b"\xf0\x9f\xa6", &expect![r"\ufffd\ufffd\ufffd"]);
    }

    #[test]
    fn an_entry_is_what_docker_writes() {
        let attributes = BTreeMap::from([("label".to_owned(), "a\"b".to_owned())]);
        let none = BTreeMap::new();
        let check = |attributes, bytes, partial, golden: Expect| {
            let frame = Frame::new(Source::Stderr, attributes, Moment::at(1_700_000_000, 5));
            let mut out = Vec::new();
            frame.write(Piece { bytes, partial }, &mut out);
            golden.assert_eq(&String::from_utf8(out).unwrap());
        };
        check(
            &none,
            b"hello",
            false,
            expect![[r#"
            {"log":"hello\n","stream":"stderr","time":"2023-11-14T22:13:20.000000005Z"}
        "#]],
        );
        check(
            &attributes,
            b"x",
            true,
            expect![[r#"
            {"log":"x","stream":"stderr","attrs":{"label":"a\"b"},"time":"2023-11-14T22:13:20.000000005Z"}
        "#]],
        );
    }

    proptest! {
        #[test]
        fn what_a_json_parser_reads_back_is_what_was_logged(bytes: Vec<u8>) {
            let json = format!("\"{}\"", escaped(&bytes));
            prop_assert!(!json.contains('\n'));
            let read: String = serde_json::from_str(&json).unwrap();
            let mut expected = String::new();
            for chunk in bytes.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
            }
            prop_assert_eq!(read, expected);
        }
    }
}
