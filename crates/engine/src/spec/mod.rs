//! From what a container is asked to be to the OCI runtime's specification.
//!
//! The specification is built as the JSON it is written as; the tests read it back through the
//! `oci-spec` types.
//!
//! **Invariant:** building is pure but for a look at the devices and paths that are named. What
//! comes from an image (environment, user, paths) becomes values of fields, never a path on the
//! host.

pub(crate) mod capabilities;
pub(crate) mod devices;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod security;
pub(crate) mod user;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::{
    EngineError,
    config::{CgroupnsMode, HostConfig, IpcMode, PidMode, UtsMode},
    record::Definition,
};

use security::Security;
use user::User;

/// The version of the OCI runtime specification that is written.
const VERSION: &str = "1.2.0";

/// What a specification is made of, beyond the container's definition.
#[derive(Debug)]
pub(crate) struct Inputs<'a> {
    /// What it was asked to be.
    pub(crate) definition: &'a Definition,
    /// Who runs it.
    pub(crate) user: &'a User,
    /// Its directory, with `hosts`, `hostname` and `resolv.conf`.
    pub(crate) directory: &'a std::path::Path,
    /// Its network namespace: a new one, the host's, or one by path.
    pub(crate) network: Namespace,
    /// Whose processes it sees.
    pub(crate) pid: Namespace,
    /// Whose IPC namespace it uses.
    pub(crate) ipc: Namespace,
    /// The host name it has.
    pub(crate) hostname: &'a str,
    /// What confines it beyond capabilities.
    pub(crate) security: &'a Security,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// It is made.
    New,
    /// The host's.
    Host,
    /// By its path.
    Path(PathBuf),
}

/// Builds the specification.
pub(crate) fn build(inputs: &Inputs<'_>) -> Result<Value, EngineError> {
    let Definition { config, host, .. } = inputs.definition;
    let mut spec = json!({
        "ociVersion": VERSION,
        "root": { "path": "rootfs", "readonly": host.readonly_rootfs },
        "process": process::build(inputs)?,
        "mounts": mounts::build(inputs)?,
        "linux": linux(inputs)?,
    });
    let names = &mut spec.as_object_mut().expect("BUG: it was made as an object");
    if host.uts_mode == UtsMode::Private {
        names.insert("hostname".to_owned(), json!(inputs.hostname));
        if !config.domainname.is_empty() {
            names.insert("domainname".to_owned(), json!(config.domainname));
        }
    }
    if !host.annotations.is_empty() {
        names.insert("annotations".to_owned(), json!(host.annotations));
    }
    Ok(spec)
}

fn linux(inputs: &Inputs<'_>) -> Result<Value, EngineError> {
    let Definition { host, .. } = inputs.definition;
    let mut linux = Map::new();
    let mut set = |name: &str, value: Value| linux.insert(name.to_owned(), value);
    set("namespaces", Value::Array(namespaces(inputs)));
    set("resources", resources::build(host)?);
    let devices = devices::nodes(host)?;
    if !devices.is_empty() {
        set("devices", Value::Array(devices));
    }
    set("maskedPaths", json!(inputs.security.masked_paths(host)));
    set("readonlyPaths", json!(inputs.security.readonly_paths(host)));
    // Ping and low ports for everyone are not among them: the network namespace has them already.
    let sysctls = &inputs.definition.host.sysctls;
    if !sysctls.is_empty() {
        set("sysctl", json!(sysctls));
    }
    if let Some(seccomp) = inputs.security.profile() {
        set("seccomp", seccomp.clone());
    }
    if let Some(propagation) = mounts::root_propagation(host) {
        set("rootfsPropagation", json!(propagation));
    }
    Ok(Value::Object(linux))
}

fn namespaces(inputs: &Inputs<'_>) -> Vec<Value> {
    let HostConfig { uts_mode, cgroupns_mode, .. } = &*inputs.definition.host;
    let uts = match uts_mode {
        UtsMode::Private => Namespace::New,
        UtsMode::Host => Namespace::Host,
    };
    let cgroup = match cgroupns_mode {
        CgroupnsMode::Host => Namespace::Host,
        // As Docker has it: a privileged container sees the host's cgroups, unless told otherwise.
        CgroupnsMode::Default if inputs.definition.host.privileged => Namespace::Host,
        CgroupnsMode::Default | CgroupnsMode::Private => Namespace::New,
    };
    let all = [
        ("mount", &Namespace::New),
        ("pid", &inputs.pid),
        ("ipc", &inputs.ipc),
        ("uts", &uts),
        ("network", &inputs.network),
        ("cgroup", &cgroup),
    ];
    let entry = |(kind, namespace): (&str, &Namespace)| match namespace {
        Namespace::New => Some(json!({ "type": kind })),
        Namespace::Host => None,
        Namespace::Path(path) => Some(json!({ "type": kind, "path": path })),
    };
    all.into_iter().filter_map(entry).collect()
}

/// Where a container's PID namespace comes from, unless it is another container's.
pub(crate) fn pid_namespace(mode: &PidMode) -> Option<Namespace> {
    match mode {
        PidMode::Private => Some(Namespace::New),
        PidMode::Host => Some(Namespace::Host),
        PidMode::Container(_) => None,
    }
}

/// Where a container's IPC namespace comes from, unless it is another container's.
pub(crate) fn ipc_namespace(mode: &IpcMode) -> Option<Namespace> {
    match mode {
        IpcMode::Private | IpcMode::None | IpcMode::Shareable => Some(Namespace::New),
        IpcMode::Host => Some(Namespace::Host),
        IpcMode::Container(_) => None,
    }
}

#[cfg(test)]
mod tests;
