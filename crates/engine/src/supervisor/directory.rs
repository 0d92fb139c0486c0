//! Run directories: what is on disk about a container that runs.
//!
//! **Invariant:** the run directory is the truth about what runs. It exists from before the shim
//! is spawned until its container's end is written down elsewhere.

use std::{
    fs::{self, DirBuilder},
    io,
    os::{fd::AsRawFd as _, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;
use wadah_oci::ContainerId;
use wadah_shim::launch::{LAUNCH, SOCKET, STATE, bury};

use crate::{EngineError, files};

/// What follows the name of a run directory that is being deleted.
const GONE: &str = ".gone";

/// The run directory of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// The directory of `id`, existing or not.
    pub(crate) fn of(exec_root: &Path, id: &ContainerId) -> Self {
        Self { path: exec_root.join("containers").join(id.as_str()) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it, unless it is there.
    pub(crate) fn create(&self) -> Result<(), EngineError> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(EngineError::io(format!("cannot create {}", self.path.display()), source))
            }
            _ => Ok(()),
        }
    }

    /// What the shim is started with.
    pub(crate) fn launch(&self) -> PathBuf {
        self.path.join(LAUNCH)
    }

    /// Connects to the shim. A socket's address holds 108 bytes, however long the directory's
    /// path is: it is named through a descriptor.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.path, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
        UnixStream::connect(path).await
    }

    /// The engine's record of a container that has no row in the database.
    pub(crate) fn record(&self) -> PathBuf {
        self.path.join("record")
    }

    /// How the container is connected to networks.
    pub(crate) fn network(&self) -> PathBuf {
        self.path.join("network")
    }

    /// Writes a value as JSON.
    pub(crate) fn write(&self, path: &Path, value: &impl Serialize) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(value).map_err(|source| {
            EngineError::mechanism(format!("cannot write {}", path.display()), source)
        })?;
        files::create(path, &bytes, 0o600)
    }

    /// Reads a value from JSON; nothing if there is no file.
    pub(crate) fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, EngineError> {
        let operation = || format!("cannot read {}", path.display());
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EngineError::io(operation(), error)),
        };
        let value = serde_json::from_slice(&bytes);
        value.map(Some).map_err(|source| EngineError::mechanism(operation(), source))
    }

    /// Whether a shim was about to be spawned, or was.
    pub(crate) fn was_launched(&self) -> bool {
        self.launch().exists()
    }

    /// Kills and removes what is left of the container's processes, when its shim is gone.
    pub(crate) fn bury(&self) -> Result<(), EngineError> {
        if !self.was_launched() {
            return Ok(());
        }
        let operation = || format!("cannot clear up after {}", self.path.display());
        bury(&self.path).map_err(|it| EngineError::mechanism(operation(), it))
    }

    /// Removes what belongs to one run, but keeps the engine's record: what a start leaves that
    /// was cut off. First goes what tells that it ran, last what tells that there was a run.
    pub(crate) fn clear(&self) -> Result<(), EngineError> {
        let operation = || format!("cannot clear {}", self.path.display());
        let failed = |source| EngineError::io(operation(), source);
        if !self.record().exists() {
            return self.remove();
        }
        remove_any(&self.path.join(STATE)).map_err(failed)?;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path != self.record() && path != self.launch() {
                remove_any(&path).map_err(failed)?;
            }
        }
        remove_any(&self.launch()).map_err(failed)
    }

    /// Removes it with everything in it: renamed away first, so that it is never there in part.
    /// What a crash leaves of the rest is swept at the next start.
    pub(crate) fn remove(&self) -> Result<(), EngineError> {
        let failed =
            |source| EngineError::io(format!("cannot remove {}", self.path.display()), source);
        let mut away = self.path.as_os_str().to_owned();
        away.push(GONE);
        let away = Path::new(&away);
        match fs::rename(&self.path, away) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            // What an earlier removal has left is in the way.
            Err(_) => {
                fs::remove_dir_all(away).map_err(failed)?;
                fs::rename(&self.path, away).map_err(failed)?;
            }
        }
        fs::remove_dir_all(away).map_err(failed)
    }

    /// Deletes what removals that were cut off have left in `exec_root`.
    pub(crate) fn sweep(exec_root: &Path) {
        let entries = fs::read_dir(exec_root.join("containers")).into_iter().flatten().flatten();
        for entry in entries.filter(|it| it.file_name().to_string_lossy().ends_with(GONE)) {
            if let Err(error) = fs::remove_dir_all(entry.path()) {
                tracing::warn!(%error, path = %entry.path().display(), "something stays");
            }
        }
    }
}

fn remove_any(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => fs::remove_dir_all(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
