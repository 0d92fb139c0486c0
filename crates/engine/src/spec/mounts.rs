//! Mounts: those every container has, the files the engine keeps for it, and what was asked for.
//!
//! **Invariant:** every source on the host comes from the client's request or is the engine's
//! own; an image names none.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Inputs, Namespace};
use crate::{
    EngineError,
    config::{BindOptions, HostConfig, IpcMode, MountKind, Propagation, TmpfsOptions},
    containers::MountPoint,
};

/// Bytes of `/dev/shm` by default: 64 MiB.
const SHM_SIZE: i64 = 64 << 20;

/// Something that was asked to be mounted, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Where.
    pub(crate) target: PathBuf,
    /// Whether it cannot be written.
    pub(crate) read_only: bool,
    /// What.
    pub(crate) kind: AskedKind,
    /// The options in the short form, as Docker shows them.
    mode: String,
}

/// What was asked to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AskedKind {
    /// A path of the host.
    Bind {
        /// An absolute path.
        source: PathBuf,
        /// How.
        options: BindOptions,
    },
    /// Memory, with mount(8)'s options.
    Tmpfs(Vec<String>),
}

/// Understands everything a host configuration asks to be mounted, in the order of mounting:
/// what lies higher comes first.
pub(crate) fn asked(host: &HostConfig) -> Result<Vec<Asked>, EngineError> {
    let mut all = Vec::new();
    for bind in &host.binds {
        all.push(parse_bind(bind)?);
    }
    for mount in &host.mounts {
        let target = target(&mount.target, &mount.target)?;
        let kind = match &mount.kind {
            MountKind::Bind { source, options } => AskedKind::Bind {
                source: absolute(source, &mount.target)?,
                options: options.clone(),
            },
            MountKind::Tmpfs(options) => AskedKind::Tmpfs(tmpfs_options(options)?),
            MountKind::Volume { source } => {
                return Err(EngineError::unsupported(format!(
                    "a mount of the volume {source:?} at {}",
                    mount.target
                )));
            }
            MountKind::Other(name) => {
                return Err(EngineError::invalid(format!(
                    "invalid mount config for type \"{name}\": mount type unknown"
                )));
            }
        };
        all.push(Asked { target, read_only: mount.read_only, kind, mode: String::new() });
    }
    for (path, options) in &host.tmpfs {
        let target = target(path, path)?;
        let options: Vec<_> =
            options.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        let read_only = options.iter().any(|it| it == "ro");
        all.push(Asked { target, read_only, kind: AskedKind::Tmpfs(options), mode: String::new() });
    }
    all.sort_by_key(|it| it.target.components().count());
    check_distinct(&all)?;
    Ok(all)
}

fn check_distinct(all: &[Asked]) -> Result<(), EngineError> {
    for (index, mount) in all.iter().enumerate() {
        if all[..index].iter().any(|it| it.target == mount.target) {
            let target = mount.target.display();
            return Err(EngineError::invalid(format!("Duplicate mount point: {target}")));
        }
    }
    Ok(())
}

/// Reads `source:destination[:options]`.
fn parse_bind(text: &str) -> Result<Asked, EngineError> {
    let invalid = || EngineError::invalid(format!("invalid volume specification: '{text}'"));
    let mut parts = text.splitn(3, ':');
    let (Some(source), Some(destination)) = (parts.next(), parts.next()) else {
        return Err(EngineError::unsupported(format!("the anonymous volume {text}")));
    };
    let mode = parts.next().unwrap_or_default();
    if source.is_empty() || destination.is_empty() {
        return Err(invalid());
    }
    if !source.starts_with('/') {
        return Err(EngineError::unsupported(format!("the named volume {source} (in {text})")));
    }
    let target = target(destination, text)?;
    let mut options = BindOptions { create_mountpoint: true, ..BindOptions::default() };
    let mut read_only = false;
    for option in mode.split(',').filter(|it| !it.is_empty()) {
        match option {
            "ro" | "readonly" => read_only = true,
            // Labels mean nothing without SELinux, and there is nothing to copy from a bind.
            "rw" | "z" | "Z" | "nocopy" | "rbind" | "consistent" | "cached" | "delegated" => {}
            "bind" => options.non_recursive = true,
            _ => {
                options.propagation = option
                    .parse()
                    .map_err(|_| EngineError::invalid(format!("invalid mode: {mode}")))?;
            }
        }
    }
    let kind = AskedKind::Bind { source: PathBuf::from(source), options };
    Ok(Asked { target, read_only, kind, mode: mode.to_owned() })
}

fn target(path: &str, text: &str) -> Result<PathBuf, EngineError> {
    let invalid =
        |why: &str| EngineError::invalid(format!("invalid volume specification: '{text}': {why}"));
    if !path.starts_with('/') {
        return Err(invalid(&format!(
            "invalid mount config for type \"bind\": invalid mount path: '{path}' mount path must \
             be absolute"
        )));
    }
    let mut clean = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    if clean == Path::new("/") {
        return Err(invalid("destination can't be '/'"));
    }
    Ok(clean)
}

fn absolute(source: &str, target: &str) -> Result<PathBuf, EngineError> {
    if source.starts_with('/') {
        return Ok(PathBuf::from(source));
    }
    Err(EngineError::invalid(format!(
        "invalid mount config for type \"bind\": invalid mount path: '{source}' mount path must \
         be absolute (mounted at {target})"
    )))
}

fn tmpfs_options(options: &TmpfsOptions) -> Result<Vec<String>, EngineError> {
    let mut all = Vec::new();
    if let Some(size) = options.size {
        if size < 0 {
            return Err(EngineError::invalid(format!("invalid tmpfs size: {size}")));
        }
        all.push(format!("size={size}"));
    }
    all.push(format!("mode={:o}", options.mode.unwrap_or(0o1777)));
    all.extend(options.options.iter().map(|it| it.join("=")));
    Ok(all)
}

/// What `inspect` shows of what was asked for.
pub(crate) fn points(host: &HostConfig) -> Vec<MountPoint> {
    let shown = |it: Asked| match it.kind {
        AskedKind::Bind { source, options } => Some(MountPoint {
            kind: "bind",
            name: None,
            source: source.display().to_string(),
            destination: it.target.display().to_string(),
            mode: it.mode,
            writable: !it.read_only,
            propagation: options.propagation.to_string(),
        }),
        AskedKind::Tmpfs(_) => {
            host.mounts.iter().any(|m| Path::new(&m.target) == it.target).then(|| MountPoint {
                kind: "tmpfs",
                name: None,
                source: String::new(),
                destination: it.target.display().to_string(),
                mode: String::new(),
                writable: !it.read_only,
                propagation: String::new(),
            })
        }
    };
    // It was checked when the container was created.
    asked(host).unwrap_or_default().into_iter().filter_map(shown).collect()
}

/// Whether the root must be shared with the host for a mount's propagation to reach it.
pub(super) fn root_propagation(host: &HostConfig) -> Option<&'static str> {
    let propagations = asked(host).unwrap_or_default().into_iter().filter_map(|it| match it.kind {
        AskedKind::Bind { options, .. } => Some(options.propagation),
        AskedKind::Tmpfs(_) => None,
    });
    propagations.fold(None, |so_far, it| match it {
        Propagation::Shared | Propagation::RShared => Some("shared"),
        Propagation::Slave | Propagation::RSlave => so_far.or(Some("rslave")),
        Propagation::Private | Propagation::RPrivate => so_far,
    })
}

/// Builds `mounts`.
pub(super) fn build(inputs: &Inputs<'_>) -> Result<Vec<Value>, EngineError> {
    let asked = asked(&inputs.definition.host)?;
    let is_asked = |target: &str| asked.iter().any(|it| it.target == Path::new(target));
    let own = usual(inputs).into_iter().chain(files(inputs));
    let mut mounts: Vec<_> = own
        .filter(|it| it["destination"].as_str().is_none_or(|target| !is_asked(target)))
        .collect();
    mounts.extend(asked.iter().map(value));
    Ok(mounts)
}

/// What every container has.
fn usual(inputs: &Inputs<'_>) -> Vec<Value> {
    let host = &*inputs.definition.host;
    let writable = if host.privileged { "rw" } else { "ro" };
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": kind, "options": options });
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", writable]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", writable]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
    ];
    mounts.extend(shared_memory(inputs, host));
    mounts
}

fn shared_memory(inputs: &Inputs<'_>, host: &HostConfig) -> Option<Value> {
    if inputs.ipc == Namespace::Host {
        let options = ["rbind", "rprivate"];
        return Some(json!({
            "destination": "/dev/shm", "type": "bind", "source": "/dev/shm", "options": options,
        }));
    }
    if host.ipc_mode == IpcMode::None {
        return None;
    }
    let size = format!("size={}", host.shm_size.filter(|it| *it > 0).unwrap_or(SHM_SIZE));
    let options = ["nosuid", "noexec", "nodev", "mode=1777", &size];
    Some(json!({
        "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": options,
    }))
}

/// The files the engine keeps for it.
fn files<'a>(inputs: &'a Inputs<'a>) -> impl Iterator<Item = Value> + 'a {
    let writable = if inputs.definition.host.readonly_rootfs { "ro" } else { "rw" };
    ["resolv.conf", "hostname", "hosts"].into_iter().map(move |name| {
        json!({
            "destination": Path::new("/etc").join(name),
            "type": "bind",
            "source": inputs.directory.join(name),
            "options": ["rbind", "rprivate", writable],
        })
    })
}

fn value(asked: &Asked) -> Value {
    let (kind, source, options) = match &asked.kind {
        AskedKind::Bind { source, options } => {
            ("bind", source.as_path(), bind_options(asked.read_only, options))
        }
        AskedKind::Tmpfs(options) => {
            let base = ["noexec", "nosuid", "nodev", "rprivate"].map(str::to_owned);
            let mut all: Vec<String> = base.into_iter().chain(options.iter().cloned()).collect();
            if asked.read_only && !all.iter().any(|it| it == "ro") {
                all.push("ro".to_owned());
            }
            ("tmpfs", Path::new("tmpfs"), all)
        }
    };
    json!({ "destination": asked.target, "type": kind, "source": source, "options": options })
}

fn bind_options(read_only: bool, options: &BindOptions) -> Vec<String> {
    let mut all = vec![if options.non_recursive { "bind" } else { "rbind" }];
    all.push(options.propagation.as_str());
    if read_only {
        all.push("ro");
        if !options.non_recursive && !options.read_only_non_recursive {
            // Everything below, too: a writable mount under a read-only one surprises.
            all.push("rro");
        }
    }
    all.into_iter().map(str::to_owned).collect()
}

/// Makes the sources of binds in the short form, and refuses those in the long form that are not
/// there.
pub(crate) fn prepare_sources(host: &HostConfig) -> Result<(), EngineError> {
    for asked in asked(host)? {
        let AskedKind::Bind { source, options } = asked.kind else { continue };
        if source.symlink_metadata().is_ok() {
            continue;
        }
        if !options.create_mountpoint {
            return Err(missing_source(&source));
        }
        std::fs::create_dir_all(&source).map_err(|error| {
            let (path, mkdir) = (source.display(), "error while creating mount source path");
            EngineError::io(format!("{mkdir} '{path}'"), error)
        })?;
    }
    Ok(())
}

/// Refuses binds in the long form whose sources are not there.
pub(crate) fn check_sources(host: &HostConfig) -> Result<(), EngineError> {
    for asked in asked(host)? {
        if let AskedKind::Bind { source, options } = asked.kind
            && !options.create_mountpoint
            && source.symlink_metadata().is_err()
        {
            return Err(missing_source(&source));
        }
    }
    Ok(())
}

fn missing_source(source: &Path) -> EngineError {
    EngineError::invalid(format!(
        "invalid mount config for type \"bind\": bind source path does not exist: {}",
        source.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(text: &str) -> Result<Asked, String> {
        parse_bind(text).map_err(|it| it.to_string())
    }

    #[test]
    fn a_bind_is_read_with_its_options() {
        let asked = bind("/a:/b/../c:ro,rshared").unwrap();
        assert_eq!(asked.target, Path::new("/c"));
        assert!(asked.read_only);
        let AskedKind::Bind { source, options } = asked.kind else { panic!("no bind") };
        assert_eq!(source, Path::new("/a"));
        assert_eq!(options.propagation, Propagation::RShared);
    }

    #[test]
    fn what_is_no_bind_is_refused_with_its_text() {
        for text in ["/a:b", "/a:/", "/a:/b:fast", ":/b", "/a:"] {
            assert!(bind(text).is_err(), "{text} passed");
        }
        assert!(bind("data:/b").unwrap_err().contains("the named volume data"));
        assert!(bind("/b").unwrap_err().contains("the anonymous volume /b"));
    }

    #[test]
    fn two_mounts_at_one_place_are_refused() {
        let binds = vec!["/a:/x".to_owned(), "/b:/x/".to_owned()];
        let host = HostConfig { binds, ..HostConfig::default() };
        assert_eq!(asked(&host).unwrap_err().to_string(), "Duplicate mount point: /x");
    }
}
