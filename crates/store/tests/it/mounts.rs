//! Mounts that nobody else sees: they are attached nowhere, and go with their descriptor.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

/// A file system on no path.
pub(crate) struct Mount(OwnedFd);

impl Mount {
    /// Makes one, if the kernel lets us; says so loudly if it does not.
    pub(crate) fn new(kind: &str, options: &[(&str, &str)]) -> Option<Self> {
        let make = || -> rustix::io::Result<OwnedFd> {
            let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
            for (name, value) in options {
                fsconfig_set_string(&context, *name, *value)?;
            }
            fsconfig_create(&context)?;
            fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        };
        match make() {
            Ok(mount) => Some(Self(mount)),
            Err(error) => {
                println!("SKIPPED: cannot mount {kind}: {error}");
                None
            }
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}/", self.0.as_raw_fd()).into()
    }
}
