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
use wadah_shim::launch::{LAUNCH, SOCKET, bury};

use crate::{EngineError, files};

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

    /// Removes what belongs to one run, and the directory, unless the engine's record is in it.
    pub(crate) fn clear(&self) -> Result<(), EngineError> {
        let keep = self.record();
        let operation = || format!("cannot clear {}", self.path.display());
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(EngineError::io(operation(), error)),
        };
        let mut kept = false;
        // `shim.json` goes last: as long as it is there, a start that finds this directory knows
        // that there was a run.
        let mut last = None;
        for entry in entries {
            let path = entry.map_err(|it| EngineError::io(operation(), it))?.path();
            if path == keep {
                kept = true;
            } else if path == self.launch() {
                last = Some(path);
            } else {
                remove_any(&path).map_err(|it| EngineError::io(operation(), it))?;
            }
        }
        last.map_or(Ok(()), |it| remove_any(&it)).map_err(|it| EngineError::io(operation(), it))?;
        if kept { Ok(()) } else { self.remove() }
    }

    /// Removes it with everything in it.
    pub(crate) fn remove(&self) -> Result<(), EngineError> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(EngineError::io(format!("cannot remove {}", self.path.display()), error))
            }
            _ => Ok(()),
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
