//! Devices: which nodes there are inside, and which may be used.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    EngineError,
    config::{Device, HostConfig},
};

/// What every container may use: any node may be made, and these may be opened.
const DEFAULT: &[(&str, Option<u32>, Option<u32>, &str)] = &[
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

/// Directories of `/dev` that a privileged container has mounts of its own for.
const SKIPPED: &[&str] = &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];

/// The device cgroup's rules.
pub(super) fn rules(host: &HostConfig) -> Result<Vec<Value>, EngineError> {
    if host.privileged {
        return Ok(vec![json!({ "allow": true, "access": "rwm" })]);
    }
    let mut rules = vec![json!({ "allow": false, "access": "rwm" })];
    rules.extend(DEFAULT.iter().map(|(kind, major, minor, access)| {
        rule(kind, major.map(i64::from), minor.map(i64::from), access)
    }));
    for device in &host.resources.devices {
        for node in found(device)? {
            let (major, minor) = (Some(node.major.into()), Some(node.minor.into()));
            rules.push(rule(node.kind, major, minor, permissions(device)));
        }
    }
    for text in &host.resources.device_cgroup_rules {
        rules.push(parse_rule(text)?);
    }
    Ok(rules)
}

/// The nodes to make, beyond the ones every container has.
pub(super) fn nodes(host: &HostConfig) -> Result<Vec<Value>, EngineError> {
    let mut nodes = Vec::new();
    if host.privileged {
        all_of_host(Path::new("/dev"), &mut nodes);
    }
    for device in &host.resources.devices {
        nodes.extend(found(device)?);
    }
    Ok(nodes.iter().map(Node::value).collect())
}

/// Checks the rules and devices without using them.
pub(crate) fn check(host: &HostConfig) -> Result<(), EngineError> {
    for text in &host.resources.device_cgroup_rules {
        parse_rule(text)?;
    }
    for device in &host.resources.devices {
        if !permissions(device).bytes().all(|it| b"rwm".contains(&it)) {
            return Err(EngineError::invalid(format!(
                "invalid device mode: {}",
                device.permissions
            )));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Node {
    path: PathBuf,
    kind: &'static str,
    major: u32,
    minor: u32,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Node {
    /// The node at `path` on the host, to be at `inside`; nothing if it is no device.
    fn at(path: &Path, inside: PathBuf) -> std::io::Result<Option<Self>> {
        let metadata = fs::metadata(path)?;
        let kind = match metadata.file_type() {
            it if it.is_char_device() => "c",
            it if it.is_block_device() => "b",
            _ => return Ok(None),
        };
        let (major, minor) =
            (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let (uid, gid, mode) = (metadata.uid(), metadata.gid(), metadata.mode() & 0o777);
        Ok(Some(Self { path: inside, kind, major, minor, mode, uid, gid }))
    }

    fn value(&self) -> Value {
        json!({
            "path": self.path, "type": self.kind, "major": self.major, "minor": self.minor,
            "fileMode": self.mode, "uid": self.uid, "gid": self.gid,
        })
    }
}

fn permissions(device: &Device) -> &str {
    if device.permissions.is_empty() { "rwm" } else { &device.permissions }
}

/// The node that was asked for, or all below a directory that was.
fn found(device: &Device) -> Result<Vec<Node>, EngineError> {
    let host = Path::new(&device.path_on_host);
    let inside = match device.path_in_container.as_str() {
        "" => host.to_owned(),
        path => PathBuf::from(path),
    };
    let missing = |source: std::io::Error| {
        EngineError::invalid(format!(
            "error gathering device information while adding custom device \"{}\": {source}",
            host.display()
        ))
    };
    if fs::metadata(host).map_err(missing)?.is_dir() {
        let mut nodes = Vec::new();
        all_of_host(host, &mut nodes);
        for node in &mut nodes {
            let below = node.path.strip_prefix(host).expect("BUG: it was found below").to_owned();
            node.path = inside.join(below);
        }
        return Ok(nodes);
    }
    match Node::at(host, inside).map_err(missing)? {
        Some(node) => Ok(vec![node]),
        None => Err(EngineError::invalid(format!("{} is not a device node", host.display()))),
    }
}

/// All nodes below `directory`, under the same paths. What cannot be read is not there.
fn all_of_host(directory: &Path, nodes: &mut Vec<Node>) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        let name = entry.file_name();
        if kind.is_dir() {
            if !SKIPPED.iter().any(|it| name == *it) {
                all_of_host(&path, nodes);
            }
        } else if !kind.is_symlink()
            && name != "console"
            && let Ok(Some(node)) = Node::at(&path, path.clone())
        {
            nodes.push(node);
        }
    }
}

fn rule(kind: &str, major: Option<i64>, minor: Option<i64>, access: &str) -> Value {
    let mut rule = json!({ "allow": true, "type": kind, "access": access });
    let fields = rule.as_object_mut().expect("BUG: it was made as an object");
    for (name, number) in [("major", major), ("minor", minor)] {
        if let Some(number) = number {
            fields.insert(name.to_owned(), json!(number));
        }
    }
    rule
}

/// Reads a rule such as `c 10:* rwm`.
fn parse_rule(text: &str) -> Result<Value, EngineError> {
    let invalid = || EngineError::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split(' ');
    let (Some(kind @ ("a" | "b" | "c")), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let number = |text: &str| match text {
        "*" => Ok(None),
        _ => text.parse::<u32>().map(|it| Some(i64::from(it))).map_err(|_| invalid()),
    };
    if access.is_empty() || access.len() > 3 || !access.bytes().all(|it| b"rwm".contains(&it)) {
        return Err(invalid());
    }
    Ok(rule(kind, number(major)?, number(minor)?, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_or_refused() {
        assert_eq!(
            parse_rule("c 10:* rw").unwrap(),
            json!({ "allow": true, "type": "c", "major": 10, "access": "rw" })
        );
        for text in ["", "c", "x 1:1 r", "c 1 r", "c 1:1 rwx", "c 1:1 r r", "c -1:1 r"] {
            let error = parse_rule(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid device cgroup rule format: '{text}'"));
        }
    }
}
