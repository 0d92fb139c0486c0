//! Kernel parameters: only those that belong to a namespace of the container's own.

use std::path::PathBuf;

use oci_spec::runtime as spec;
use wadah_sys::process::namespace;

use crate::{
    CreateError,
    plan::{Namespaces, invalid},
};

/// A parameter to be set.
#[derive(Debug)]
pub(crate) struct Sysctl {
    /// As it was asked for.
    pub(crate) name: String,
    /// Relative to `/proc/sys`.
    pub(crate) path: PathBuf,
    /// The value.
    pub(crate) value: String,
}

/// Parameters of an IPC namespace, besides those below `fs.mqueue`.
const IPC: &[&str] = &[
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

/// Plans the parameters; one that would change the host is refused, and so is one whose text could
/// be read as two.
pub(super) fn plan(spec: &spec::Spec, namespaces: &Namespaces) -> Result<Vec<Sysctl>, CreateError> {
    let sysctls = spec.linux().as_ref().and_then(|it| it.sysctl().as_ref());
    let mut planned = Vec::new();
    for (name, value) in sysctls.into_iter().flatten() {
        let path = path(name);
        let is_plain = |it: &str| !it.chars().any(char::is_control);
        let has_dots = path.split('/').any(|it| it.is_empty() || it == "." || it == "..");
        // A tab separates the numbers of one value.
        if !is_plain(name) || !is_plain(&value.replace('\t', " ")) || has_dots {
            return Err(invalid("linux.sysctl", format!("{name:?} = {value:?} is malformed")));
        }
        let needed = needed_namespace(&path);
        if !needed.is_some_and(|it| namespaces.isolates(it)) {
            let problem = format!("{name:?} is not of a namespace of the container's own");
            return Err(invalid("linux.sysctl", problem));
        }
        planned.push(Sysctl { name: name.clone(), path: path.into(), value: value.clone() });
    }
    Ok(planned)
}

/// The namespace a parameter belongs to; none for those of the whole machine.
fn needed_namespace(path: &str) -> Option<u64> {
    if path.starts_with("net/") {
        Some(namespace::NETWORK)
    } else if path.starts_with("fs/mqueue/") || IPC.contains(&path) {
        Some(namespace::IPC)
    } else if path == "kernel/domainname" || path == "kernel/hostname" {
        Some(namespace::UTS)
    } else if path.starts_with("user/") {
        Some(namespace::USER)
    } else {
        None
    }
}

/// As `sysctl(8)` reads names: the first separator decides which one it is; the other one then
/// stands for itself, swapped.
fn path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => {
            let swap = |it| match it {
                '.' => '/',
                '/' => '.',
                other => other,
            };
            name.chars().map(swap).collect()
        }
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sysctl_reads_them() {
        assert_eq!(path("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn parameters_of_the_machine_belong_to_no_namespace() {
        for name in ["kernel/core_pattern", "vm/swappiness", "kernel/shmmax/../core_pattern"] {
            assert_eq!(needed_namespace(name), None, "{name}");
        }
        assert_eq!(needed_namespace("kernel/shmmax"), Some(namespace::IPC));
    }
}
