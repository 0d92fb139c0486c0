//! Keyrings and the labels of security modules.

use std::{ffi::CString, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};
use wadah_sys::process::join_session_keyring;

use super::{attributes::open_host_procfs, mounts::make_filesystem};
use crate::{
    channel::{Context, Failure},
    plan::{Attributes, ProcessPlan},
};

/// Files of procfs into which the labels of the next executable go.
#[derive(Debug, Default)]
pub(super) struct Labels {
    apparmor: Option<(OwnedFd, String)>,
    selinux: Option<(OwnedFd, String)>,
}

impl Labels {
    /// Opens them in the directory of the process's attributes, of a procfs that `attributes`
    /// vouches for: the container's could be anything.
    pub(super) fn open(
        process: &ProcessPlan,
        attributes: &dyn Fn() -> Result<OwnedFd, Failure>,
    ) -> Result<Self, Failure> {
        let mut labels = Self::default();
        if let Some(profile) = process.apparmor.as_deref().filter(|it| *it != "unconfined") {
            if !apparmor_is_on() {
                return Err(Errno::OPNOTSUPP).step(|| format!("AppArmor profile {profile:?}"));
            }
            let file = open_attribute(attributes, "apparmor/exec")
                .or_else(|_old| open_attribute(attributes, "exec"))?;
            labels.apparmor = Some((file, format!("exec {profile}")));
        }
        if let Some(label) = &process.selinux {
            if !crate::plan::selinux_is_on() {
                return Err(Errno::OPNOTSUPP).step(|| format!("SELinux label {label:?}"));
            }
            labels.selinux = Some((open_attribute(attributes, "exec")?, label.clone()));
        }
        Ok(labels)
    }

    /// Writes them: they take effect with the next `execve`.
    pub(super) fn write(&self) -> Result<(), Failure> {
        for (file, label) in self.apparmor.iter().chain(&self.selinux) {
            rustix::io::write(file, label.as_bytes())
                .step(|| format!("set the label {label:?}"))?;
        }
        Ok(())
    }
}

fn apparmor_is_on() -> bool {
    let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|it| it.starts_with('Y'))
}

fn open_attribute(
    attributes: &dyn Fn() -> Result<OwnedFd, Failure>,
    name: &str,
) -> Result<OwnedFd, Failure> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    openat2(attributes()?, name, flags, Mode::empty(), resolve)
        .step(|| format!("open the attribute {name}"))
}

/// The caller's attributes in the host's procfs, while that is at hand.
pub(super) fn host_attributes() -> Result<OwnedFd, Failure> {
    open_host_procfs("/proc/thread-self/attr")
}

/// The caller's attributes in a procfs that nobody else has ever seen.
pub(super) fn private_attributes() -> Result<OwnedFd, Failure> {
    let step = || "open a private procfs";
    let procfs = make_filesystem("proc", &[], Attributes::default());
    let procfs = procfs.map_err(|(errno, _)| errno).step(step)?;
    let path = format!("{}/attr", rustix::process::getpid().as_raw_nonzero());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(&procfs, path, flags, Mode::empty()).step(step)
}

/// A session keyring of its own: keys are not namespaced, and the caller's are not for it.
pub(super) fn join_keyring(id: &str) -> Result<(), Failure> {
    let name = CString::new(format!("_ses.{id}")).map_err(|_nul| Errno::INVAL);
    let joined = name
        .step(|| "name the keyring")
        .and_then(|it| join_session_keyring(&it).step(|| "join a keyring"));
    match joined {
        // A kernel without keys has none to hide.
        Err(Failure::Step { errno, .. }) if errno == Errno::NOSYS.raw_os_error() => Ok(()),
        outcome => outcome,
    }
}
