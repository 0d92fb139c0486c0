//! Mounts: the options of the specification, sorted by what they mean to the kernel.

use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as spec;
use rustix::mount::MountPropagationFlags;
use wadah_sys::mount::attribute;

use crate::{CreateError, plan::invalid};

/// A mount, planned.
#[derive(Debug, Clone)]
pub(crate) struct Mount {
    /// Where, in the container: absolute, without `.` and `..`.
    pub(crate) destination: PathBuf,
    /// What.
    pub(crate) kind: Kind,
    /// Attributes of the mount itself.
    pub(crate) attributes: Attributes,
    /// Attributes of it and all below it.
    pub(crate) recursive: Attributes,
    /// Propagation, in order.
    pub(crate) propagation: Vec<Propagation>,
    /// Id maps of the mount.
    pub(crate) id_map: Option<IdMap>,
    /// Whether what is at the destination is copied into the new, empty filesystem.
    pub(crate) copy_up: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A path of the host.
    Bind { source: PathBuf, recursive: bool },
    /// A filesystem, made with these parameters.
    Filesystem { name: String, parameters: Vec<(String, Option<String>)> },
    /// The container's own control groups.
    Cgroup,
    /// Nothing new: the mount that is there gets new attributes.
    Remount,
}

/// `MOUNT_ATTR_*` to set and to clear.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// To set.
    pub(crate) set: u64,
    /// To clear.
    pub(crate) clear: u64,
}

/// A propagation type and whether it is for all mounts below, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// The type.
    pub(crate) flag: MountPropagationFlags,
    /// For all below.
    pub(crate) recursive: bool,
}

/// How a mount maps ids.
#[derive(Debug, Clone)]
pub(crate) struct IdMap {
    /// For all mounts below, too.
    pub(crate) recursive: bool,
    /// The mount's own maps of users and groups; the container's if absent.
    pub(crate) maps: Option<(Vec<spec::LinuxIdMapping>, Vec<spec::LinuxIdMapping>)>,
}

impl Attributes {
    /// Whether there is nothing to change.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn add(&mut self, option: &AttributeOption) {
        // Access times are one field of several bits: to set it, all must be cleared.
        let is_time = option.bits & attribute::ACCESS_TIME != 0 || option.bits == 0;
        let bits = if is_time { attribute::ACCESS_TIME } else { option.bits };
        self.clear |= bits;
        self.set &= !bits;
        if option.on {
            self.set |= option.bits;
        }
    }
}

/// An option that is an attribute; with an `r` before it, a recursive one.
struct AttributeOption {
    name: &'static str,
    on: bool,
    bits: u64,
}

const fn on(name: &'static str, bits: u64) -> AttributeOption {
    AttributeOption { name, on: true, bits }
}

const fn off(name: &'static str, bits: u64) -> AttributeOption {
    AttributeOption { name, on: false, bits }
}

const ATTRIBUTES: &[AttributeOption] = &[
    on("ro", attribute::READ_ONLY),
    off("rw", attribute::READ_ONLY),
    on("nosuid", attribute::NO_SUID),
    off("suid", attribute::NO_SUID),
    on("nodev", attribute::NO_DEV),
    off("dev", attribute::NO_DEV),
    on("noexec", attribute::NO_EXEC),
    off("exec", attribute::NO_EXEC),
    on("noatime", attribute::NO_ACCESS_TIME),
    off("atime", attribute::NO_ACCESS_TIME),
    on("strictatime", attribute::STRICT_ACCESS_TIME),
    off("nostrictatime", attribute::STRICT_ACCESS_TIME),
    on("relatime", 0),
    on("nodiratime", attribute::NO_DIRECTORY_ACCESS_TIME),
    off("diratime", attribute::NO_DIRECTORY_ACCESS_TIME),
    on("nosymfollow", attribute::NO_SYMLINKS),
    off("symfollow", attribute::NO_SYMLINKS),
];

/// Options that are flags of the filesystem, not of the mount.
const FILESYSTEM_FLAGS: &[&str] = &["sync", "async", "dirsync", "lazytime", "nolazytime", "mand"];

/// Options that change nothing: defaults, and those the kernel ignores today.
const IGNORED: &[&str] = &[
    "defaults",
    "silent",
    "loud",
    "iversion",
    "noiversion",
    "nomand",
    "norelatime",
    "rnorelatime",
];

/// Turns a mount of the specification into a planned one.
pub(super) fn parse(mount: &spec::Mount) -> Result<Mount, CreateError> {
    let destination = clean(mount.destination())?;
    let mut parsed = Mount {
        destination,
        kind: Kind::Remount,
        attributes: Attributes::default(),
        recursive: Attributes::default(),
        propagation: Vec::new(),
        id_map: None,
        copy_up: false,
    };
    let mut rest = Rest::default();
    for option in mount.options().iter().flatten() {
        add_option(&mut parsed, &mut rest, option);
    }
    parsed.kind = kind(mount, rest)?;
    parsed.id_map = id_map(mount, parsed.id_map)?;
    Ok(parsed)
}

/// What the options leave to be decided with the type and the source.
#[derive(Default)]
struct Rest {
    bind: bool,
    recursive: bool,
    remount: bool,
    parameters: Vec<(String, Option<String>)>,
}

fn add_option(mount: &mut Mount, rest: &mut Rest, option: &str) {
    let find = |name: &str| ATTRIBUTES.iter().find(|it| it.name == name);
    if let Some(found) = find(option) {
        return mount.attributes.add(found);
    }
    if let Some(found) = option.strip_prefix('r').and_then(find) {
        return mount.recursive.add(found);
    }
    if let Some(propagation) = parse_propagation(option) {
        return mount.propagation.push(propagation);
    }
    match option {
        "bind" => rest.bind = true,
        "rbind" => (rest.bind, rest.recursive) = (true, true),
        "remount" => rest.remount = true,
        "tmpcopyup" => mount.copy_up = true,
        "idmap" => mount.id_map = Some(IdMap { recursive: false, maps: None }),
        "ridmap" => mount.id_map = Some(IdMap { recursive: true, maps: None }),
        _ if IGNORED.contains(&option) => {}
        _ => rest.parameters.push(parameter(option)),
    }
}

fn parameter(option: &str) -> (String, Option<String>) {
    match option.split_once('=') {
        Some((key, value)) => (key.into(), Some(value.into())),
        None => (option.into(), None),
    }
}

fn kind(mount: &spec::Mount, rest: Rest) -> Result<Kind, CreateError> {
    let name = mount.typ().as_deref().filter(|it| !it.is_empty());
    if rest.bind || name == Some("bind") {
        let missing = || invalid("mounts.source", format!("{:?} has none", mount.destination()));
        let source = mount.source().clone().ok_or_else(missing)?;
        let only_flags = |(key, _): &(String, _)| FILESYSTEM_FLAGS.contains(&key.as_str());
        if let Some((key, _)) = rest.parameters.iter().find(|it| !only_flags(it)) {
            let problem = format!("{key:?} means nothing to a bind mount");
            return Err(invalid("mounts.options", problem));
        }
        return Ok(if rest.remount {
            Kind::Remount
        } else {
            Kind::Bind { source, recursive: rest.recursive }
        });
    }
    if rest.remount {
        return Ok(Kind::Remount);
    }
    let missing = || invalid("mounts.type", format!("{:?} has none", mount.destination()));
    let name = name.ok_or_else(missing)?;
    if name == "cgroup" || name == "cgroup2" {
        return Ok(Kind::Cgroup);
    }
    let mut parameters = rest.parameters;
    if let Some(source) = mount.source() {
        parameters.insert(0, ("source".into(), Some(source.to_string_lossy().into())));
    }
    Ok(Kind::Filesystem { name: name.into(), parameters })
}

fn id_map(mount: &spec::Mount, asked: Option<IdMap>) -> Result<Option<IdMap>, CreateError> {
    let maps = match (mount.uid_mappings(), mount.gid_mappings()) {
        (Some(users), Some(groups)) => Some((users.clone(), groups.clone())),
        (None, None) => None,
        _ => return Err(invalid("mounts.uidMappings", "come only together with gidMappings")),
    };
    Ok(match (asked, maps) {
        (None, None) => None,
        (asked, maps) => Some(IdMap { recursive: asked.is_some_and(|it| it.recursive), maps }),
    })
}

/// Turns `rslave` and the like into what the kernel wants.
pub(crate) fn parse_propagation(option: &str) -> Option<Propagation> {
    let (recursive, name) = match option {
        "rshared" | "rslave" | "rprivate" | "runbindable" => (true, &option[1..]),
        _ => (false, option),
    };
    let flag = match name {
        "shared" => MountPropagationFlags::SHARED,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "private" => MountPropagationFlags::PRIVATE,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(Propagation { flag, recursive })
}

/// Makes a destination absolute (as the specification before 1.0 had it) and resolves `.` and `..`
/// by name, as other runtimes do.
fn clean(path: &Path) -> Result<PathBuf, CreateError> {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    if cleaned == Path::new("/") {
        return Err(invalid("mounts.destination", format!("{path:?} is the root itself")));
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_options(kind: &str, options: &[&str]) -> Mount {
        let mount: spec::Mount = serde_json::from_value(serde_json::json!({
            "destination": "/data", "type": kind, "source": "/src", "options": options,
        }))
        .unwrap();
        parse(&mount).unwrap()
    }

    #[test]
    fn the_last_word_on_an_attribute_counts() {
        let mount =
            parse_options("bind", &["rbind", "ro", "rw", "nosuid", "noatime", "strictatime"]);
        assert_eq!(mount.attributes.set, attribute::NO_SUID | attribute::STRICT_ACCESS_TIME);
        assert!(mount.attributes.clear & attribute::READ_ONLY != 0);
        assert!(matches!(mount.kind, Kind::Bind { recursive: true, .. }));
    }

    #[test]
    fn recursive_attributes_are_told_from_plain_ones() {
        let mount = parse_options("bind", &["rbind", "rro", "relatime", "rslave", "private"]);
        assert_eq!(mount.recursive.set, attribute::READ_ONLY);
        assert_eq!(mount.attributes.set, 0);
        assert_eq!(mount.attributes.clear, attribute::ACCESS_TIME);
        assert_eq!(mount.propagation.len(), 2);
    }

    #[test]
    fn what_is_no_attribute_goes_to_the_filesystem() {
        let mount = parse_options("tmpfs", &["size=64k", "mode=755", "ro", "tmpcopyup", "sync"]);
        let Kind::Filesystem { name, parameters } = mount.kind else { panic!("{:?}", mount.kind) };
        let keys: Vec<_> = parameters.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!((name.as_str(), keys), ("tmpfs", vec!["source", "size", "mode", "sync"]));
        assert!(mount.copy_up);
    }

    #[test]
    fn destinations_cannot_climb_out() {
        assert_eq!(clean(Path::new("a/../../b/./c")).unwrap(), Path::new("/b/c"));
        clean(Path::new("/..")).unwrap_err();
    }
}
