//! Detach keys: the sequence that leaves a container's terminal without ending the container.

use crate::flag::Invalid;

/// ctrl-p, ctrl-q.
const DEFAULT: [u8; 2] = [16, 17];

/// A sequence of keys to look for in what is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

/// Watches what is typed for the sequence.
///
/// Keys that may begin the sequence are held back until it is clear whether they do.
#[derive(Debug)]
pub(crate) struct Watch {
    keys: Vec<u8>,
    held: Vec<u8>,
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self(DEFAULT.to_vec())
    }
}

impl DetachKeys {
    /// Reads keys separated by commas: a character, or `ctrl-` and one of `a`–`z @ [ \ ] ^ _`.
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        text.split(',').map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Starts watching for the sequence.
    pub(crate) fn watch(self) -> Watch {
        Watch { keys: self.0, held: Vec::new() }
    }
}

fn key(name: &str) -> Result<u8, Invalid> {
    let unknown = || Invalid(format!("unknown character: '{name}'"));
    if let Some(rest) = name.strip_prefix("ctrl-") {
        let [letter] = rest.as_bytes() else { return Err(unknown()) };
        return match letter.to_ascii_lowercase() {
            it @ b'a'..=b'z' => Ok(it - b'a' + 1),
            b'@' => Ok(0),
            it @ b'['..=b'_' => Ok(it - b'[' + 27),
            _ => Err(unknown()),
        };
    }
    match name.as_bytes() {
        [key] => Ok(*key),
        _ => Err(unknown()),
    }
}

impl Watch {
    /// Appends to `through` what of `typed` is not part of the sequence; true once the sequence
    /// is complete, and then nothing after it passes.
    pub(crate) fn feed(&mut self, typed: &[u8], through: &mut Vec<u8>) -> bool {
        if self.keys.is_empty() {
            through.extend_from_slice(typed);
            return false;
        }
        for &byte in typed {
            self.held.push(byte);
            while !self.keys.starts_with(&self.held) {
                through.push(self.held.remove(0));
            }
            if self.held.len() == self.keys.len() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &str, typed: &[&[u8]], through: &[u8], detached: bool) {
        let mut watch = DetachKeys::parse(keys).unwrap().watch();
        let mut passed = Vec::new();
        let done = typed.iter().any(|it| watch.feed(it, &mut passed));
        assert_eq!((passed.as_slice(), done), (through, detached));
    }

    #[test]
    fn the_sequence_is_found_across_reads() {
        check("ctrl-p,ctrl-q", &[b"ab\x10", b"\x11c"], b"ab", true);
        check("ctrl-p,ctrl-q", &[b"\x10\x10\x11"], b"\x10", true);
        check("q", &[b"aqb"], b"a", true);
    }

    #[test]
    fn keys_that_only_begin_the_sequence_pass() {
        check("ctrl-p,ctrl-q", &[b"\x10x"], b"\x10x", false);
        check("a,a,b", &[b"aaa", b"b"], b"a", true);
    }

    #[test]
    fn every_key_of_a_terminal_has_a_name() {
        let keys = |it| DetachKeys::parse(it).map(|it| it.0);
        assert_eq!(keys("ctrl-a,Z,ctrl-@,ctrl-[,ctrl-_"), Ok(vec![1, b'Z', 0, 27, 31]));
        assert_eq!(keys("ctrl-p,foo"), Err(Invalid("unknown character: 'foo'".to_owned())));
        assert_eq!(keys("ctrl-"), Err(Invalid("unknown character: 'ctrl-'".to_owned())));
    }
}
