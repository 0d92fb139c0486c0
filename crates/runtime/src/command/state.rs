//! What is known of containers from one command to the next: a directory for each.
//!
//! **Invariant:** a directory is made before anything of the container is and removed after
//! everything of it is gone; `state.json` is written at once or not at all.
//! **Invariant:** a process is known by its id and its start time, so an id used again is not
//! mistaken for the container.

use std::{
    collections::HashMap,
    fmt, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use oci_spec::runtime::Spec;
use rustix::{
    fs::{FlockOperation, Mode, OFlags, fcntl_lock},
    process::Pid,
};
use serde::{Deserialize, Serialize};

use super::error::CommandError;
use crate::cgroup::{Cgroup, Location};

/// The directory of all containers.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

/// One container's directory.
#[derive(Debug)]
pub(super) struct Entry {
    path: PathBuf,
}

/// One container's record: `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    /// The version of this format.
    pub(super) version: u32,
    pub(super) id: String,
    pub(super) pid: i32,
    /// When the process started, in the kernel's clock ticks since boot.
    pub(super) start_time: u64,
    pub(super) started: bool,
    pub(super) bundle: PathBuf,
    pub(super) rootfs: PathBuf,
    pub(super) created: String,
    /// The user who made it.
    pub(super) owner: u32,
    pub(super) cgroup: Location,
    #[serde(default)]
    pub(super) annotations: HashMap<String, String>,
}

/// Where in its life a container is (OCI runtime spec, "State").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Created,
    Running,
    Paused,
    Stopped,
}

/// Excludes other commands on the same container while it lives.
#[derive(Debug)]
#[must_use = "others are excluded only while it lives"]
pub(super) struct Lock {
    _file: rustix::fd::OwnedFd,
}

/// The version of [`Record`] this program writes.
pub(super) const VERSION: u32 = 1;
const STATE: &str = "state.json";
const SPEC: &str = "config.json";

impl Root {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Makes the directory of a new container.
    pub(super) fn add(&self, id: &str) -> Result<Entry, CommandError> {
        check_id(id)?;
        let mut builder = fs::DirBuilder::new();
        builder.mode(0o700);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CommandError::Write { path, source }
        };
        builder.recursive(true).create(&self.0).map_err(failed(&self.0))?;
        let path = self.0.join(id);
        match builder.recursive(false).create(&path) {
            Ok(()) => Ok(Entry { path }),
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {
                Err(CommandError::Exists { id: id.to_owned() })
            }
            Err(err) => Err(failed(&path)(err)),
        }
    }

    /// Finds a container's directory.
    pub(super) fn find(&self, id: &str) -> Result<Entry, CommandError> {
        check_id(id)?;
        let path = self.0.join(id);
        if path.is_dir() {
            return Ok(Entry { path });
        }
        Err(CommandError::Unknown { id: id.to_owned() })
    }

    /// The ids of all containers, in order.
    pub(super) fn ids(&self) -> Result<Vec<String>, CommandError> {
        let failed = |source| CommandError::Read { path: self.0.clone(), source };
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(err) => return Err(failed(err)),
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            ids.extend(name.into_string().ok().filter(|it| check_id(it).is_ok()));
        }
        ids.sort();
        Ok(ids)
    }
}

impl Entry {
    /// The socket of the gate at which a created container waits.
    pub(super) fn gate(&self) -> PathBuf {
        self.path.join("gate")
    }

    /// Waits for other commands on the container to be done.
    ///
    /// The lock is the process's, not the open file's: that one the container inherits, which
    /// would hold it while it waits to be started.
    pub(super) fn lock(&self) -> Result<Lock, CommandError> {
        let path = self.path.join("lock");
        let failed = |source: rustix::io::Errno| CommandError::Write {
            path: path.clone(),
            source: source.into(),
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        fcntl_lock(&file, FlockOperation::LockExclusive).map_err(failed)?;
        Ok(Lock { _file: file })
    }

    pub(super) fn record(&self) -> Result<Record, CommandError> {
        read_json(&self.path.join(STATE)).map_err(|err| match err {
            // Made, but not made yet: as good as not there.
            CommandError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                CommandError::Unknown { id: self.id() }
            }
            err => err,
        })
    }

    pub(super) fn spec(&self) -> Result<Spec, CommandError> {
        read_json(&self.path.join(SPEC))
    }

    pub(super) fn write(&self, record: &Record) -> Result<(), CommandError> {
        let text = serde_json::to_vec(record).expect("BUG: a record that JSON cannot hold");
        replace(&self.path.join(STATE), &text)
    }

    /// Keeps the specification. Until the record is written nobody reads it.
    pub(super) fn write_spec(&self, text: &[u8]) -> Result<(), CommandError> {
        let path = self.path.join(SPEC);
        fs::write(&path, text).map_err(|source| CommandError::Write { path, source })
    }

    /// Forgets the container.
    pub(super) fn remove(&self) -> Result<(), CommandError> {
        match fs::remove_dir_all(&self.path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(CommandError::Remove { path: self.path.clone(), source })
            }
            _ => Ok(()),
        }
    }

    fn id(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Record {
    /// Tells where in its life the container is, by looking at its process.
    pub(super) fn status(&self) -> Status {
        if start_time(self.pid) != Some(self.start_time) {
            return Status::Stopped;
        }
        if !self.started {
            return Status::Created;
        }
        let frozen = self.open_cgroup().and_then(|it| Ok(it.is_frozen()?));
        if frozen.unwrap_or(false) { Status::Paused } else { Status::Running }
    }

    pub(super) fn process(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    pub(super) fn open_cgroup(&self) -> Result<Cgroup, CommandError> {
        Ok(Cgroup::open(&self.cgroup)?)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// When a living process started; none for one that has ended (proc_pid_stat(5), fields 3 and 22).
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Reads a JSON file.
pub(super) fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, CommandError> {
    let text =
        fs::read(path).map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&text)
        .map_err(|source| CommandError::Json { path: path.to_owned(), source })
}

/// Writes a file so that it has the old content or the new, never half of it.
pub(super) fn replace(path: &Path, text: &[u8]) -> Result<(), CommandError> {
    let failed = |source| CommandError::Write { path: path.to_owned(), source };
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let beside = path.with_file_name(name);
    fs::write(&beside, text).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

/// An id is one path component of harmless letters.
fn check_id(id: &str) -> Result<(), CommandError> {
    let harmless = |it: char| it.is_ascii_alphanumeric() || "_+-.".contains(it);
    if id.is_empty() || id.len() > 255 || id.starts_with('.') || !id.chars().all(harmless) {
        return Err(CommandError::Id { id: id.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_harmless_path_component() {
        for id in ["a", "web-1", "x_y.z+1", "4f1c"] {
            check_id(id).unwrap();
        }
        for id in ["", ".", "..", "a/b", "../x", "a b", "a\n", ".hidden"] {
            check_id(id).unwrap_err();
        }
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).is_some());
        assert_eq!(start_time(i32::MAX), None);
    }
}
