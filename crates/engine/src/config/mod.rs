//! What a container is asked to be: Docker's `Config` and `HostConfig`, as plain data.
//!
//! An edge fills these in; [`crate::containers::Containers::create`] checks them, merges the
//! image's defaults into them, and keeps them. An absent or empty value means "as the image, or
//! the engine, has it".
//!
//! **Invariant:** nothing here is serialised: the wire's models are the edge's, the disk's are
//! the record's.

mod host;
mod mounts;
mod resources;

pub use host::{
    CgroupnsMode, HostConfig, IpcMode, LogConfig, NetworkMode, PidMode, PortBinding, PortSpec,
    Protocol, RestartPolicy, UtsMode,
};
pub use mounts::{BindOptions, Mount, MountKind, Propagation, TmpfsOptions};
pub use resources::{Device, DeviceRate, DeviceWeight, Resources, Ulimit};

use std::collections::{BTreeMap, BTreeSet};

/// What does not depend on the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Config {
    /// The host name inside; the id's first twelve digits if empty.
    pub hostname: String,
    /// The NIS domain inside.
    pub domainname: String,
    /// `user`, `uid`, `user:group`, `uid:gid`; the image's if empty.
    pub user: String,
    /// Remembered for clients: whether the creator meant to attach to standard input.
    pub attach_stdin: bool,
    /// Remembered for clients: likewise.
    pub attach_stdout: bool,
    /// Remembered for clients: likewise.
    pub attach_stderr: bool,
    /// Ports that are told to be listened on.
    pub exposed_ports: BTreeSet<PortSpec>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether standard input stays open.
    pub open_stdin: bool,
    /// Whether the first attacher's end of input closes it.
    pub stdin_once: bool,
    /// `NAME=value`; a bare `NAME` takes the image's variable away.
    pub env: Vec<String>,
    /// The arguments of the entrypoint, or the command itself; the image's if absent.
    pub command: Option<Vec<String>>,
    /// What is executed; the image's if absent; none if empty or one empty string.
    pub entrypoint: Option<Vec<String>>,
    /// The image as it was asked for.
    pub image: String,
    /// Paths for which anonymous volumes are made.
    pub volumes: BTreeSet<String>,
    /// Where the process starts; the image's, or `/`, if empty.
    pub working_dir: String,
    /// Labels; the image's are added below them.
    pub labels: BTreeMap<String, String>,
    /// A signal's name or number; the image's, or `SIGTERM`, if absent.
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and `SIGKILL`; 10 if absent; negative: for ever.
    pub stop_timeout: Option<i64>,
    /// Whether it has no network at all (deprecated in Docker).
    pub network_disabled: bool,
    /// The MAC address asked for.
    pub mac_address: Option<String>,
    /// A health check.
    pub healthcheck: Option<HealthConfig>,
    /// The shell of an image's shell-form instructions: remembered.
    pub shell: Vec<String>,
}

/// How a container's health is found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthConfig {
    /// `[]` inherits, `["NONE"]` turns off, else `CMD` or `CMD-SHELL` and the arguments.
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    pub interval: i64,
    /// Nanoseconds until one check has failed.
    pub timeout: i64,
    /// Nanoseconds in which failures do not count.
    pub start_period: i64,
    /// Nanoseconds between checks in that time.
    pub start_interval: i64,
    /// Failures in a row that make it unhealthy.
    pub retries: i64,
}

/// What is asked of one network, when a container is connected to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointConfig {
    /// The IPv4 address asked for.
    pub ipv4_address: Option<String>,
    /// The IPv6 address asked for.
    pub ipv6_address: Option<String>,
    /// Other names in the network.
    pub aliases: Vec<String>,
    /// Legacy links.
    pub links: Vec<String>,
    /// The MAC address asked for.
    pub mac_address: Option<String>,
    /// Options for the network's driver.
    pub driver_options: BTreeMap<String, String>,
}
