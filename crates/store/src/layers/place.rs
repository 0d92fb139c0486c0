//! Where an entry of an archive goes, and how its errors are told.

use std::ffi::OsStr;

use super::{unpack::UnpackError, walk::WalkError};

/// Where an entry goes.
pub(super) struct Place<'a> {
    pub(super) parent: &'a [u8],
    pub(super) name: &'a OsStr,
    pub(super) shown: &'a [u8],
}

impl Place<'_> {
    pub(super) fn failed<E: Into<WalkError>>(
        &self,
        act: &'static str,
    ) -> impl FnOnce(E) -> UnpackError {
        let path = shown(self.shown);
        move |error| match error.into() {
            WalkError::Path(problem) => UnpackError::Path { path, problem },
            WalkError::Disk(source) => UnpackError::Entry { act, path, source },
        }
    }
}

/// A name as it may be shown: not longer than anyone reads.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(&path[..path.len().min(256)]).into_owned()
}
