//! Where a group is.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A path below the root of every hierarchy, such as `wadah/4f1c…`; never empty, never with `..`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location(String);

/// Why a location was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Not a path of one or more plain components.
    #[error("invalid cgroup path {path:?}: must name a group below the root, without `..`")]
    Path {
        /// The path as given.
        path: String,
    },
    /// Not `slice:prefix:name`.
    #[error("invalid systemd cgroup path {path:?}: expected slice:prefix:name")]
    Systemd {
        /// The path as given.
        path: String,
    },
}

impl Location {
    /// Takes a path relative to each hierarchy's root; a leading `/` is the same root.
    pub fn new(path: &str) -> Result<Self, LocationError> {
        let invalid = || LocationError::Path { path: path.to_owned() };
        let mut clean = String::with_capacity(path.len());
        for component in path.split('/').filter(|it| !it.is_empty() && *it != ".") {
            if component == ".." || component.contains(['\n', '\0']) {
                return Err(invalid());
            }
            if !clean.is_empty() {
                clean.push('/');
            }
            clean.push_str(component);
        }
        if clean.is_empty() { Err(invalid()) } else { Ok(Self(clean)) }
    }

    /// The default place of the container `id`: `wadah/<id>`.
    pub fn of_container(id: &str) -> Result<Self, LocationError> {
        Self::new(&format!("wadah/{id}"))
    }

    /// Takes `linux.cgroupsPath` of a specification: a path, systemd's `slice:prefix:name`, or
    /// nothing for the default place.
    pub fn from_spec(path: Option<&Path>, id: &str) -> Result<Self, LocationError> {
        let Some(path) = path.filter(|it| !it.as_os_str().is_empty()) else {
            return Self::of_container(id);
        };
        let path = path
            .to_str()
            .ok_or_else(|| LocationError::Path { path: path.to_string_lossy().into_owned() })?;
        if path.contains('/') || !path.contains(':') {
            return Self::new(path);
        }
        Self::from_systemd(path)
    }

    /// The path, relative, without a leading `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Expands `slice:prefix:name` as systemd would lay it out: `a-b.slice` lies in `a.slice`
    /// (systemd.slice(5)), the group itself is the scope `prefix-name.scope`.
    fn from_systemd(path: &str) -> Result<Self, LocationError> {
        let invalid = || LocationError::Systemd { path: path.to_owned() };
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else { return Err(invalid()) };
        if name.is_empty() {
            return Err(invalid());
        }
        let slice = if slice.is_empty() { "system.slice" } else { slice };
        let mut expanded = String::new();
        if slice != "-.slice" {
            let stem = slice.strip_suffix(".slice").ok_or_else(invalid)?;
            let mut whole = String::new();
            for part in stem.split('-') {
                if part.is_empty() {
                    return Err(invalid());
                }
                if !whole.is_empty() {
                    whole.push('-');
                }
                whole.push_str(part);
                expanded.push_str(&format!("{whole}.slice/"));
            }
        }
        let scope = match (prefix, name.strip_suffix(".slice")) {
            (_, Some(_)) => name.to_owned(),
            ("", None) => format!("{name}.scope"),
            (prefix, None) => format!("{prefix}-{name}.scope"),
        };
        Self::new(&format!("{expanded}{scope}"))
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(path: String) -> Result<Self, LocationError> {
        Self::new(&path)
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: &str) {
        let location = Location::from_spec(Some(Path::new(path)), "id");
        assert_eq!(
            location.as_ref().map(Location::as_str).map_err(ToString::to_string),
            Ok(expected)
        );
    }

    fn refuse(path: &str) {
        Location::from_spec(Some(Path::new(path)), "id").map(|_| ()).unwrap_err();
    }

    #[test]
    fn a_path_is_taken_relative_to_the_root() {
        check("/docker/abc", "docker/abc");
        check("a//b/./c/", "a/b/c");
        check("plain", "plain");
        check("", "wadah/id");
        assert_eq!(Location::from_spec(None, "id").unwrap().as_str(), "wadah/id");
    }

    #[test]
    fn a_path_out_of_the_hierarchy_is_refused() {
        refuse("../escape");
        refuse("/a/../../b");
        refuse("/");
        refuse("a\nb");
    }

    #[test]
    fn a_systemd_path_becomes_slices_and_a_scope() {
        check("machine.slice:libpod:abc", "machine.slice/libpod-abc.scope");
        check("user-1000.slice:cri:x", "user.slice/user-1000.slice/cri-x.scope");
        check(":docker:abc", "system.slice/docker-abc.scope");
        check("-.slice::abc", "abc.scope");
        refuse("machine.slice:libpod");
        refuse("machine:libpod:x");
        refuse("a--b.slice:libpod:x");
    }
}
