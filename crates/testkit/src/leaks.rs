//! What must not be left behind: processes, mounts, cgroups, links, firewall elements, files.
//!
//! Every check looks at the kernel's own books, not at the daemon's.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The host's processes whose command line mentions `mark`, except this one.
pub(crate) fn processes(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|it| it.file_name().into_string().ok())
        .filter(|pid| pid.bytes().all(|it| it.is_ascii_digit()) && *pid != own)
        .filter_map(|pid| Some((fs::read(format!("/proc/{pid}/cmdline")).ok()?, pid)))
        .map(|(line, pid)| (String::from_utf8_lossy(&line).replace('\0', " "), pid))
        .filter(|(line, _)| line.contains(mark))
        .map(|(line, pid)| format!("process {pid}: {line}"))
        .collect()
}

/// The host's mounts whose mount point or source is below `root`.
pub(crate) fn mounts(root: &Path) -> Vec<String> {
    let root = root.to_string_lossy();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter(|it| it.contains(&*root)).map(|it| format!("mount {it}")).collect()
}

/// The cgroups below `parent` in every hierarchy.
pub(crate) fn cgroups(parent: &str) -> Vec<String> {
    hierarchies()
        .into_iter()
        .flat_map(|it| children(&it.join(parent.trim_start_matches('/'))))
        .collect()
}

/// Removes the cgroup parent itself, which the daemon keeps; tells where it could not be removed.
pub(crate) fn remove_cgroup_parent(parent: &str) -> Vec<String> {
    let paths = hierarchies().into_iter().map(|it| it.join(parent.trim_start_matches('/')));
    let remains = |it: &PathBuf| fs::remove_dir(it).is_err() && it.exists();
    paths.filter(remains).map(|it| format!("cgroup {}", it.display())).collect()
}

/// What is in the directory `path`, if it exists.
pub(crate) fn files(path: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.flatten().map(|it| format!("file {}", it.path().display())).collect()
}

fn hierarchies() -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let fields = table.lines().map(|it| it.split(' ').collect::<Vec<_>>());
    fields
        .filter(|it| it.len() > 2 && it[2].starts_with("cgroup"))
        .map(|it| PathBuf::from(it[1]))
        .collect()
}

fn children(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let directories = entries.flatten().filter(|it| it.file_type().is_ok_and(|it| it.is_dir()));
    directories.map(|it| format!("cgroup {}", it.path().display())).collect()
}
