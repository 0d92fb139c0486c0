//! Namespaces: which are new, which are joined, and what a user namespace maps.

use std::{fmt::Write as _, os::fd::OwnedFd, path::PathBuf};

use oci_spec::runtime::{self as spec, LinuxNamespaceType};
use rustix::fs::{CWD, Mode, OFlags, openat};
use wadah_sys::process::namespace;

use crate::{CreateError, plan::invalid};

/// The namespaces of a container.
#[derive(Debug)]
pub(crate) struct Namespaces {
    /// New ones, as flags of `sys::process::namespace`.
    pub(crate) new: u64,
    /// Joined ones.
    pub(crate) join: Vec<Join>,
    /// For a new user namespace, the texts of `uid_map` and `gid_map`.
    pub(crate) id_maps: Option<(String, String)>,
    /// For a new time namespace, the text of `timens_offsets`.
    pub(crate) time_offsets: Option<String>,
}

/// A namespace to be joined.
#[derive(Debug)]
pub(crate) struct Join {
    /// Its kind, a flag of `sys::process::namespace`.
    pub(crate) flag: u64,
    /// A descriptor of it.
    pub(crate) fd: OwnedFd,
    /// Where it was found.
    pub(crate) path: PathBuf,
}

impl Namespaces {
    pub(super) fn plan(linux: &spec::Linux) -> Result<Self, CreateError> {
        let mut namespaces = Self { new: 0, join: Vec::new(), id_maps: None, time_offsets: None };
        for entry in linux.namespaces().iter().flatten() {
            namespaces.add(entry)?;
        }
        if !namespaces.isolates(namespace::MOUNT) {
            return Err(invalid("linux.namespaces", "a mount namespace is missing"));
        }
        namespaces.plan_ids(linux)?;
        namespaces.plan_time(linux)?;
        Ok(namespaces)
    }

    /// Whether the container has a namespace of this kind that is not simply the caller's.
    pub(crate) fn isolates(&self, flag: u64) -> bool {
        self.new & flag != 0 || self.join.iter().any(|it| it.flag == flag)
    }

    /// Whether it has a user namespace, new or joined.
    pub(crate) fn has_user(&self) -> bool {
        self.isolates(namespace::USER)
    }

    /// The joined namespace of this kind.
    pub(crate) fn joined(&self, flag: u64) -> Option<&Join> {
        self.join.iter().find(|it| it.flag == flag)
    }

    fn add(&mut self, entry: &spec::LinuxNamespace) -> Result<(), CreateError> {
        let flag = flag(entry.typ());
        if self.isolates(flag) {
            return Err(invalid("linux.namespaces", format!("{} is there twice", entry.typ())));
        }
        match entry.path().as_ref().filter(|it| !it.as_os_str().is_empty()) {
            None => self.new |= flag,
            Some(path) => {
                let fd = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                let fd = fd.map_err(|errno| {
                    let problem = format!("cannot open {path:?}: {errno}");
                    invalid("linux.namespaces.path", problem)
                })?;
                self.join.push(Join { flag, fd, path: path.clone() });
            }
        }
        Ok(())
    }

    fn plan_ids(&mut self, linux: &spec::Linux) -> Result<(), CreateError> {
        let filled =
            |maps: &Option<Vec<_>>| maps.as_ref().is_some_and(|it: &Vec<_>| !it.is_empty());
        let has_maps = filled(linux.uid_mappings()) && filled(linux.gid_mappings());
        match (self.new & namespace::USER != 0, has_maps) {
            (true, true) => {
                let users = id_map(linux.uid_mappings().as_deref().unwrap_or_default())?;
                let groups = id_map(linux.gid_mappings().as_deref().unwrap_or_default())?;
                self.id_maps = Some((users, groups));
                Ok(())
            }
            (true, false) => Err(invalid("linux.uidMappings", "a new user namespace needs maps")),
            (false, true) if self.joined(namespace::USER).is_none() => {
                Err(invalid("linux.uidMappings", "there is no user namespace to map"))
            }
            _ => Ok(()),
        }
    }

    fn plan_time(&mut self, linux: &spec::Linux) -> Result<(), CreateError> {
        let Some(offsets) = linux.time_offsets().as_ref().filter(|it| !it.is_empty()) else {
            return Ok(());
        };
        if self.new & namespace::TIME == 0 {
            return Err(invalid("linux.timeOffsets", "there is no new time namespace"));
        }
        let mut text = String::new();
        for (clock, offset) in offsets {
            if clock != "monotonic" && clock != "boottime" {
                return Err(invalid("linux.timeOffsets", format!("there is no clock {clock:?}")));
            }
            let (seconds, nanoseconds) =
                (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
            writeln!(text, "{clock} {seconds} {nanoseconds}").expect("BUG: a string takes text");
        }
        self.time_offsets = Some(text);
        Ok(())
    }
}

/// The kinds of namespaces that a container has of its own, new or joined.
pub(crate) fn namespaces_of(linux: &spec::Linux) -> u64 {
    linux.namespaces().iter().flatten().fold(0, |all, it| all | flag(it.typ()))
}

/// The text of `uid_map` or `gid_map`. The kernel refuses overlaps; what wraps is refused here,
/// because an id beyond the end must not become 0.
pub(super) fn id_map(maps: &[spec::LinuxIdMapping]) -> Result<String, CreateError> {
    let mut text = String::new();
    for map in maps {
        let fits = |first: u32| first.checked_add(map.size()).is_some();
        if map.size() == 0 || !fits(map.container_id()) || !fits(map.host_id()) {
            let (inside, outside, size) = (map.container_id(), map.host_id(), map.size());
            let problem = format!("{inside} {outside} {size} is no range of ids");
            return Err(invalid("linux.uidMappings", problem));
        }
        let line = (map.container_id(), map.host_id(), map.size());
        writeln!(text, "{} {} {}", line.0, line.1, line.2).expect("BUG: a string takes text");
    }
    Ok(text)
}

fn flag(kind: LinuxNamespaceType) -> u64 {
    match kind {
        LinuxNamespaceType::Mount => namespace::MOUNT,
        LinuxNamespaceType::Cgroup => namespace::CGROUP,
        LinuxNamespaceType::Uts => namespace::UTS,
        LinuxNamespaceType::Ipc => namespace::IPC,
        LinuxNamespaceType::User => namespace::USER,
        LinuxNamespaceType::Pid => namespace::PID,
        LinuxNamespaceType::Network => namespace::NETWORK,
        LinuxNamespaceType::Time => namespace::TIME,
    }
}
