//! How the daemon starts shims, finds those started by its predecessor, and reads what dead ones
//! left behind.
//!
//! **Invariant:** a shim inherits its control connection, perhaps a network namespace, and no
//! other descriptor; it is in a session of its own, and executes a file that nothing inside a
//! container can open for writing.
//! **Invariant:** nothing here waits for a shim: an answer comes over its connection.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::{
            fs::{DirBuilderExt, OpenOptionsExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid},
};
use wadah_runtime::cgroup::{Cgroup, CgroupError, Location, LocationError};
use wadah_sys::spawn::{self, Descriptors, spawn};

use crate::protocol::{Exit, Launch, State};

/// The number that a shim finds its network namespace under: where the specification names it,
/// it says `/proc/self/fd/4`.
pub const NETWORK_NAMESPACE: &str = "/proc/self/fd/4";

/// In a run directory, the OCI specification.
pub const CONFIG: &str = "config.json";
/// In a run directory, the [`Launch`].
pub const LAUNCH: &str = "shim.json";
/// In a run directory, where the shim listens.
pub const SOCKET: &str = "shim.sock";
/// In a run directory, the last [`State`] before the end.
pub const STATE: &str = "state";
/// In a run directory, the container's [`Exit`].
pub const EXIT: &str = "exit";

/// Starts shims.
#[derive(Debug)]
pub struct Launcher {
    executable: OwnedFd,
    arguments: Vec<OsString>,
}

/// A shim that was started.
#[derive(Debug)]
#[must_use = "a shim whose connection is dropped ends when its container does"]
pub struct Shim {
    /// The first connection to it.
    pub connection: UnixStream,
    /// Its process, a child of the caller.
    pub process: Child,
}

/// A shim's process.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// What is known of a container from its run directory alone.
#[derive(Debug, Default)]
pub struct Remains {
    /// The last state that the shim wrote down; it does not know of the end.
    pub state: Option<State>,
    /// How the container ended.
    pub exit: Option<Exit>,
}

/// Why a shim was not started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Something about the run directory.
    #[error("cannot write {path:?}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The parameters cannot be written as JSON.
    #[error("cannot write down how to start container {id}")]
    Serialize {
        /// The container.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// There is no connection to give it.
    #[error("cannot make a connection for the shim of container {id}")]
    Connection {
        /// The container.
        id: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It cannot be executed.
    #[error("cannot start the shim of container {id}")]
    Spawn {
        /// The container.
        id: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why something of a dead shim's container is left.
#[derive(Debug, thiserror::Error)]
pub enum BuryError {
    /// The run directory is not readable.
    #[error("cannot read {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It names no control group.
    #[error("cannot find the control group of container {id}")]
    Location {
        /// The container.
        id: String,
        /// Why.
        source: LocationError,
    },
    /// The control group cannot be emptied and deleted.
    #[error("cannot delete the control group of container {id}")]
    Cgroup {
        /// The container.
        id: String,
        /// Why.
        source: CgroupError,
    },
}

impl Launcher {
    /// Starts shims by executing `executable` with `arguments` before those of
    /// [`crate::supervise::main`].
    ///
    /// `executable` should come from `wadah_runtime::protect`.
    pub fn new<T: Into<OsString>>(
        executable: OwnedFd,
        arguments: impl IntoIterator<Item = T>,
    ) -> Self {
        Self { executable, arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// Starts the shim of one container, which at once begins to make it. `spec` is the OCI
    /// specification as JSON; `network` the namespace that it calls [`NETWORK_NAMESPACE`].
    ///
    /// # Errors
    /// If it was not started. A run directory may have been made.
    pub fn launch(
        &self,
        launch: &Launch,
        spec: &[u8],
        network: Option<BorrowedFd<'_>>,
    ) -> Result<Shim, LaunchError> {
        let id = || launch.id.clone();
        write_run_dir(launch, spec)?;
        let (ours, theirs) =
            UnixStream::pair().map_err(|source| LaunchError::Connection { id: id(), source })?;
        let mut descriptors = vec![theirs.as_fd()];
        descriptors.extend(network);
        let own = [launch.run_dir.clone().into(), descriptors.len().to_string().into()];
        let arguments = self.arguments.iter().cloned().chain(own);
        let pid = spawn(self.executable.as_fd(), arguments, [], Descriptors::Quiet(&descriptors))
            .map_err(|source| LaunchError::Spawn { id: id(), source })?;
        // Our child, not reaped yet: the number is its.
        let pidfd = pidfd_open(pid, PidfdFlags::empty())
            .map_err(|source| LaunchError::Spawn { id: id(), source: source.into() })?;
        Ok(Shim { connection: ours, process: Child { pid, pidfd } })
    }
}

impl Child {
    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Reaps it if it has ended; says whether it had.
    ///
    /// # Errors
    /// If it is no child of this process.
    pub fn try_reap(&self) -> io::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::PidFd(self.pidfd.as_fd()), options)?.is_some())
    }
}

/// Readable when the process has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// Connects to the shim of a run directory. `ConnectionRefused` and `NotFound` mean that there
/// is none any more: see [`remains`].
///
/// # Errors
/// Those of `connect`.
pub fn reattach(run_dir: &Path) -> io::Result<UnixStream> {
    let (_directory, path) = socket_path(run_dir)?;
    UnixStream::connect(path)
}

/// Reads what a shim left in its run directory. What is unreadable counts as absent.
#[must_use]
pub fn remains(run_dir: &Path) -> Remains {
    fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }
    Remains { state: read(&run_dir.join(STATE)), exit: read(&run_dir.join(EXIT)) }
}

/// Removes what a dead shim left behind: kills what is in its container's control group, and
/// deletes that. The run directory is the caller's to remove.
///
/// # Errors
/// If the run directory does not say what it was for, or something of it outlives this.
pub fn bury(run_dir: &Path) -> Result<(), BuryError> {
    let path = run_dir.join(LAUNCH);
    let launch = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice(&bytes)?));
    let launch: Launch = launch.map_err(|source| BuryError::Read { path, source })?;
    let failed = |source| BuryError::Cgroup { id: launch.id.clone(), source };
    let location = Location::new(&launch.cgroup)
        .map_err(|source| BuryError::Location { id: launch.id.clone(), source })?;
    match Cgroup::open(&location) {
        // Gone, or being made or deleted when the shim died: nothing is in it.
        Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        opened => opened.and_then(|it| it.kill_all()).map_err(failed)?,
    }
    Cgroup::delete_at(&location).map_err(failed)
}

/// A name for the shim's socket that is short enough.
pub(crate) fn socket_path(run_dir: &Path) -> io::Result<(OwnedFd, PathBuf)> {
    short_name(run_dir, SOCKET)
}

/// A name for a file that is short enough for a socket's address (108 bytes), however long its
/// directory's is. Valid in every process, as long as the descriptor returned with it is open.
pub(crate) fn short_name(directory: &Path, name: &str) -> io::Result<(OwnedFd, PathBuf)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let path = format!("/proc/{}/fd/{}/{name}", std::process::id(), directory.as_raw_fd());
    Ok((directory, path.into()))
}

/// Writes down what the shim is to read.
fn write_run_dir(launch: &Launch, spec: &[u8]) -> Result<(), LaunchError> {
    let directory = &launch.run_dir;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|source| LaunchError::Write { path: directory.clone(), source })?;
    let launch_json = serde_json::to_vec(launch)
        .map_err(|source| LaunchError::Serialize { id: launch.id.clone(), source })?;
    // What an earlier run of the container left says nothing about this one.
    for name in [EXIT, STATE, SOCKET] {
        drop(fs::remove_file(directory.join(name)));
    }
    for (name, bytes) in [(LAUNCH, &launch_json[..]), (CONFIG, spec)] {
        let path = directory.join(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(bytes))
            .map_err(|source| LaunchError::Write { path, source })?;
    }
    Ok(())
}

// The name above and the order in which `launch` hands descriptors over are one decision.
const _: () = assert!(spawn::FIRST == 3);
