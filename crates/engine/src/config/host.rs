//! What depends on the host: Docker's `HostConfig`.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use super::{Mount, Resources};
use crate::EngineError;

/// What depends on the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostConfig {
    /// Which network.
    pub network_mode: NetworkMode,
    /// Container ports and where on the host they are published.
    pub port_bindings: BTreeMap<PortSpec, Vec<PortBinding>>,
    /// Whether every exposed port is published on a port the engine chooses.
    pub publish_all_ports: bool,
    /// Mounts in the form `source:destination[:options]`.
    pub binds: Vec<String>,
    /// Mounts in the long form.
    pub mounts: Vec<Mount>,
    /// Temporary file systems: destination → options.
    pub tmpfs: BTreeMap<String, String>,
    /// Containers whose volumes are mounted too.
    pub volumes_from: Vec<String>,
    /// The driver of volumes created along.
    pub volume_driver: String,
    /// Options of the root filesystem's storage.
    pub storage_options: BTreeMap<String, String>,
    /// Whether, and how often, it is started again.
    pub restart_policy: RestartPolicy,
    /// Whether it is removed when it ends.
    pub auto_remove: bool,
    /// Limits.
    pub resources: Resources,
    /// Capabilities beyond the default ones.
    pub cap_add: Vec<String>,
    /// Default capabilities it does not get.
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no filter, nothing masked.
    pub privileged: bool,
    /// `seccomp=…`, `no-new-privileges`, `apparmor=…`, `label=…`, `systempaths=unconfined`.
    pub security_options: Vec<String>,
    /// Whether the root filesystem cannot be written.
    pub readonly_rootfs: bool,
    /// Bytes of `/dev/shm`; 64 MiB if absent.
    pub shm_size: Option<i64>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Whose processes it sees.
    pub pid_mode: PidMode,
    /// Whose System V IPC and shared memory it uses.
    pub ipc_mode: IpcMode,
    /// Whose host name it has.
    pub uts_mode: UtsMode,
    /// Which user namespace: empty or `host`.
    pub userns_mode: String,
    /// Which cgroup namespace.
    pub cgroupns_mode: CgroupnsMode,
    /// The parent of its cgroup.
    pub cgroup_parent: String,
    /// Name servers.
    pub dns: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Domains to search.
    pub dns_search: Vec<String>,
    /// `name:address`, for `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Legacy links.
    pub links: Vec<String>,
    /// What becomes of its output.
    pub log: LogConfig,
    /// Whether a reaping pid 1 goes before the command; the engine's default if absent.
    pub init: Option<bool>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Paths made invisible; the default ones if absent.
    pub masked_paths: Option<Vec<String>>,
    /// Paths made read-only; the default ones if absent.
    pub readonly_paths: Option<Vec<String>>,
    /// The OCI runtime; our own if empty.
    pub runtime: String,
    /// Annotations of the runtime's configuration. They select nothing on the host.
    pub annotations: BTreeMap<String, String>,
    /// Windows' isolation technology: empty or `default`.
    pub isolation: String,
    /// Where the container's id is written: by the client; remembered.
    pub container_id_file: String,
    /// Terminal size at the start: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// Which network a container is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum NetworkMode {
    /// The default bridge (`default`, `bridge`, or empty).
    #[default]
    Default,
    /// A namespace with nothing but a loopback interface.
    None,
    /// The host's.
    Host,
    /// Another container's, by id or name.
    Container(String),
    /// A network by its id or name.
    Named(String),
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of a container, as in `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortSpec {
    /// The number.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// Where on the host a port is published.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortBinding {
    /// The host's address; all if absent.
    pub host_address: Option<IpAddr>,
    /// The port, as clients give it: empty or `0` for one the engine chooses, a number, or a
    /// range `first-last` from which one is chosen.
    pub host_port: String,
}

/// Whether a container that ended is started again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RestartPolicy {
    /// It is not.
    #[default]
    No,
    /// It is.
    Always,
    /// Unless someone stopped it.
    UnlessStopped,
    /// If its exit code was not 0, at most so often in a row (0: without end).
    OnFailure {
        /// How often.
        maximum: u32,
    },
}

/// Whose processes a container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PidMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// Whose IPC namespace a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IpcMode {
    /// Its own (`private`, or empty).
    #[default]
    Private,
    /// Its own, without `/dev/shm`.
    None,
    /// Its own, which others may join.
    Shareable,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// Whose host name a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UtsMode {
    /// Its own.
    #[default]
    Private,
    /// The host's.
    Host,
}

/// Which cgroup namespace a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupnsMode {
    /// As the engine has it: private.
    #[default]
    Default,
    /// Its own.
    Private,
    /// The host's.
    Host,
}

/// What becomes of a container's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// `json-file`, `none`, …; the engine's default if empty.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

impl fmt::Display for NetworkMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(reference) => write!(f, "container:{reference}"),
            Self::Named(reference) => f.write_str(reference),
        }
    }
}

impl FromStr for NetworkMode {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        Ok(match text {
            "" | "default" | "bridge" => Self::Default,
            "none" => Self::None,
            "host" => Self::Host,
            _ => match text.strip_prefix("container:") {
                Some("") | None if text.contains(':') => {
                    return Err(EngineError::invalid(format!(
                        "invalid container format {text} for network mode"
                    )));
                }
                Some(reference) => Self::Container(reference.to_owned()),
                None => Self::Named(text.to_owned()),
            },
        })
    }
}

impl Protocol {
    /// As in `80/tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol.as_str())
    }
}

impl FromStr for PortSpec {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(EngineError::invalid(format!("invalid proto: {protocol}"))),
        };
        let port = port.parse().ok().filter(|it| *it != 0).ok_or_else(|| {
            EngineError::invalid(format!("invalid port specification: \"{text}\""))
        })?;
        Ok(Self { port, protocol })
    }
}

impl RestartPolicy {
    /// Docker's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
            Self::OnFailure { .. } => "on-failure",
        }
    }

    /// Reads Docker's pair of a name and a count.
    pub fn parse(name: &str, maximum: i64) -> Result<Self, EngineError> {
        let refused = |text: &str| Err(EngineError::invalid(text.to_owned()));
        if maximum != 0 && name != "on-failure" {
            return refused(
                "invalid restart policy: maximum retry count can only be used with 'on-failure'",
            );
        }
        match name {
            "" | "no" => Ok(Self::No),
            "always" => Ok(Self::Always),
            "unless-stopped" => Ok(Self::UnlessStopped),
            "on-failure" => match u32::try_from(maximum) {
                Ok(maximum) => Ok(Self::OnFailure { maximum }),
                Err(_) => refused("invalid restart policy: maximum retry count cannot be negative"),
            },
            _ => Err(EngineError::invalid(format!(
                "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', \
                 'on-failure', or 'unless-stopped'"
            ))),
        }
    }
}

impl fmt::Display for PidMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => Ok(()),
            Self::Host => f.write_str("host"),
            Self::Container(reference) => write!(f, "container:{reference}"),
        }
    }
}

impl FromStr for PidMode {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match (text, text.strip_prefix("container:")) {
            ("" | "private", _) => Ok(Self::Private),
            ("host", _) => Ok(Self::Host),
            (_, Some(reference)) if !reference.is_empty() => {
                Ok(Self::Container(reference.to_owned()))
            }
            _ => Err(EngineError::invalid(format!("invalid PID mode: {text}"))),
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::None => f.write_str("none"),
            Self::Shareable => f.write_str("shareable"),
            Self::Host => f.write_str("host"),
            Self::Container(reference) => write!(f, "container:{reference}"),
        }
    }
}

impl FromStr for IpcMode {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match (text, text.strip_prefix("container:")) {
            ("" | "private", _) => Ok(Self::Private),
            ("none", _) => Ok(Self::None),
            ("shareable", _) => Ok(Self::Shareable),
            ("host", _) => Ok(Self::Host),
            (_, Some(reference)) if !reference.is_empty() => {
                Ok(Self::Container(reference.to_owned()))
            }
            _ => Err(EngineError::invalid(format!("invalid IPC mode: {text}"))),
        }
    }
}

impl UtsMode {
    /// As Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for UtsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for UtsMode {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err(EngineError::invalid(format!("invalid UTS mode: {text}"))),
        }
    }
}

impl CgroupnsMode {
    /// As Docker writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default | Self::Private => "private",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for CgroupnsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CgroupnsMode {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        match text {
            "" => Ok(Self::Default),
            "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => Err(EngineError::invalid(format!("invalid cgroup namespace mode: {text}"))),
        }
    }
}
