//! Facts about the engine and the machine.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::{EngineError, containers::Count};

/// What `docker info` tells.
#[derive(Debug, Clone)]
pub struct Info {
    /// The engine's id.
    pub id: String,
    /// Containers.
    pub containers: Count,
    /// How many images there are.
    pub images: usize,
    /// The storage driver.
    pub storage_driver: &'static str,
    /// The filesystem below the data root.
    pub backing_filesystem: String,
    /// Where everything is kept.
    pub data_root: PathBuf,
    /// Whether the kernel can limit memory.
    pub memory_limit: bool,
    /// Whether the kernel can limit swap.
    pub swap_limit: bool,
    /// Whether the kernel can limit the number of processes.
    pub pids_limit: bool,
    /// Whether the kernel can limit the processor's time.
    pub cpu_quota: bool,
    /// Whether the kernel can weigh the processor's time.
    pub cpu_shares: bool,
    /// Whether the kernel can choose processors.
    pub cpuset: bool,
    /// Whether packets are forwarded.
    pub ipv4_forwarding: bool,
    /// Open descriptors of the engine.
    pub descriptors: usize,
    /// Tasks of the engine.
    pub tasks: usize,
    /// Watchers of events.
    pub event_watchers: usize,
    /// Now.
    pub system_time: Timestamp,
    /// The cgroup version: 1 or 2.
    pub cgroup_version: u8,
    /// `x86_64`, …
    pub architecture: String,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution, as it calls itself.
    pub operating_system: String,
    /// The distribution's version.
    pub os_version: String,
    /// Processors.
    pub processors: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The host's name.
    pub host_name: String,
    /// `name=seccomp,profile=builtin`, …
    pub security_options: Vec<String>,
    /// What is wrong or missing.
    pub warnings: Vec<String>,
}

/// What `docker version` tells.
#[derive(Debug, Clone)]
pub struct Version {
    /// The engine's version.
    pub version: &'static str,
    /// Go's name of the architecture.
    pub architecture: &'static str,
    /// The kernel's release.
    pub kernel: String,
    /// The commit it was built from, if known.
    pub commit: &'static str,
    /// When it was built, if known.
    pub built: &'static str,
}

/// Facts.
#[derive(Debug)]
pub struct System {}

impl System {
    /// What `docker info` tells.
    pub async fn info(&self) -> Result<Info, EngineError> {
        Err(EngineError::unsupported("info"))
    }

    /// What `docker version` tells.
    pub fn version(&self) -> Version {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        Version {
            version: env!("CARGO_PKG_VERSION"),
            architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            kernel,
            commit: option_env!("WADAH_COMMIT").unwrap_or_default(),
            built: option_env!("WADAH_BUILT").unwrap_or_default(),
        }
    }
}
