//! Mounts: `--volume` and `--mount`.

use std::path::PathBuf;

use bollard_stubs::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountImageOptions, MountTmpfsOptions, MountType, MountVolumeOptions,
    MountVolumeOptionsDriverConfig,
};

use crate::{
    failure::Failure,
    flag::{Invalid, push},
    unit,
};

/// One `--volume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volume {
    /// A target alone: a new volume.
    Anonymous(String),
    /// Source, target and options, as the daemon takes them.
    Bind(String),
}

/// Reads `[SOURCE:]TARGET[:OPTIONS]`. A source that begins with a dot is relative to us.
pub(super) fn volume(text: &str) -> Result<Volume, Invalid> {
    let invalid = |why: &str| Invalid(format!("invalid volume specification: '{text}': {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|it| it.is_empty()) {
        return Err(invalid("empty section between colons"));
    }
    match parts[..] {
        [target] if target.starts_with('/') => Ok(Volume::Anonymous(target.to_owned())),
        [_] => Err(invalid("mount path must be absolute")),
        [source, target, ..] if parts.len() <= 3 => {
            if !target.starts_with('/') {
                return Err(invalid("mount path must be absolute"));
            }
            let source = absolute(source)?;
            let rest = parts[1..].join(":");
            Ok(Volume::Bind(format!("{source}:{rest}")))
        }
        _ => Err(invalid("too many colons")),
    }
}

/// Puts the volumes into the request.
pub(super) fn apply(
    volumes: Vec<Volume>,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), Failure> {
    for volume in volumes {
        match volume {
            Volume::Anonymous(target) if target == "/" => {
                return Err(Failure::refused(
                    "invalid volume specification: '/': destination can't be '/'",
                ));
            }
            Volume::Anonymous(target) => push(&mut body.volumes, target),
            Volume::Bind(bind) => push(&mut host.binds, bind),
        }
    }
    Ok(())
}

fn absolute(source: &str) -> Result<String, Invalid> {
    if source != "." && source != ".." && !source.starts_with("./") && !source.starts_with("../") {
        return Ok(source.to_owned());
    }
    let path = std::path::absolute(source).map(|it| clean(&it));
    let path = path.map_err(|error| Invalid(format!("cannot resolve {source}: {error}")))?;
    path.into_os_string().into_string().map_err(|it| Invalid(format!("{it:?} is not valid UTF-8")))
}

/// Resolves `..` by the names alone.
fn clean(path: &std::path::Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        if part == std::path::Component::ParentDir {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean
}

/// Reads `type=…,source=…,target=…,…`.
pub(super) fn mount(text: &str) -> Result<Mount, Invalid> {
    let mut mount = Mount { typ: Some(MountType::VOLUME), ..Mount::default() };
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.to_ascii_lowercase(), None),
        };
        apply_field(&mut mount, &field, &key, value)?;
    }
    complete(text, mount)
}

/// Splits at commas as CSV does: a field in double quotes may contain commas.
fn fields(text: &str) -> Result<Vec<String>, Invalid> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = text.trim().chars().peekable();
    while let Some(it) = characters.next() {
        let last = fields.len() - 1;
        match it {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields[last].push(it),
        }
    }
    if quoted {
        return Err(Invalid(format!("a quote is not closed in '{text}'")));
    }
    Ok(fields)
}

fn apply_field(
    mount: &mut Mount,
    field: &str,
    key: &str,
    value: Option<String>,
) -> Result<(), Invalid> {
    let must = || Invalid(format!("invalid field '{field}' must be a key=value pair"));
    match (key, &value) {
        ("readonly" | "ro", _) => mount.read_only = Some(truth(key, value.as_deref())?),
        ("volume-nocopy", _) => {
            let on = truth(key, value.as_deref())?;
            mount.volume_options.get_or_insert_default().no_copy = Some(on);
        }
        ("bind-nonrecursive", _) => {
            let on = truth(key, value.as_deref())?;
            mount.bind_options.get_or_insert_default().non_recursive = Some(on);
        }
        (_, None) => return Err(must()),
        ("type", Some(value)) => mount.typ = Some(kind(value)?),
        ("source" | "src", Some(value)) => mount.source = Some(value.clone()),
        ("target" | "dst" | "destination", Some(value)) => mount.target = Some(value.clone()),
        ("consistency", Some(value)) => mount.consistency = Some(value.to_ascii_lowercase()),
        (_, Some(value)) => option(mount, field, key, value)?,
    }
    Ok(())
}

/// The options that belong to one type of mount.
fn option(mount: &mut Mount, field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    match key {
        "bind-propagation" => {
            let options: &mut MountBindOptions = mount.bind_options.get_or_insert_default();
            options.propagation = Some(propagation(value)?);
        }
        "bind-recursive" => recursive(mount.bind_options.get_or_insert_default(), value)?,
        "tmpfs-size" => {
            let options: &mut MountTmpfsOptions = mount.tmpfs_options.get_or_insert_default();
            options.size_bytes = Some(unit::bytes(value)?);
        }
        "tmpfs-mode" => {
            let mode = i64::from_str_radix(value, 8);
            let mode = mode.map_err(|_| Invalid(format!("invalid value for {key}: {value}")))?;
            mount.tmpfs_options.get_or_insert_default().mode = Some(mode);
        }
        "image-subpath" => {
            let options: &mut MountImageOptions = mount.image_options.get_or_insert_default();
            options.subpath = Some(value.to_owned());
        }
        _ => return volume_option(mount, field, key, value),
    }
    Ok(())
}

fn volume_option(mount: &mut Mount, field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    let unexpected = || Invalid(format!("unexpected key '{key}' in '{field}'"));
    if !key.starts_with("volume-") {
        return Err(unexpected());
    }
    let options: &mut MountVolumeOptions = mount.volume_options.get_or_insert_default();
    let driver: fn(&mut MountVolumeOptions) -> &mut MountVolumeOptionsDriverConfig =
        |it| it.driver_config.get_or_insert_default();
    match key {
        "volume-subpath" => options.subpath = Some(value.to_owned()),
        "volume-label" => {
            let (name, value) = super::pair(value)?;
            options.labels.get_or_insert_default().insert(name, value);
        }
        "volume-driver" => driver(options).name = Some(value.to_owned()),
        "volume-opt" => {
            let (name, value) = super::pair(value)?;
            driver(options).options.get_or_insert_default().insert(name, value);
        }
        _ => return Err(unexpected()),
    }
    Ok(())
}

fn kind(text: &str) -> Result<MountType, Invalid> {
    match text.to_ascii_lowercase().as_str() {
        "bind" => Ok(MountType::BIND),
        "tmpfs" => Ok(MountType::TMPFS),
        "volume" => Ok(MountType::VOLUME),
        "image" => Ok(MountType::IMAGE),
        other => Err(Invalid(format!("invalid mount type: {other}"))),
    }
}

fn propagation(text: &str) -> Result<MountBindOptionsPropagationEnum, Invalid> {
    use MountBindOptionsPropagationEnum as It;
    match text.to_ascii_lowercase().as_str() {
        "private" => Ok(It::PRIVATE),
        "rprivate" => Ok(It::RPRIVATE),
        "shared" => Ok(It::SHARED),
        "rshared" => Ok(It::RSHARED),
        "slave" => Ok(It::SLAVE),
        "rslave" => Ok(It::RSLAVE),
        _ => Err(Invalid(format!("invalid propagation: {text}"))),
    }
}

fn recursive(options: &mut MountBindOptions, text: &str) -> Result<(), Invalid> {
    match text {
        "enabled" => {}
        "disabled" => options.non_recursive = Some(true),
        "writable" => options.read_only_non_recursive = Some(true),
        "readonly" => options.read_only_force_recursive = Some(true),
        _ => {
            let message = format!(
                "invalid value for bind-recursive: {text} (must be \"enabled\", \"disabled\", \
                 \"writable\", or \"readonly\")"
            );
            return Err(Invalid(message));
        }
    }
    Ok(())
}

fn truth(key: &str, value: Option<&str>) -> Result<bool, Invalid> {
    match value {
        None | Some("1" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(Invalid(format!("invalid value for {key}: {value}"))),
    }
}

/// Checks that the fields go together.
fn complete(text: &str, mut mount: Mount) -> Result<Mount, Invalid> {
    let kind = mount.typ.unwrap_or(MountType::VOLUME);
    if mount.target.as_deref().unwrap_or_default().is_empty() {
        return Err(Invalid("target is required".to_owned()));
    }
    let stray = [
        ("volume-*", MountType::VOLUME, mount.volume_options.is_some()),
        ("bind-*", MountType::BIND, mount.bind_options.is_some()),
        ("tmpfs-*", MountType::TMPFS, mount.tmpfs_options.is_some()),
        ("image-*", MountType::IMAGE, mount.image_options.is_some()),
    ];
    if let Some((name, _, _)) = stray.iter().find(|(_, of, given)| *given && *of != kind) {
        return Err(Invalid(format!("cannot mix '{name}' options with mount type '{kind}'")));
    }
    match (kind, mount.source.as_deref()) {
        (MountType::BIND, None | Some("")) => {
            return Err(Invalid("source is required for a bind mount".to_owned()));
        }
        (MountType::BIND, Some(source)) => mount.source = Some(absolute(source)?),
        (MountType::TMPFS, Some(_)) => {
            return Err(Invalid(format!("a tmpfs has no source: '{text}'")));
        }
        _ => {}
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let shown = match mount(text) {
            Ok(it) => serde_json::to_string(&it).unwrap(),
            Err(Invalid(message)) => message,
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn volumes_have_a_source_a_target_and_options() {
        assert_eq!(volume("/data"), Ok(Volume::Anonymous("/data".to_owned())));
        assert_eq!(volume("/a:/b:ro"), Ok(Volume::Bind("/a:/b:ro".to_owned())));
        assert_eq!(volume("name:/b"), Ok(Volume::Bind("name:/b".to_owned())));
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        assert_eq!(volume("./x:/b"), Ok(Volume::Bind(format!("{here}/x:/b"))));
        assert_eq!(volume(".:/b"), Ok(Volume::Bind(format!("{here}:/b"))));
        for bad in ["data", "/a::/b", "/a:b", "a:/b:c:d", ""] {
            volume(bad).unwrap_err();
        }
    }

    #[test]
    fn mounts_are_fields() {
        check(
            "type=bind,src=/a,dst=/b,readonly,bind-propagation=rslave",
            r#"{"Target":"/b","Source":"/a","Type":"bind","ReadOnly":true,"BindOptions":{"Propagation":"rslave"}}"#,
        );
        check(
            "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770",
            r#"{"Target":"/t","Type":"tmpfs","TmpfsOptions":{"SizeBytes":1048576,"Mode":1016}}"#,
        );
        check(
            r#"type=bind,"source=/a,b",target=/c,ro=false"#,
            r#"{"Target":"/c","Source":"/a,b","Type":"bind","ReadOnly":false}"#,
        );
    }

    #[test]
    fn fields_that_do_not_go_together_are_errors() {
        check("type=bind,source=/a", "target is required");
        check("type=bind,target=/a", "source is required for a bind mount");
        check(
            "type=tmpfs,src=/a,target=/b",
            "a tmpfs has no source: 'type=tmpfs,src=/a,target=/b'",
        );
        check(
            "type=tmpfs,target=/b,bind-nonrecursive",
            "cannot mix 'bind-*' options with mount type 'tmpfs'",
        );
        check("type=bind,what=1,target=/b", "unexpected key 'what' in 'what=1'");
        check("target", "invalid field 'target' must be a key=value pair");
        check("type=magic,target=/b", "invalid mount type: magic");
    }
}
