//! Attributes of the process that are set while the host's procfs is at hand, and parameters of
//! the kernel.

use std::{io, os::fd::OwnedFd, path::Path};

use rustix::{
    fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstatfs, openat, openat2},
    io::Errno,
    thread::{CpuSet, sched_setaffinity},
};
use wadah_sys::process::{set_io_priority, set_memory_policy, set_personality, set_scheduler};

use crate::{
    channel::{Channel, Context, Failure, Report},
    plan::ProcessPlan,
};

/// Sets what `execve` keeps and what no later step needs otherwise.
pub(super) fn apply_early(
    process: &ProcessPlan,
    channel: &Channel,
    in_user_namespace: bool,
) -> Result<(), Failure> {
    if let Some(score) = process.oom_score_adj.filter(|_| !in_user_namespace) {
        warn_if_forbidden(set_oom_score_adj("self", score), channel, "process.oomScoreAdj")?;
    }
    apply(process)
}

/// Sets what needs no procfs.
pub(super) fn apply(process: &ProcessPlan) -> Result<(), Failure> {
    if let Some(scheduler) = process.scheduler {
        set_scheduler(scheduler).step(|| "set the scheduler")?;
    }
    if let Some((class, level)) = process.io_priority {
        set_io_priority(class, level).step(|| "set the I/O priority")?;
    }
    if let Some(policy) = &process.memory_policy {
        set_memory_policy(policy.mode, &policy.nodes).step(|| "set the memory policy")?;
    }
    if let Some(processors) = &process.initial_processors {
        set_processors(processors).step(|| "set the initial processors")?;
    }
    Ok(())
}

/// Sets what would be in the way of our own last steps.
pub(super) fn apply_late(process: &ProcessPlan) -> Result<(), Failure> {
    if let Some(processors) = &process.final_processors {
        set_processors(processors).step(|| "set the processors")?;
    }
    if let Some(persona) = process.personality {
        set_personality(persona).step(|| "set the personality")?;
    }
    for (resource, limit) in &process.limits {
        let kept = rustix::process::setrlimit(*resource, *limit);
        kept.step(|| format!("set the limit {resource:?}"))?;
    }
    Ok(())
}

/// Sets how readily the kernel kills `process` (a pid, or `self`), by the host's procfs.
pub(crate) fn set_oom_score_adj(process: &str, score: i32) -> io::Result<()> {
    let directory = open_procfs(&format!("/proc/{process}"))?;
    write_parameter(&directory, Path::new("oom_score_adj"), &score.to_string())
}

/// A lower score than ours takes CAP_SYS_RESOURCE, which not every host gives.
pub(crate) fn warn_if_forbidden(
    outcome: io::Result<()>,
    channel: &Channel,
    what: &str,
) -> Result<(), Failure> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let warning = format!("{what}: this host does not permit it");
            channel.send(&Report::Warning(warning)).step(|| "warn")
        }
        outcome => outcome.step(|| format!("set {what}")),
    }
}

/// Opens a directory of the host's procfs, and makes sure that it is one.
pub(super) fn open_host_procfs(path: &str) -> Result<OwnedFd, Failure> {
    open_procfs(path).step(|| format!("open {path}"))
}

fn open_procfs(path: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, path, flags, Mode::empty())?;
    if fstatfs(&directory)?.f_type == PROC_SUPER_MAGIC {
        Ok(directory)
    } else {
        Err(Errno::NODEV.into())
    }
}

/// Writes a file below a directory of procfs, through no link and no other mount.
pub(super) fn write_parameter(directory: &OwnedFd, path: &Path, value: &str) -> io::Result<()> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = openat2(directory, path, flags, Mode::empty(), resolve)?;
    rustix::io::write(&file, value.as_bytes())?;
    Ok(())
}

fn set_processors(processors: &[usize]) -> rustix::io::Result<()> {
    let mut set = CpuSet::new();
    for processor in processors.iter().filter(|it| **it < CpuSet::MAX_CPU) {
        set.set(*processor);
    }
    sched_setaffinity(None, &set)
}
