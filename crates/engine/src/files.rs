//! Files of the engine's own: small, written whole.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use crate::EngineError;

/// Replaces the file at `path`: a reader sees the old one or the new one, whole. It is not
/// flushed to the disk.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let written = write(beside, bytes, mode).and_then(|()| fs::rename(beside, path));
    written.map_err(|source| EngineError::io(format!("cannot write {}", path.display()), source))
}

/// Writes a file that no one reads yet.
pub(crate) fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), EngineError> {
    write(path, bytes, mode)
        .map_err(|source| EngineError::io(format!("cannot write {}", path.display()), source))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(mode);
    let mut file = options.open(path)?;
    // Whatever the umask: some of these are seen inside containers.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)
}
