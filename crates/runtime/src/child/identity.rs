//! Who the process is: user, groups, capabilities, and the filter of its system calls.

use std::os::fd::AsFd;

use rustix::{
    io::Errno,
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{
        CapabilitySets, capabilities, clear_ambient_capability_set,
        configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};

use crate::{
    channel::{Channel, Context, Failure, Report},
    plan::{ProcessPlan, each, host_bounding},
};

/// Becomes the user, keeping capabilities for the steps to come.
pub(super) fn become_user(process: &ProcessPlan) -> Result<(), Failure> {
    // The bounding set first: it takes CAP_SETPCAP.
    for capability in each(host_bounding().difference(process.capabilities.bounding)) {
        match remove_capability_from_bounding_set(capability) {
            // A name that is younger than the kernel.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno).step(|| "reduce the bounding set"),
        }
    }
    set_keep_capabilities(true).step(|| "keep capabilities over the change of user")?;
    set_thread_groups(&process.groups).step(|| "set the supplementary groups")?;
    let (uid, gid) = (process.uid, process.gid);
    set_thread_res_gid(gid, gid, gid).step(|| format!("become group {}", gid.as_raw()))?;
    set_thread_res_uid(uid, uid, uid).step(|| format!("become user {}", uid.as_raw()))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "hide from tracers")
}

/// Loads the filter and takes on the final capabilities: nothing of ours that the filter could
/// forbid comes after, but `capset`, `prctl` and `execve`, which a container's own filter must
/// permit anyway.
pub(super) fn confine(process: &ProcessPlan, channel: &Channel) -> Result<(), Failure> {
    let held = capabilities(None).step(|| "read the capabilities")?;
    if process.no_new_privileges {
        set_no_new_privs(true).step(|| "forbid new privileges")?;
        take_capabilities(process)?;
        return load_filter(process, channel);
    }
    // Without no_new_privs the kernel demands CAP_SYS_ADMIN for a filter: the change of user left
    // it permitted, but no longer effective.
    if process.seccomp.is_some() {
        let raised = CapabilitySets { effective: held.permitted, ..held };
        set_capabilities(None, raised).step(|| "raise capabilities")?;
        load_filter(process, channel)?;
    }
    take_capabilities(process)
}

fn take_capabilities(process: &ProcessPlan) -> Result<(), Failure> {
    let wanted = &process.capabilities;
    clear_ambient_capability_set().step(|| "clear the ambient capabilities")?;
    let sets = CapabilitySets {
        effective: wanted.effective,
        permitted: wanted.permitted,
        inheritable: wanted.inheritable,
    };
    set_capabilities(None, sets).step(|| "set the capabilities")?;
    for capability in each(wanted.ambient) {
        configure_capability_in_ambient_set(capability, true)
            .step(|| "raise an ambient capability")?;
    }
    set_keep_capabilities(false).step(|| "drop capabilities with the next change of user")
}

fn load_filter(process: &ProcessPlan, channel: &Channel) -> Result<(), Failure> {
    let Some(program) = &process.seccomp else { return Ok(()) };
    let loaded = program.load().map_err(|it| it.source).step(|| "load the seccomp filter")?;
    let Some(listener) = loaded else { return Ok(()) };
    // The parent knows where the agent is; from in here its socket cannot be reached.
    channel
        .send_with(&Report::SeccompListener, listener.as_fd())
        .step(|| "hand over the listener of the seccomp filter")
}
