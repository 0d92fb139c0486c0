//! Versions of the Engine API, and what changed between them.
//!
//! **Invariant:** a difference between versions is a [`Gate`]: handlers ask `version.has(gate)`
//! and never compare numbers, so that [`Gate::since`] is the whole list of differences.

use std::{fmt, str::FromStr};

use crate::error::ApiError;

/// A version of the API, as in `1.44`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version {
    /// Always 1 so far.
    pub(crate) major: u16,
    /// Counts up.
    pub(crate) minor: u16,
}

/// The newest version served, and the one of requests that name none.
pub(crate) const NEWEST: Version = Version { major: 1, minor: 55 };

/// The oldest version served.
pub(crate) const OLDEST: Version = Version { major: 1, minor: 24 };

/// A change of behaviour: on from one version upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// `wait` takes a `condition` and sends its headers before the container ends.
    WaitCondition,
    /// Containers get a cgroup namespace of their own unless they ask otherwise.
    CgroupNamespace,
    /// `ConsoleSize` at create and exec is obeyed.
    ConsoleSize,
    /// Multiplexed streams are announced as such to clients that upgrade.
    MultiplexedMediaType,
    /// `HostConfig.Annotations` exists.
    Annotations,
    /// Images no longer tell `VirtualSize`.
    NoVirtualSize,
    /// A MAC address belongs to an endpoint, no longer to the container.
    EndpointMacAddress,
    /// Read-only bind mounts are read-only all the way down, where the kernel can.
    RecursiveReadOnly,
    /// Image inspection no longer tells `Container` and `ContainerConfig`.
    NoContainerConfig,
    /// `HostConfig.Annotations` is listed with containers.
    ListAnnotations,
    /// Empty fields of an image's configuration are left out.
    SparseImageConfig,
    /// Events no longer carry `status`, `id` and `from`; the default media type is JSON lines.
    NoLegacyEvents,
    /// The container list tells health.
    ListHealth,
    /// `NetworkSettings` no longer repeats the default bridge's endpoint.
    NoLegacyNetworkSettings,
}

impl Gate {
    /// The first version that behaves so.
    const fn since(self) -> Version {
        let minor = match self {
            Self::WaitCondition => 30,
            Self::CgroupNamespace => 41,
            Self::ConsoleSize | Self::MultiplexedMediaType => 42,
            Self::Annotations => 43,
            Self::NoVirtualSize | Self::EndpointMacAddress | Self::RecursiveReadOnly => 44,
            Self::NoContainerConfig => 45,
            Self::ListAnnotations => 46,
            Self::SparseImageConfig => 50,
            Self::NoLegacyEvents | Self::ListHealth | Self::NoLegacyNetworkSettings => 52,
        };
        Version { major: 1, minor }
    }
}

impl Version {
    /// Whether this version behaves as `gate` says.
    pub(crate) fn has(self, gate: Gate) -> bool {
        self >= gate.since()
    }

    /// Splits `/v1.44/containers/json` into the version and `/containers/json`. A path without
    /// a version asks for the newest.
    pub(crate) fn split_path(path: &str) -> Result<(Self, &str), ApiError> {
        let Some((number, rest)) = versioned(path) else { return Ok((NEWEST, path)) };
        let unreadable = || ApiError::bad_request(format!("invalid API version {number:?}"));
        let version: Self = number.parse().map_err(|UnreadableVersion| unreadable())?;
        if version < OLDEST {
            return Err(ApiError::bad_request(format!(
                "client version {number} is too old. Minimum supported API version is {OLDEST}, \
                 please upgrade your client to a newer version"
            )));
        }
        if version > NEWEST {
            return Err(ApiError::bad_request(format!(
                "client version {number} is too new. Maximum supported API version is {NEWEST}"
            )));
        }
        Ok((version, rest))
    }
}

/// The digits and dots behind `/v`, and what follows them.
fn versioned(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/v")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (number, rest) = rest.split_at(end);
    let is_number =
        !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit() || it == b'.');
    is_number.then_some((number, rest))
}

/// A string that is no version.
#[derive(Debug)]
pub(crate) struct UnreadableVersion;

impl FromStr for Version {
    type Err = UnreadableVersion;

    fn from_str(text: &str) -> Result<Self, UnreadableVersion> {
        let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
        let number = |it: &str| it.parse().map_err(|_| UnreadableVersion);
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Result<(&str, &str), &str>) {
        let found = Version::split_path(path)
            .map(|(version, rest)| (version.to_string(), rest.to_owned()))
            .map_err(|error| error.to_string());
        let expected = expected.map(|(it, rest)| (it.into(), rest.into())).map_err(String::from);
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_path_names_its_version_or_asks_for_the_newest() {
        check("/v1.24/info", Ok(("1.24", "/info")));
        check("/v1.55/_ping", Ok(("1.55", "/_ping")));
        check("/version", Ok(("1.55", "/version")));
        check("/info", Ok(("1.55", "/info")));
        check("/v/x", Ok(("1.55", "/v/x")));
        check("/volumes", Ok(("1.55", "/volumes")));
    }

    #[test]
    fn versions_out_of_range_are_refused_in_dockers_words() {
        check(
            "/v1.23/info",
            Err("client version 1.23 is too old. Minimum supported API version is 1.24, \
                 please upgrade your client to a newer version"),
        );
        check(
            "/v1.56/info",
            Err("client version 1.56 is too new. Maximum supported API version is 1.55"),
        );
        check("/v1.99999999/info", Err("invalid API version \"1.99999999\""));
        check("/v1.2.3/info", Err("invalid API version \"1.2.3\""));
    }

    #[test]
    fn a_gate_is_on_from_its_version_upwards() {
        let version = |minor| Version { major: 1, minor };
        assert!(!version(41).has(Gate::MultiplexedMediaType));
        assert!(version(42).has(Gate::MultiplexedMediaType));
        assert!(NEWEST.has(Gate::NoLegacyEvents));
    }
}
