//! What a specification asks for, checked and turned into what the kernel wants.
//!
//! **Invariant:** planning reads the specification and the host's limits; it opens the sources of
//! mounts and namespaces to be joined, and changes nothing.

mod capability;
mod limit;
mod mount;
mod namespace;
mod process;
mod schedule;
mod source;
mod sysctl;

use oci_spec::runtime as spec;
use rustix::process::Pid;

pub(crate) use capability::{Capabilities, each, host_bounding};
pub(crate) use mount::{Attributes, Kind, Mount, Propagation, parse_propagation};
pub(crate) use namespace::{Join, Namespaces, namespaces_of};
pub(crate) use process::ProcessPlan;
pub(crate) use source::{Prepared, Source, prepare};
pub(crate) use sysctl::Sysctl;

use crate::{CreateError, Request};

/// A container, planned.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// The specification's Linux part.
    pub(crate) linux: &'a spec::Linux,
    /// New and joined namespaces.
    pub(crate) namespaces: Namespaces,
    /// Mounts, in their order.
    pub(crate) mounts: Vec<Mount>,
    /// Kernel parameters of the new namespaces.
    pub(crate) sysctls: Vec<Sysctl>,
    /// How the root is propagated at the end.
    pub(crate) root_propagation: Option<Propagation>,
    /// Whether the root is read-only at the end.
    pub(crate) root_read_only: bool,
    /// The process.
    pub(crate) process: ProcessPlan,
    /// What could not be planned as asked.
    pub(crate) warnings: Vec<String>,
}

/// Plans a container.
pub(crate) fn plan<'a>(request: &Request<'a>) -> Result<Plan<'a>, CreateError> {
    let mut warnings = Vec::new();
    let linux = request.spec.linux().as_ref().ok_or_else(|| invalid("linux", "is missing"))?;
    refuse_unsupported(linux)?;
    let namespaces = Namespaces::plan(linux)?;
    let process =
        request.spec.process().as_ref().ok_or_else(|| invalid("process", "is missing"))?;
    let mounts = request.spec.mounts().iter().flatten().map(mount::parse);
    let propagation = linux.rootfs_propagation().as_deref().filter(|it| !it.is_empty());
    Ok(Plan {
        linux,
        mounts: mounts.collect::<Result<_, _>>()?,
        sysctls: sysctl::plan(request.spec, &namespaces)?,
        root_propagation: propagation.map(parse_root_propagation).transpose()?,
        root_read_only: request.spec.root().as_ref().and_then(spec::Root::readonly) == Some(true),
        process: ProcessPlan::new(process, linux, request.seccomp, &mut warnings)?,
        namespaces,
        warnings,
    })
}

/// What the container process is told by hooks and by the listener of a filter.
pub(crate) fn state(
    spec: &spec::Spec,
    id: &str,
    status: &str,
    pid: Option<Pid>,
    bundle: &std::path::Path,
) -> serde_json::Value {
    let mut state = serde_json::json!({
        "ociVersion": spec.version(),
        "id": id,
        "status": status,
        "bundle": bundle,
    });
    if let Some(pid) = pid {
        state["pid"] = pid.as_raw_nonzero().get().into();
    }
    if let Some(annotations) = spec.annotations() {
        state["annotations"] = serde_json::json!(annotations);
    }
    state
}

/// What would be ignored silently is refused instead.
fn refuse_unsupported(linux: &spec::Linux) -> Result<(), CreateError> {
    let unsupported = |feature: &str| Err(CreateError::Unsupported { feature: feature.into() });
    if linux.intel_rdt().is_some() {
        return unsupported("linux.intelRdt");
    }
    if linux.net_devices().as_ref().is_some_and(|it| !it.is_empty()) {
        return unsupported("linux.netDevices");
    }
    if linux.mount_label().as_ref().is_some_and(|it| !it.is_empty()) && !selinux_is_on() {
        return unsupported("linux.mountLabel: the kernel has no SELinux");
    }
    Ok(())
}

/// Tells whether this kernel has SELinux switched on.
pub(crate) fn selinux_is_on() -> bool {
    std::path::Path::new("/sys/fs/selinux/enforce").exists()
}

fn parse_root_propagation(value: &str) -> Result<Propagation, CreateError> {
    parse_propagation(value)
        .ok_or_else(|| invalid("linux.rootfsPropagation", format!("{value:?} is none")))
}

/// A field with a value that cannot be.
pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> CreateError {
    CreateError::Invalid { field, problem: problem.into() }
}

/// What is wrong with a device of the specification.
pub(crate) fn invalid_device(device: &spec::LinuxDevice) -> String {
    format!("make the device {:?}: it has no kind or number", device.path())
}
