//! The file that holds the daemon's process id.
//!
//! **Invariant:** the file is a convenience for people and service managers. What keeps a second
//! daemon from the data root is the lock on it, not this.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context, Result, bail};

/// A pidfile that was written; dropping it removes it.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
}

impl PidFile {
    /// Writes our process id to `path`, unless another daemon that runs has its own there.
    pub(super) fn write(path: &Path) -> Result<Self> {
        if let Some(pid) = running_daemon(path) {
            bail!(
                "pidfile {} belongs to process {pid}, a daemon that runs: stop it first, or choose \
                 another --pidfile",
                path.display()
            );
        }
        let cannot = || format!("cannot write pidfile {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(cannot)?;
        }
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".new");
        fs::write(&temporary, process::id().to_string()).with_context(cannot)?;
        fs::rename(&temporary, path).with_context(cannot)?;
        Ok(Self { path: path.to_owned() })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot remove pidfile {}", self.path.display());
            }
            _ => {}
        }
    }
}

/// The process that the file names, if it is a daemon of ours: numbers are used again.
fn running_daemon(path: &Path) -> Option<u32> {
    let pid: u32 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_daemon = arguments.split(|it| *it == 0).take(2).any(|it| it.ends_with(b"daemon"));
    (is_daemon && pid != process::id()).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_pidfile_is_replaced_and_removed_at_the_end() {
        let path = std::env::temp_dir().join(format!("wadah-pidfile-{}", process::id()));
        // Process 1 is no daemon of ours.
        fs::write(&path, "1\n").unwrap();
        let pidfile = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), process::id().to_string());
        drop(pidfile);
        assert!(!path.exists());
    }
}
