//! What the engine tells about containers.
//!
//! **Invariant:** a view is a copy made at one moment from what the daemon knows. Taking one never
//! waits for a container, its shim, or another operation.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use wadah_oci::{ContainerId, ContainerName, Digest, ExecId};

use crate::config::{Config, EndpointConfig, HostConfig, PortBinding, PortSpec, Protocol};

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Never started.
    Created,
    /// Never started, though it was tried: the executable was not found, for instance. Docker
    /// calls this `created`, too, with the exit code and the error beside it.
    Failed(Exited),
    /// Running, or frozen.
    Running(Running),
    /// Ended, and soon started again by its restart policy.
    Restarting(Exited),
    /// Ended.
    Exited(Exited),
    /// Its supervisor died, and its processes were killed.
    Dead(Exited),
    /// Being removed.
    Removing(Option<Exited>),
}

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its init process, as the host sees it.
    pub pid: i32,
    /// Since when.
    pub started_at: Timestamp,
    /// Whether it is frozen.
    pub paused: bool,
}

/// How a container ended, or failed to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exited {
    /// Its exit code.
    pub code: i32,
    /// Whether the kernel killed a process of it for want of memory.
    pub oom_killed: bool,
    /// Why, if it did not end by itself; empty otherwise.
    pub error: String,
    /// When it was started; absent if it could not be.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl State {
    /// Docker's word for it, as in `State.Status` and in the filter `status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created | Self::Failed(_) => "created",
            Self::Running(Running { paused: false, .. }) => "running",
            Self::Running(Running { paused: true, .. }) => "paused",
            Self::Restarting(_) => "restarting",
            Self::Exited(_) => "exited",
            Self::Dead(_) => "dead",
            Self::Removing(_) => "removing",
        }
    }

    /// Whether its processes exist.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// How it ended the last time, if it did and runs no more.
    pub fn exited(&self) -> Option<&Exited> {
        match self {
            Self::Failed(it) | Self::Restarting(it) | Self::Exited(it) | Self::Dead(it) => Some(it),
            Self::Removing(it) => it.as_ref(),
            Self::Created | Self::Running(_) => None,
        }
    }
}

/// Everything about one container.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// When it was created.
    pub created: Timestamp,
    /// Where it is in its life.
    pub state: State,
    /// The host name inside.
    pub hostname: String,
    /// The paths that are masked inside.
    pub masked_paths: Vec<String>,
    /// The paths that cannot be written inside.
    pub readonly_paths: Vec<String>,
    /// The executable it runs.
    pub path: String,
    /// The arguments after the executable's name.
    pub args: Vec<String>,
    /// What it was asked to be, the image's defaults merged in.
    pub config: Arc<Config>,
    /// Likewise.
    pub host: Arc<HostConfig>,
    /// The image it was made of, by digest of its configuration.
    pub image: Digest,
    /// How often its restart policy has started it.
    pub restart_count: u32,
    /// The file that is its `/etc/resolv.conf`.
    pub resolv_conf_path: PathBuf,
    /// The file that is its `/etc/hostname`.
    pub hostname_path: PathBuf,
    /// The file that is its `/etc/hosts`.
    pub hosts_path: PathBuf,
    /// The file its output is logged to.
    pub log_path: Option<PathBuf>,
    /// What is mounted in it, beyond the root.
    pub mounts: Vec<MountPoint>,
    /// Its exec sessions.
    pub execs: Vec<ExecId>,
    /// The root filesystem's directories.
    pub rootfs: RootfsView,
    /// How it is connected.
    pub network: NetworkView,
    /// Bytes of its own changes, and of the whole root filesystem; only if asked for.
    pub size: Option<Size>,
}

/// The space a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Its own changes.
    pub writable: u64,
    /// Its changes and its image.
    pub total: u64,
}

/// The directories an overlay root filesystem is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RootfsView {
    /// The image's, the nearest first.
    pub lower: Vec<PathBuf>,
    /// The container's own.
    pub upper: PathBuf,
    /// The overlay's scratch directory.
    pub work: PathBuf,
}

/// Something mounted in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPoint {
    /// `bind`, `tmpfs` or `volume`.
    pub kind: &'static str,
    /// The volume's name.
    pub name: Option<String>,
    /// Where it comes from on the host.
    pub source: String,
    /// Where it is inside.
    pub destination: String,
    /// Its options as Docker shows them.
    pub mode: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Its propagation.
    pub propagation: String,
}

/// How a container is connected.
#[derive(Debug, Clone, Default)]
pub struct NetworkView {
    /// Its ports: exposed ones, and where they are published.
    pub ports: BTreeMap<PortSpec, Vec<PortBinding>>,
    /// Its endpoints, by the network's name.
    pub endpoints: BTreeMap<String, EndpointView>,
}

/// A container's connection to one network.
#[derive(Debug, Clone, Default)]
pub struct EndpointView {
    /// What was asked for.
    pub config: EndpointConfig,
    /// The network's id.
    pub network_id: String,
    /// The endpoint's id; empty while the container does not run.
    pub endpoint_id: String,
    /// The gateway, while it runs.
    pub gateway: Option<IpAddr>,
    /// The address, while it runs.
    pub address: Option<IpAddr>,
    /// The length of the network's prefix, while it runs.
    pub prefix_length: u8,
    /// The MAC address, while it runs; empty otherwise.
    pub mac_address: String,
}

/// A container in a listing.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Its id.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// The image as it was asked for; the digest if that name means another image now.
    pub image: String,
    /// The image's digest.
    pub image_id: Digest,
    /// What it runs, the entrypoint and its arguments.
    pub command: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// Its ports.
    pub ports: Vec<PortSummary>,
    /// What it was asked to be: for its labels.
    pub config: Arc<Config>,
    /// Likewise: for its network mode and annotations.
    pub host: Arc<HostConfig>,
    /// Where it is in its life.
    pub state: State,
    /// As people read it: `Up 3 minutes`, `Exited (0) 2 hours ago`.
    pub status: String,
    /// What is mounted in it.
    pub mounts: Vec<MountPoint>,
    /// How it is connected.
    pub network: NetworkView,
    /// Only if asked for.
    pub size: Option<Size>,
}

/// A port in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSummary {
    /// Inside.
    pub private: u16,
    /// On the host, if it is published.
    pub public: Option<u16>,
    /// The host's address, if it is published.
    pub address: Option<IpAddr>,
    /// The protocol.
    pub protocol: Protocol,
}

/// The processes of a container, as ps(1) shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// The columns' titles.
    pub titles: Vec<String>,
    /// One row per process.
    pub processes: Vec<Vec<String>>,
}
