//! The files in which the shim tells of itself, to whoever comes when it is gone.
//!
//! **Invariant:** a file holds all of one version or all of another: it is written beside, and
//! renamed. Nothing is flushed to a disk: run directories are in memory, and a machine that lost
//! them has lost their containers too.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use serde::Serialize;

/// Writes `value` as JSON to the file `name` of `directory`.
pub(super) fn persist(directory: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let beside = directory.join(format!(".{name}.new"));
    let bytes = serde_json::to_vec(value)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?
        .write_all(&bytes)?;
    fs::rename(beside, directory.join(name))
}
