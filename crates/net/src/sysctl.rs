//! Kernel parameters of the calling thread's network namespace.

use std::{fs, io, path::Path};

use crate::NetError;

/// Writes `value` to `/proc/sys/net/<name>`.
pub(crate) fn set(name: &str, value: &str) -> Result<(), NetError> {
    let path = Path::new("/proc/sys/net").join(name);
    // Not created: what is not there is not a parameter of this kernel.
    let file = fs::OpenOptions::new().write(true).open(&path);
    file.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()))
        .map_err(|source| NetError::Sysctl { path, source })
}

/// As [`set`], content when this kernel has no such parameter: one built without IPv6, say.
pub(crate) fn set_if_present(name: &str, value: &str) -> Result<(), NetError> {
    match set(name, value) {
        Err(NetError::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Whether a parameter is set to something other than 0.
pub(crate) fn is_on(name: &str) -> Result<bool, NetError> {
    let path = Path::new("/proc/sys/net").join(name);
    let text = fs::read_to_string(&path).map_err(|source| NetError::Sysctl { path, source })?;
    Ok(text.trim() != "0")
}
