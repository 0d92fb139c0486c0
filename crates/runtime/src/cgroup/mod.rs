//! Control groups: what a container may use, and what it has used.
//!
//! A [`Cgroup`] is the directories of one container in every hierarchy it needs, held open. Hosts
//! have version 1 (one hierarchy per controller, with or without a version 2 hierarchy that holds
//! no controllers) or version 2 (one hierarchy); the difference ends at this module's wall.
//!
//! **Invariant:** every file is opened relative to a directory held open, so a cgroup renamed or
//! made again under the same name is never touched by mistake.
//! **Absent:** moving processes. A process enters by its own act ([`JoinPlan::enter`]) or is born
//! inside (`CLONE_INTO_CGROUP`), because moving another process waits for an RCU grace period per
//! hierarchy of version 1.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use oci_spec::runtime::LinuxResources;
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// The version of the hierarchy that holds the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy per controller; a controller-less version 2 hierarchy may stand beside.
    V1,
    /// One hierarchy.
    V2,
}

/// A path below the root of every hierarchy, such as `wadah/4f1c…`; never empty, never with `..`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(String);

/// One container's control groups.
#[derive(Debug)]
pub struct Cgroup {
    location: Location,
}

/// How a process enters: made by the parent before the clone, used by the child after it.
#[derive(Debug)]
pub struct JoinPlan {
    unified: Option<OwnedFd>,
}

/// Tells of processes killed for want of memory.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
}

/// What a container has used. Absent controllers leave their part `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes and threads.
    pub pids: Option<PidsStats>,
    /// Block devices.
    pub io: Option<IoStats>,
    /// Huge pages, one entry per page size.
    pub hugetlb: Vec<HugetlbStats>,
    /// RDMA/IB resources, one entry per device.
    pub rdma: Vec<RdmaStats>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStats {
    /// All of it.
    pub usage: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub system: u64,
    /// By processor; empty on version 2.
    pub per_cpu: Vec<u64>,
    /// Enforcement periods elapsed.
    pub periods: u64,
    /// Periods in which the group was throttled.
    pub throttled_periods: u64,
    /// Time spent throttled.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// In use now, page cache included.
    pub usage: u64,
    /// The most ever in use, where the kernel keeps it.
    pub max_usage: Option<u64>,
    /// The limit; none is unlimited.
    pub limit: Option<u64>,
    /// Times the limit was hit.
    pub failures: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Swap in use now (version 2; on version 1 see `swap_and_memory`).
    pub swap: Option<u64>,
    /// Memory and swap in use now (version 1).
    pub swap_and_memory: Option<u64>,
    /// Kernel memory in use now.
    pub kernel: Option<u64>,
    /// The kernel's `memory.stat`, as it is.
    pub details: std::collections::BTreeMap<String, u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsStats {
    /// Alive now.
    pub current: u64,
    /// The limit; none is unlimited.
    pub limit: Option<u64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStats {
    /// Bytes by device and operation.
    pub bytes: Vec<IoEntry>,
    /// Operations by device and operation.
    pub operations: Vec<IoEntry>,
}

/// One counter of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total`.
    pub operation: String,
    /// The count.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbStats {
    /// The page size as the kernel names it: `2MB`.
    pub page_size: String,
    /// In use now.
    pub usage: u64,
    /// The most ever in use, where the kernel keeps it.
    pub max_usage: Option<u64>,
    /// Times the limit was hit.
    pub failures: u64,
}

/// RDMA/IB resources of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaStats {
    /// The device.
    pub device: String,
    /// Handles in use.
    pub handles: u64,
    /// Objects in use.
    pub objects: u64,
}

/// Why a location was refused.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a path of one or more plain components.
    #[error("invalid cgroup path {path:?}: must name a group below the root, without `..`")]
    Path {
        /// The path as given.
        path: String,
    },
    /// Not `slice:prefix:name`.
    #[error("invalid systemd cgroup path {path:?}: expected slice:prefix:name")]
    Systemd {
        /// The path as given.
        path: String,
    },
}

/// Why an operation on control groups failed.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// No hierarchy with the controllers is mounted.
    #[error("no cgroup hierarchy is mounted at /sys/fs/cgroup")]
    NoHierarchy,
    /// A group could not be made.
    #[error("cannot create cgroup {path}")]
    Create {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group could not be opened.
    #[error("cannot open cgroup {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A value was refused.
    #[error("cannot write {value:?} to {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A resource was asked for whose controller the host lacks.
    #[error("cannot set {resource}: this host has no cgroup controller {controller}")]
    NoController {
        /// The field of the specification.
        resource: &'static str,
        /// The controller.
        controller: String,
    },
    /// A group could not be removed.
    #[error("cannot remove cgroup {path}")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Processes outlived the deadline of an operation.
    #[error("{operation} cgroup {location}: not done after {milliseconds} ms")]
    Deadline {
        /// What was being done.
        operation: &'static str,
        /// The group.
        location: String,
        /// The time allowed.
        milliseconds: u64,
    },
}

impl Version {
    /// Tells which version holds the controllers of this host.
    pub fn of_host() -> Result<Self, CgroupError> {
        todo!()
    }
}

impl Location {
    /// Takes a path relative to each hierarchy's root; a leading `/` is the same root.
    pub fn new(path: &str) -> Result<Self, LocationError> {
        let _ = path;
        todo!()
    }

    /// The default place of the container `id`: `wadah/<id>`.
    pub fn of_container(id: &str) -> Result<Self, LocationError> {
        let _ = id;
        todo!()
    }

    /// Takes `linux.cgroupsPath` of a specification: a path, systemd's `slice:prefix:name`, or
    /// nothing for the default place.
    pub fn from_spec(path: Option<&Path>, id: &str) -> Result<Self, LocationError> {
        let _ = (path, id);
        todo!()
    }

    /// The path, relative, without a leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(path: String) -> Result<Self, LocationError> {
        Self::new(&path)
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.0
    }
}

impl Cgroup {
    /// Makes the group in every hierarchy needed and sets its resources; the second value is what
    /// to warn the user of. What was made is removed again when something fails.
    pub fn create(
        location: &Location,
        resources: Option<&LinuxResources>,
    ) -> Result<(Self, Vec<String>), CgroupError> {
        let _ = (location, resources);
        todo!()
    }

    /// Opens a group that [`Cgroup::create`] made, perhaps in another process.
    pub fn open(location: &Location) -> Result<Self, CgroupError> {
        let _ = location;
        todo!()
    }

    /// Where the group is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The version of the hierarchy that holds the controllers.
    pub fn version(&self) -> Version {
        todo!()
    }

    /// The directories of the group: for each hierarchy its mount point and the group's directory
    /// in it. For cgroup mounts in the container and for `state`/hooks.
    pub fn directories(&self) -> Vec<(PathBuf, PathBuf)> {
        todo!()
    }

    /// Prepares the entering of a process to be cloned.
    pub fn join(&self) -> Result<JoinPlan, CgroupError> {
        todo!()
    }

    /// Prepares the entering of a process beside `init`, which may have moved to a child group
    /// and enabled controllers for it (version 2 forbids processes in such a group).
    pub fn join_beside(&self, init: Pid) -> Result<JoinPlan, CgroupError> {
        let _ = init;
        todo!()
    }

    /// Changes resources; fields that are absent stay as they are.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>, CgroupError> {
        let _ = resources;
        todo!()
    }

    /// Stops every process, and returns when all have stopped.
    pub fn freeze(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Lets every process go on.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Tells whether the group is frozen.
    pub fn is_frozen(&self) -> Result<bool, CgroupError> {
        todo!()
    }

    /// Kills every process, and returns when none is left.
    pub fn kill_all(&self) -> Result<(), CgroupError> {
        todo!()
    }

    /// Lists the processes of the group and of those below it.
    pub fn pids(&self) -> Result<Vec<Pid>, CgroupError> {
        todo!()
    }

    /// Reads what has been used.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        todo!()
    }

    /// Starts watching for processes killed for want of memory.
    pub fn oom_watch(&self) -> Result<OomWatch, CgroupError> {
        todo!()
    }

    /// Removes the group and those below it; it must hold no process. Already gone is fine.
    pub fn delete(&self) -> Result<(), CgroupError> {
        todo!()
    }
}

impl JoinPlan {
    /// The directory for `CLONE_INTO_CGROUP`, where the host has a version 2 hierarchy.
    pub fn unified(&self) -> Option<BorrowedFd<'_>> {
        todo!()
    }

    /// Moves the calling thread into every version 1 hierarchy. Allocates nothing and may be
    /// called after a fork; to be called by a process with one thread, before it unshares its
    /// cgroup namespace.
    pub fn enter(&self) -> io::Result<()> {
        todo!()
    }

    /// Moves the calling process into the version 2 hierarchy, for one not born there.
    pub fn enter_unified(&self) -> io::Result<()> {
        let _ = &self.unified;
        todo!()
    }
}

impl OomWatch {
    /// A descriptor that becomes readable when the count may have changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        todo!()
    }

    /// Clears the descriptor's readiness and returns how many processes have been killed so far.
    pub fn count(&self) -> Result<u64, CgroupError> {
        let _ = &self.fd;
        todo!()
    }
}
