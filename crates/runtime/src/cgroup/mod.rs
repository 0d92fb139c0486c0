//! Control groups: what a container may use, and what it has used.
//!
//! A [`Cgroup`] is the directories of one container in every hierarchy, held open. Hosts have
//! version 1 (one hierarchy per controller, with or without a version 2 hierarchy beside) or
//! version 2 (one hierarchy); the difference ends at this module's wall. On a mixed host every
//! controller is used where it is, and freezing and killing where they are done best: version 2.
//!
//! **Invariant:** files are opened relative to a directory held open, so a group removed and made
//! again under the same name is never touched by mistake.
//! **Absent:** moving processes. A process enters by its own act ([`JoinPlan::enter`]) or is born
//! inside (`CLONE_INTO_CGROUP`), because moving another waits for an RCU grace period in every
//! hierarchy of version 1.

mod devices;
mod directory;
mod error;
mod host;
mod join;
mod location;
mod oom;
mod processes;
mod resources;
mod setter;
mod stats;
mod v1;
mod v2;

use std::path::{Path, PathBuf};

use oci_spec::runtime::LinuxResources;
use serde::{Deserialize, Serialize};

use self::{directory::Directory, host::Host, resources::Resources};

pub use error::CgroupError;
pub use join::JoinPlan;
pub use location::{Location, LocationError};
pub use oom::OomWatch;
pub use stats::{
    CpuStats, HugetlbStats, IoEntry, IoStats, MemoryStats, PidsStats, RdmaStats, Stats,
};

/// The version of the hierarchy that holds the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One hierarchy per controller; a version 2 hierarchy may stand beside.
    V1,
    /// One hierarchy.
    V2,
}

/// One container's control groups.
#[derive(Debug)]
pub struct Cgroup {
    location: Location,
    host: Host,
    v1: Vec<Group>,
    unified: Option<Directory>,
    /// Controllers of the version 2 hierarchy that the group can use.
    unified_controllers: Vec<String>,
}

/// The group in one hierarchy of version 1.
#[derive(Debug)]
struct Group {
    controllers: Vec<String>,
    directory: Directory,
}

/// Where a controller is.
#[derive(Debug, Clone, Copy)]
enum Home<'a> {
    V1(&'a Directory),
    V2(&'a Directory),
}

/// What was made so far; dropping it removes the groups again.
struct Unfinished<'a> {
    host: &'a Host,
    location: &'a Location,
    finished: bool,
}

/// The controllers of version 2 that a container's group is given.
const CONTROLLERS: [&str; 8] = ["cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"];

impl Version {
    /// Tells which version holds the controllers of this host.
    pub fn of_host() -> Result<Self, CgroupError> {
        Host::detect().map(|it| it.version())
    }
}

impl Cgroup {
    /// Makes the group in every hierarchy and sets its resources; the second value is what to warn
    /// the user of. What was made is removed again when something fails.
    pub fn create(
        location: &Location,
        resources: Option<&LinuxResources>,
    ) -> Result<(Self, Vec<String>), CgroupError> {
        let host = Host::detect()?;
        let undo_host = host.clone();
        let mut undo = Unfinished { host: &undo_host, location, finished: false };
        let cgroup = Self::make(host, location, resources)?;
        let warnings = Resources::new(&cgroup, false).set(resources)?;
        undo.finished = true;
        Ok((cgroup, warnings))
    }

    /// Opens a group that [`Cgroup::create`] made, perhaps in another process.
    pub fn open(location: &Location) -> Result<Self, CgroupError> {
        let host = Host::detect()?;
        let mut v1 = Vec::with_capacity(host.v1.len());
        for hierarchy in &host.v1 {
            let directory = Directory::open(hierarchy.mount.join(location.as_str()))?;
            v1.push(Group { controllers: hierarchy.controllers.clone(), directory });
        }
        let unified = match &host.unified {
            Some(mount) => Some(Directory::open(mount.join(location.as_str()))?),
            None => None,
        };
        let unified_controllers = controllers_of(unified.as_ref())?;
        Ok(Self { location: location.clone(), host, v1, unified, unified_controllers })
    }

    /// Where the group is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The version of the hierarchy that holds the controllers.
    pub fn version(&self) -> Version {
        self.host.version()
    }

    /// For each hierarchy its mount point and the group's directory in it.
    pub fn directories(&self) -> Vec<(PathBuf, PathBuf)> {
        let v1 = self.host.v1.iter().map(|it| it.mount.as_path());
        v1.chain(self.host.unified.as_deref())
            .map(|mount| (mount.to_owned(), mount.join(self.location.as_str())))
            .collect()
    }

    /// Changes resources; fields that are absent stay as they are.
    pub fn update(&self, resources: &LinuxResources) -> Result<Vec<String>, CgroupError> {
        Resources::new(self, true).set(Some(resources))
    }

    /// Removes the group and those below it; it must hold no process. Already gone is fine.
    /// All hierarchies are tried; the first failure is returned.
    pub fn delete(&self) -> Result<(), CgroupError> {
        remove_everywhere(&self.host, &self.location)
    }

    /// Removes the group at `location` without opening it first, for when only the name is left.
    pub fn delete_at(location: &Location) -> Result<(), CgroupError> {
        remove_everywhere(&Host::detect()?, location)
    }

    fn make(
        host: Host,
        location: &Location,
        resources: Option<&LinuxResources>,
    ) -> Result<Self, CgroupError> {
        let mut v1 = Vec::with_capacity(host.v1.len());
        for hierarchy in &host.v1 {
            let (directory, new) = Directory::make(hierarchy.mount.join(location.as_str()))?;
            if new && hierarchy.controllers.iter().any(|it| it == "cpuset") {
                inherit_cpuset(&hierarchy.mount, &directory)?;
            }
            v1.push(Group { controllers: hierarchy.controllers.clone(), directory });
        }
        let mut unified = None;
        if let Some(mount) = &host.unified {
            let (directory, _) = Directory::make(mount.join(location.as_str()))?;
            if host.version() == Version::V2 || needs_unified(resources) {
                enable_controllers(mount, location, &directory)?;
            }
            unified = Some(directory);
        }
        let unified_controllers = controllers_of(unified.as_ref())?;
        Ok(Self { location: location.clone(), host, v1, unified, unified_controllers })
    }

    fn home(&self, controller: &str) -> Option<Home<'_>> {
        let v1 = self.v1.iter().find(|it| it.controllers.iter().any(|it| it == controller));
        if let Some(group) = v1 {
            return Some(Home::V1(&group.directory));
        }
        let enabled = self.unified_controllers.iter().any(|it| it == controller);
        self.unified.as_ref().filter(|_| enabled).map(Home::V2)
    }

    /// The directory whose `cgroup.procs` lists the group's processes best.
    fn any_directory(&self) -> Result<&Directory, CgroupError> {
        self.unified
            .as_ref()
            .or_else(|| self.v1.first().map(|it| &it.directory))
            .ok_or(CgroupError::NoHierarchy)
    }
}

impl<'a> Home<'a> {
    fn directory(self) -> &'a Directory {
        match self {
            Self::V1(directory) | Self::V2(directory) => directory,
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.finished {
            // The error that led here is the one to report; a group that stays behind is empty.
            let _undone = remove_everywhere(self.host, self.location);
        }
    }
}

fn remove_everywhere(host: &Host, location: &Location) -> Result<(), CgroupError> {
    let mounts = host.v1.iter().map(|it| &it.mount).chain(host.unified.as_ref());
    let mut first = Ok(());
    for mount in mounts {
        first = first.and(directory::remove(&mount.join(location.as_str())));
    }
    first
}

/// On a mixed host the version 2 hierarchy's controllers are enabled only for who asks for one.
fn needs_unified(resources: Option<&LinuxResources>) -> bool {
    resources.is_some_and(|it| {
        it.hugepage_limits().as_ref().is_some_and(|it| !it.is_empty())
            || it.unified().as_ref().is_some_and(|it| !it.is_empty())
            || it.rdma().as_ref().is_some_and(|it| !it.is_empty())
    })
}

fn controllers_of(directory: Option<&Directory>) -> Result<Vec<String>, CgroupError> {
    let Some(directory) = directory else { return Ok(Vec::new()) };
    let text = directory.read("cgroup.controllers")?;
    Ok(text.split_whitespace().map(ToOwned::to_owned).collect())
}

/// Gives a new cpuset of version 1 the processors and memory nodes of the group above, from the
/// lowest that has some: a new one is empty, and no process can enter an empty one.
///
/// Groups above that are new as well are told to pass theirs on (`cgroup.clone_children`), so that
/// the next container's has them from the start.
fn inherit_cpuset(mount: &Path, group: &Directory) -> Result<(), CgroupError> {
    if !group.read("cpuset.mems")?.trim().is_empty() {
        return Ok(());
    }
    let path = group.path();
    let Some(above) = path.parent().filter(|it| path != mount && it.starts_with(mount)) else {
        return Ok(());
    };
    let above = Directory::open(above.to_owned())?;
    if above.read("cpuset.mems")?.trim().is_empty() {
        inherit_cpuset(mount, &above)?;
        above.write("cgroup.clone_children", "1")?;
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        group.write(file, above.read(file)?.trim())?;
    }
    Ok(())
}

/// Enables controllers in every group above `group`, from the root down, as far as they are not.
fn enable_controllers(
    mount: &Path,
    location: &Location,
    group: &Directory,
) -> Result<(), CgroupError> {
    let root = Directory::open(mount.to_owned())?;
    let available = controllers_of(Some(&root))?;
    let wanted = |it: &&str| available.iter().any(|other| other == it);
    let wanted: Vec<&str> = CONTROLLERS.into_iter().filter(wanted).collect();
    let enabled = controllers_of(Some(group))?;
    if wanted.iter().all(|it| enabled.iter().any(|other| other == it)) {
        return Ok(());
    }
    let mut above = root;
    for name in location.as_str().split('/') {
        enable_below(&above, &wanted)?;
        above = Directory::open(above.path().join(name))?;
    }
    Ok(())
}

fn enable_below(directory: &Directory, wanted: &[&str]) -> Result<(), CgroupError> {
    const FILE: &str = "cgroup.subtree_control";
    let enabled = directory.read(FILE)?;
    let available = controllers_of(Some(directory))?;
    for controller in wanted {
        let is_enabled = enabled.split_whitespace().any(|it| it == *controller);
        if !is_enabled && available.iter().any(|it| it == controller) {
            directory.write(FILE, &format!("+{controller}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
