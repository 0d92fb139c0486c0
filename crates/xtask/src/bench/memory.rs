//! What processes occupy.

use std::fs;

use anyhow::{Context as _, Result};

/// The resident set of a process, in KiB (`VmRSS`, proc_pid_status(5)).
pub(crate) fn resident(pid: u32) -> Result<u64> {
    field(&format!("/proc/{pid}/status"), "VmRSS:")
}

/// The proportional share of a process, in KiB (`Pss`, proc_pid_smaps(5)).
pub(crate) fn proportional(pid: u32) -> Result<u64> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The processes that a process has started.
pub(crate) fn children(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = fs::read_to_string(task?.path().join("children"))?;
        children.extend(list.split_ascii_whitespace().filter_map(|it| it.parse::<u32>().ok()));
    }
    Ok(children)
}

fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text
        .lines()
        .find(|it| it.starts_with(name))
        .with_context(|| format!("{path} has no {name}"))?;
    let value = line.split_ascii_whitespace().nth(1).with_context(|| format!("{path}: {line}"))?;
    Ok(value.parse()?)
}
