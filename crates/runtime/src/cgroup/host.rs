//! What hierarchies a host has, and which controllers each holds.

use std::{fs, path::PathBuf};

use super::{CgroupError, Version};

/// The hierarchies mounted on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// Hierarchies of version 1, in order of their mount points.
    pub(super) v1: Vec<Hierarchy>,
    /// The mount point of the hierarchy of version 2.
    pub(super) unified: Option<PathBuf>,
}

/// A hierarchy of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// Its controllers (`cpu` and `cpuacct` often share one), or its name (`name=systemd`).
    pub(super) controllers: Vec<String>,
}

/// `CGROUP2_SUPER_MAGIC` (include/uapi/linux/magic.h).
const CGROUP2: u64 = 0x6367_7270;
const DEFAULT_MOUNT: &str = "/sys/fs/cgroup";

impl Host {
    /// Looks at what is mounted in this mount namespace.
    pub(super) fn detect() -> Result<Self, CgroupError> {
        // The usual case of version 2 needs no list of mounts, which can be long.
        let magic = rustix::fs::statfs(DEFAULT_MOUNT).map(|it| u64::try_from(it.f_type).ok());
        if magic == Ok(Some(CGROUP2)) {
            return Ok(Self { v1: Vec::new(), unified: Some(PathBuf::from(DEFAULT_MOUNT)) });
        }
        let path = PathBuf::from("/proc/self/mountinfo");
        let mounts =
            fs::read_to_string(&path).map_err(|source| CgroupError::Read { path, source })?;
        let host = Self::from_mounts(&mounts);
        if host.v1.is_empty() && host.unified.is_none() {
            return Err(CgroupError::NoHierarchy);
        }
        Ok(host)
    }

    pub(super) fn version(&self) -> Version {
        let controllers = |it: &Hierarchy| it.controllers.iter().any(|it| !it.starts_with("name="));
        if self.v1.iter().any(controllers) { Version::V1 } else { Version::V2 }
    }

    /// Reads `/proc/self/mountinfo` (proc_pid_mountinfo(5)). Where a hierarchy is mounted several
    /// times the first mount counts.
    fn from_mounts(mounts: &str) -> Self {
        let mut host = Self { v1: Vec::new(), unified: None };
        for line in mounts.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let Some(mount) = left.split(' ').nth(4) else { continue };
            let mut right = right.split(' ');
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if host.unified.is_none() => {
                    host.unified = Some(PathBuf::from(mount));
                }
                (Some("cgroup"), Some(options)) => host.add_v1(mount, options),
                _ => {}
            }
        }
        host
    }

    fn add_v1(&mut self, mount: &str, options: &str) {
        let controllers: Vec<String> = options
            .split(',')
            .filter(|it| !NO_CONTROLLERS.contains(it) && !it.starts_with("release_agent="))
            .map(ToOwned::to_owned)
            .collect();
        let known = self.v1.iter().any(|it| it.controllers == controllers);
        if !controllers.is_empty() && !known {
            self.v1.push(Hierarchy { mount: PathBuf::from(mount), controllers });
        }
    }
}

/// Mount options of version 1 that name no controller.
const NO_CONTROLLERS: [&str; 8] =
    ["rw", "ro", "none", "xattr", "noprefix", "clone_children", "favordynmods", "cpuset_v2_mode"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_hosts_hierarchies_are_told_apart() {
        let host = Host::from_mounts(
            "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,size=4096k\n\
             31 30 0:27 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw,nsdelegate\n\
             32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             34 30 0:29 / /elsewhere rw - cgroup cgroup rw,cpu,cpuacct\n",
        );
        assert_eq!(host.unified, Some(PathBuf::from("/sys/fs/cgroup/unified")));
        let controllers: Vec<String> = host.v1.iter().map(|it| it.controllers.join("+")).collect();
        assert_eq!(controllers, ["name=systemd", "cpu+cpuacct"]);
        assert_eq!(host.version(), Version::V1);
    }

    #[test]
    fn a_named_hierarchy_alone_does_not_make_version_1() {
        let host = Host::from_mounts(
            "31 30 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
             32 30 0:28 / /run/systemd/cgroup rw - cgroup cgroup rw,xattr,name=systemd\n",
        );
        assert_eq!(host.version(), Version::V2);
    }
}
