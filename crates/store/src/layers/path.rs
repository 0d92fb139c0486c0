//! Names in archives.
//!
//! **Invariant:** an [`EntryPath`] has no empty component, no `.` and no `..`; an absolute name is
//! one below the layer's root. It may still lead through symbolic links: only the kernel walks
//! it, below the root's descriptor.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// `PATH_MAX`, less what the kernel needs for itself.
const MAX_PATH: usize = 4095;
const MAX_COMPONENT: usize = 255;

/// A name from an archive, without what makes names dangerous.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct EntryPath {
    /// The components, joined by single slashes. The root is empty.
    bytes: Vec<u8>,
}

/// What is wrong with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It has a `..`.
    #[error("has a component \"..\"")]
    Parent,
    /// It has a zero byte.
    #[error("has a zero byte")]
    Zero,
    /// It is longer than a path may be.
    #[error("is longer than {MAX_PATH} bytes")]
    TooLong,
    /// It has a component longer than a name may be.
    #[error("has a component of more than {MAX_COMPONENT} bytes")]
    LongComponent,
    /// It is the root, and the entry is no directory.
    #[error("is the root, which can only be a directory")]
    Root,
    /// It is a whiteout of nothing.
    #[error("is a whiteout of no name")]
    Whiteout,
    /// It leads through something that is no directory.
    #[error("leads through something that is not a directory")]
    NotADirectory,
    /// It leads through too many symbolic links.
    #[error("leads through too many symbolic links")]
    Loop,
    /// It is a hard link to something that is not in the layer.
    #[error("is a hard link to something that the layer does not have")]
    LinkTarget,
    /// It is a symbolic link to nothing, or to more than a path.
    #[error("is a symbolic link whose target is empty or too long")]
    SymlinkTarget,
}

impl EntryPath {
    pub(super) fn parse(name: &[u8]) -> Result<Self, PathProblem> {
        let mut bytes = Vec::with_capacity(name.len());
        for component in name.split(|it| *it == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathProblem::Parent),
                _ if component.len() > MAX_COMPONENT => return Err(PathProblem::LongComponent),
                _ if component.contains(&0) => return Err(PathProblem::Zero),
                _ => {}
            }
            if !bytes.is_empty() {
                bytes.push(b'/');
            }
            bytes.extend_from_slice(component);
        }
        if bytes.len() > MAX_PATH {
            return Err(PathProblem::TooLong);
        }
        Ok(Self { bytes })
    }

    /// A path that an [`EntryPath`] was written out as.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }

    pub(super) fn is_root(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The parent's path (empty for the root) and the last component; nothing for the root.
    pub(super) fn split(&self) -> Option<(&[u8], &OsStr)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = match self.bytes.iter().rposition(|it| *it == b'/') {
            Some(slash) => (&self.bytes[..slash], &self.bytes[slash + 1..]),
            None => (&[][..], &self.bytes[..]),
        };
        Some((parent, OsStr::from_bytes(name)))
    }
}

/// What a name means by its prefix `.wh.` (OCI image spec, `layer.md`, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whiteout<'a> {
    /// Nothing.
    None,
    /// The directory hides what is below it.
    Opaque,
    /// This name is hidden.
    Name(&'a OsStr),
    /// Bookkeeping of aufs, which nobody needs.
    Bookkeeping,
}

impl<'a> Whiteout<'a> {
    pub(super) fn of(name: &'a OsStr) -> Result<Self, PathProblem> {
        let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") else { return Ok(Self::None) };
        match hidden {
            b".wh..opq" => Ok(Self::Opaque),
            _ if hidden.starts_with(b".wh.") => Ok(Self::Bookkeeping),
            b"" | b"." | b".." => Err(PathProblem::Whiteout),
            _ => Ok(Self::Name(OsStr::from_bytes(hidden))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: Result<&str, PathProblem>) {
        let path = EntryPath::parse(name.as_bytes());
        let path = path.as_ref().map(|it| str::from_utf8(&it.bytes).unwrap());
        assert_eq!(path.map_err(|it| *it), expected, "{name:?}");
    }

    #[test]
    fn names_lose_what_makes_them_dangerous_or_are_refused() {
        check("./a//b/./c/", Ok("a/b/c"));
        check("/etc/passwd", Ok("etc/passwd"));
        check("", Ok(""));
        check("./", Ok(""));
        check("...", Ok("..."));
        check("..", Err(PathProblem::Parent));
        check("a/../../b", Err(PathProblem::Parent));
        check("a/..", Err(PathProblem::Parent));
        check("a\0b", Err(PathProblem::Zero));
        check(&"a".repeat(256), Err(PathProblem::LongComponent));
        check(&"a/".repeat(2049), Err(PathProblem::TooLong));
    }

    #[test]
    fn whiteouts_are_told_by_their_prefix() {
        let of = |name| Whiteout::of(OsStr::new(name));
        assert_eq!(of("wh.a"), Ok(Whiteout::None));
        assert_eq!(of(".wh.a"), Ok(Whiteout::Name(OsStr::new("a"))));
        assert_eq!(of(".wh..wh..opq"), Ok(Whiteout::Opaque));
        assert_eq!(of(".wh..wh.plnk"), Ok(Whiteout::Bookkeeping));
        for name in [".wh.", ".wh..", ".wh..."] {
            assert_eq!(of(name), Err(PathProblem::Whiteout), "{name}");
        }
    }
}
