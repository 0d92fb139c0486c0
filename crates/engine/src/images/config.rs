//! An image's configuration (OCI image spec, `config.md`; Docker's image spec v1.2 before it).
//!
//! Read with tolerance: what is not known is skipped (the raw bytes are kept as a blob), `null`
//! is nothing, an absent time is no time. What is known must have the right type.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use wadah_oci::DiffId;

/// The most layers an image may have, and lines of history.
const MAX_LAYERS: usize = 499;
const MAX_HISTORY: usize = 10_000;

/// A configuration as far as it is understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The processor that its programs are for, in Go's words: `amd64`.
    pub architecture: String,
    /// The operating system: `linux`.
    pub os: String,
    /// The variant of the processor: `v7`.
    pub variant: String,
    /// The version of the operating system, where that matters.
    pub os_version: String,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// By whom.
    pub author: String,
    /// What was remarked.
    pub comment: String,
    /// With which release of Docker.
    pub docker_version: String,
    /// How containers of it are run unless told otherwise.
    pub defaults: Defaults,
    /// Its layers, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// What it was made by, the oldest first.
    pub history: Vec<HistoryEntry>,
}

/// How a container is run unless told otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The user, and after a colon the group: names or numbers.
    pub user: String,
    /// Ports, as in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// The environment, `NAME=value` each.
    pub env: Vec<String>,
    /// The command's beginning that `run`'s arguments do not replace.
    pub entrypoint: Vec<String>,
    /// The command's end that they do.
    pub cmd: Vec<String>,
    /// Paths that get volumes.
    pub volumes: Vec<String>,
    /// Where the command starts.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks it to stop.
    pub stop_signal: String,
    /// How many seconds it then has.
    pub stop_timeout: Option<i64>,
    /// What `RUN`, and a health check in shell form, are run by.
    pub shell: Vec<String>,
    /// Instructions for images built on this one.
    pub on_build: Vec<String>,
    /// How to see whether it is healthy.
    pub healthcheck: Option<Healthcheck>,
}

/// How to see whether a container is healthy. Times are in nanoseconds; zero is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`.
    #[serde(deserialize_with = "or_default")]
    pub test: Vec<String>,
    /// Between two probes.
    #[serde(deserialize_with = "or_default")]
    pub interval: i64,
    /// For one probe.
    #[serde(deserialize_with = "or_default")]
    pub timeout: i64,
    /// During which failures do not count.
    #[serde(deserialize_with = "or_default")]
    pub start_period: i64,
    /// Between two probes while starting.
    #[serde(deserialize_with = "or_default")]
    pub start_interval: i64,
    /// How many failures make it unhealthy.
    #[serde(deserialize_with = "or_default")]
    pub retries: i64,
}

/// One step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryEntry {
    /// When.
    pub created: Option<Timestamp>,
    /// By which command.
    pub created_by: String,
    /// By whom.
    pub author: String,
    /// What was remarked.
    pub comment: String,
    /// Whether it made no layer.
    pub empty_layer: bool,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It is not the JSON that it should be.
    #[error("it is not the JSON that it should be")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// It has more of something than is allowed.
    #[error("it has more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
    },
    /// It is for another operating system.
    #[error("it is for the operating system {os:?}")]
    OperatingSystem {
        /// Which.
        os: String,
    },
}

impl ImageConfig {
    /// Reads a configuration.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let raw: Raw = object(bytes).map_err(|source| ConfigError::Json { source })?;
        let too_many = |what, limit| Err(ConfigError::TooMany { what, limit });
        if raw.rootfs.diff_ids.len() > MAX_LAYERS {
            return too_many("layers", MAX_LAYERS);
        }
        if raw.history.len() > MAX_HISTORY {
            return too_many("lines of history", MAX_HISTORY);
        }
        if !matches!(raw.os.as_str(), "linux" | "") {
            return Err(ConfigError::OperatingSystem { os: raw.os });
        }
        Ok(raw.into())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    #[serde(deserialize_with = "or_default")]
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    os: String,
    #[serde(deserialize_with = "or_default")]
    variant: String,
    #[serde(rename = "os.version", deserialize_with = "or_default")]
    os_version: String,
    #[serde(deserialize_with = "time")]
    created: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    author: String,
    #[serde(deserialize_with = "or_default")]
    comment: String,
    #[serde(deserialize_with = "or_default")]
    docker_version: String,
    #[serde(deserialize_with = "or_default")]
    config: RawDefaults,
    #[serde(deserialize_with = "or_default")]
    rootfs: RawRootfs,
    #[serde(deserialize_with = "or_default")]
    history: Vec<RawHistory>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawRootfs {
    #[serde(deserialize_with = "or_default")]
    diff_ids: Vec<DiffId>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawHistory {
    #[serde(deserialize_with = "time")]
    created: Option<Timestamp>,
    #[serde(deserialize_with = "or_default")]
    created_by: String,
    #[serde(deserialize_with = "or_default")]
    author: String,
    #[serde(deserialize_with = "or_default")]
    comment: String,
    #[serde(deserialize_with = "or_default")]
    empty_layer: bool,
}

/// A set, in JSON, is an object whose values are empty objects.
type RawSet = BTreeMap<String, serde::de::IgnoredAny>;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RawDefaults {
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: RawSet,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    entrypoint: RawCommand,
    #[serde(deserialize_with = "or_default")]
    cmd: RawCommand,
    #[serde(deserialize_with = "or_default")]
    volumes: RawSet,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    stop_signal: String,
    stop_timeout: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    shell: RawCommand,
    #[serde(deserialize_with = "or_default")]
    on_build: Vec<String>,
    healthcheck: Option<Healthcheck>,
}

/// Old builders wrote a command of one word as a string.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawCommand {
    Words(Vec<String>),
    Word(String),
}

impl Default for RawCommand {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

impl From<RawCommand> for Vec<String> {
    fn from(raw: RawCommand) -> Self {
        match raw {
            RawCommand::Words(words) => words,
            RawCommand::Word(word) if word.is_empty() => Self::new(),
            RawCommand::Word(word) => vec![word],
        }
    }
}

impl From<Raw> for ImageConfig {
    fn from(raw: Raw) -> Self {
        Self {
            architecture: raw.architecture,
            os: if raw.os.is_empty() { "linux".into() } else { raw.os },
            variant: raw.variant,
            os_version: raw.os_version,
            created: raw.created,
            author: raw.author,
            comment: raw.comment,
            docker_version: raw.docker_version,
            defaults: raw.config.into(),
            diff_ids: raw.rootfs.diff_ids,
            history: raw.history.into_iter().map(HistoryEntry::from).collect(),
        }
    }
}

impl From<RawDefaults> for Defaults {
    fn from(raw: RawDefaults) -> Self {
        Self {
            user: raw.user,
            exposed_ports: raw.exposed_ports.into_keys().collect(),
            env: raw.env,
            entrypoint: raw.entrypoint.into(),
            cmd: raw.cmd.into(),
            volumes: raw.volumes.into_keys().collect(),
            working_dir: raw.working_dir,
            labels: raw.labels,
            stop_signal: raw.stop_signal,
            stop_timeout: raw.stop_timeout,
            shell: raw.shell.into(),
            on_build: raw.on_build,
            healthcheck: raw.healthcheck,
        }
    }
}

impl From<RawHistory> for HistoryEntry {
    fn from(raw: RawHistory) -> Self {
        let RawHistory { created, created_by, author, comment, empty_layer } = raw;
        Self { created, created_by, author, comment, empty_layer }
    }
}

/// Reads a JSON object. `serde` would also take an array of the fields' values.
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    match bytes.trim_ascii_start().first() {
        Some(b'{') => serde_json::from_slice(bytes),
        _ => Err(serde::de::Error::custom("expected an object")),
    }
}

/// Go writes what is empty as `null`.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go writes the zero time for no time.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    let Some(text) = text.filter(|it| !it.is_empty() && !it.starts_with("0001-01-01T")) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_with_tolerance() {
        let diff_id = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let json = format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2026-01-02T03:04:05.6Z",
            "unknown":{{"deep":[1]}},"author":null,
            "config":{{"Env":null,"Cmd":"sh","Entrypoint":["/x","y"],"Labels":{{"a":"b"}},
                "ExposedPorts":{{"80/tcp":{{}}}},"Volumes":null,"User":"1:2",
                "Healthcheck":{{"Test":["CMD","true"],"Interval":30}}}},
            "rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},
            "history":[{{"created":"0001-01-01T00:00:00Z","created_by":"x","empty_layer":true}}]}}"#
        );
        let config = ImageConfig::parse(json.as_bytes()).unwrap();
        assert_eq!(config.defaults.cmd, ["sh"]);
        assert_eq!(config.defaults.entrypoint, ["/x", "y"]);
        assert_eq!(config.defaults.exposed_ports, ["80/tcp"]);
        assert_eq!(config.defaults.healthcheck.unwrap().interval, 30);
        assert_eq!(config.created.unwrap().to_string(), "2026-01-02T03:04:05.6Z");
        assert_eq!(config.history[0].created, None);
        assert_eq!(config.diff_ids.len(), 1);
    }

    #[test]
    fn a_hostile_configuration_is_refused() {
        let deep = format!("{}{}", r#"{"x":"#.repeat(100_000), "1");
        let layers = format!(
            r#"{{"rootfs":{{"diff_ids":[{}]}}}}"#,
            vec![format!("\"sha256:{}\"", "0".repeat(64)); 500].join(",")
        );
        let traversal = r#"{"rootfs":{"diff_ids":["sha256:../../../etc/passwd"]}}"#;
        let types = r#"{"config":{"Env":{"a":1}}}"#;
        let windows = r#"{"os":"windows"}"#;
        for json in ["", "[]", "{", "null x", &deep, &layers, traversal, types, windows] {
            assert!(ImageConfig::parse(json.as_bytes()).is_err(), "{:.60}", json);
        }
    }
}
