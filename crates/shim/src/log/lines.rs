//! Cuts a stream of bytes into the lines of a log.
//!
//! **Invariant:** what comes out, joined, is what went in.
//! **Invariant:** no piece is longer than [`LIMIT`]: of a longer line, each piece but the last is
//! [`Piece::partial`], as Docker writes it.

use memchr::memchr;

/// The longest piece, in bytes.
pub(super) const LIMIT: usize = 16 << 10;

/// A line, or a part of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// Its bytes, without the line feed.
    pub(super) bytes: &'a [u8],
    /// Whether no line feed followed.
    pub(super) partial: bool,
}

/// The beginning of a line whose end was not read yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes what was read, and hands every piece that is complete to `emit`.
    pub(super) fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Piece<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = if self.pending.is_empty() {
                self.take_whole(rest, &mut emit)
            } else {
                self.continue_pending(rest, &mut emit)
            };
        }
    }

    /// The stream has ended: hands out what is left.
    pub(super) fn finish(&mut self, mut emit: impl FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            emit(Piece { bytes: &self.pending, partial: true });
        }
        self.pending = Vec::new();
    }

    /// Gives back memory that is not needed now.
    pub(super) fn shrink(&mut self) {
        self.pending.shrink_to_fit();
    }

    /// Emits the first piece of `rest` without copying it, or keeps all of it.
    fn take_whole<'a>(&mut self, rest: &'a [u8], emit: &mut impl FnMut(Piece<'_>)) -> &'a [u8] {
        let window = &rest[..rest.len().min(LIMIT)];
        if let Some(end) = memchr(b'\n', window) {
            emit(Piece { bytes: &rest[..end], partial: false });
            &rest[end + 1..]
        } else if window.len() == LIMIT {
            let (piece, after) = rest.split_at(cut(window));
            emit(Piece { bytes: piece, partial: true });
            after
        } else {
            self.pending.extend_from_slice(rest);
            &[]
        }
    }

    /// Adds to the line begun before, and emits it when it is complete.
    fn continue_pending<'a>(
        &mut self,
        rest: &'a [u8],
        emit: &mut impl FnMut(Piece<'_>),
    ) -> &'a [u8] {
        let window = &rest[..rest.len().min(LIMIT - self.pending.len())];
        if let Some(end) = memchr(b'\n', window) {
            self.pending.extend_from_slice(&rest[..end]);
            emit(Piece { bytes: &self.pending, partial: false });
            self.pending.clear();
            return &rest[end + 1..];
        }
        self.pending.extend_from_slice(window);
        if self.pending.len() == LIMIT {
            let end = cut(&self.pending);
            emit(Piece { bytes: &self.pending[..end], partial: true });
            self.pending.drain(..end);
        }
        &rest[window.len()..]
    }
}

/// Where to cut a piece: its end, or before a character that would be cut in two (Docker cuts it,
/// and so loses it: each half alone is not UTF-8).
fn cut(piece: &[u8]) -> usize {
    let tail = piece.len().saturating_sub(3);
    let start = piece[tail..].iter().rposition(|byte| *byte >= 0xc0).map(|at| tail + at);
    match start.map(|at| (at, std::str::from_utf8(&piece[at..]))) {
        // No `error_len`: not wrong, only too short.
        Some((at, Err(error))) if error.error_len().is_none() => at,
        _ => piece.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut_up(reads: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut pieces = Vec::new();
        let mut lines = Lines::default();
        let mut keep = |piece: Piece<'_>| pieces.push((piece.bytes.to_vec(), piece.partial));
        for read in reads {
            lines.feed(read, &mut keep);
        }
        lines.finish(keep);
        pieces
    }

    fn check(reads: &[&[u8]], expected: &[(&[u8], bool)]) {
        let expected: Vec<_> = expected.iter().map(|(b, p)| (b.to_vec(), *p)).collect();
        assert_eq!(cut_up(reads), expected);
    }

    #[test]
    fn lines_are_found_across_reads() {
        check(
            &[b"a\nb", b"c\n\n", b"d"],
            &[(b"a", false), (b"bc", false), (b"", false), (b"d", true)],
        );
        check(&[b""], &[]);
    }

    #[test]
    fn a_long_line_is_cut_where_docker_cuts_it() {
        let long = vec![b'x'; LIMIT + 1];
        check(&[&long, b"\n"], &[(&long[..LIMIT], true), (b"x", false)]);
        let exact = &long[..LIMIT];
        check(&[exact, b"\n"], &[(exact, true), (b"", false)]);
        check(&[&[exact, b"\n"].concat()], &[(exact, true), (b"", false)]);
        let fits = &long[..LIMIT - 1];
        check(&[fits, b"\n"], &[(fits, false)]);
    }

    #[test]
    fn a_character_is_never_cut_in_two() {
        let line = "€".repeat(LIMIT);
        for (piece, _) in cut_up(&[line.as_bytes()]) {
            std::str::from_utf8(&piece).unwrap();
        }
        // Bytes that are no text are cut anywhere.
        assert_eq!(cut(&[0xff; 20]), 20);
        assert_eq!(cut(b"abc\xe2\x82"), 3);
        assert_eq!(cut("abc€".as_bytes()), 6);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_added(
            reads in prop::collection::vec(
                prop::collection::vec(prop_oneof![20 => Just(b'x'), 1 => Just(b'\n')], 0..30_000),
                0..6),
        ) {
            let reads: Vec<&[u8]> = reads.iter().map(Vec::as_slice).collect();
            let mut joined = Vec::new();
            for (piece, partial) in cut_up(&reads) {
                prop_assert!(piece.len() <= LIMIT);
                joined.extend_from_slice(&piece);
                if !partial {
                    joined.push(b'\n');
                }
            }
            prop_assert_eq!(joined, reads.concat());
        }
    }
}
