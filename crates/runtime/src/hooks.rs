//! Hooks: programs of the host that run at points of a container's life.

use std::path::Path;

use oci_spec::runtime as spec;
use rustix::process::Pid;

/// Runs the `poststart` hooks; what failed is returned, for a warning, as the specification has it.
pub fn poststart(spec: &spec::Spec, id: &str, pid: Pid, bundle: &Path) -> Vec<String> {
    let _ = (spec, id, pid, bundle);
    todo!()
}

/// Runs the `poststop` hooks; what failed is returned, for a warning, as the specification has it.
pub fn poststop(spec: &spec::Spec, id: &str, bundle: &Path) -> Vec<String> {
    let _ = (spec, id, bundle);
    todo!()
}
