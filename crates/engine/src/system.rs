//! Facts about the engine and the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustix::system::uname;

use crate::{
    EngineError,
    containers::{Count, Shared},
};

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
pub struct System {
    shared: Arc<Shared>,
}

impl System {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What `docker info` tells.
    pub async fn info(&self) -> Result<Info, EngineError> {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.block(move || Ok(info(&shared))).await
    }

    /// What `docker version` tells.
    pub fn version(&self) -> Version {
        Version {
            version: env!("CARGO_PKG_VERSION"),
            architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            kernel: kernel(),
            commit: option_env!("WADAH_COMMIT").unwrap_or_default(),
            built: option_env!("WADAH_BUILT").unwrap_or_default(),
        }
    }
}

fn kernel() -> String {
    uname().release().to_string_lossy().into_owned()
}

fn info(shared: &Shared) -> Info {
    let controllers = Controllers::find();
    let (operating_system, os_version) = distribution();
    let memory = rustix::system::sysinfo();
    Info {
        id: engine_id(shared),
        containers: shared.count(),
        images: shared.images.count(),
        storage_driver: "overlay2",
        backing_filesystem: filesystem(&shared.settings.data_root),
        data_root: shared.settings.data_root.clone(),
        memory_limit: controllers.has("memory"),
        swap_limit: controllers.has_swap(),
        pids_limit: controllers.has("pids"),
        cpu_quota: controllers.has("cpu"),
        cpu_shares: controllers.has("cpu"),
        cpuset: controllers.has("cpuset"),
        ipv4_forwarding: is_one("/proc/sys/net/ipv4/ip_forward"),
        descriptors: fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        tasks: shared.tasks.count(),
        event_watchers: shared.events.watchers(),
        system_time: Timestamp::now(),
        cgroup_version: controllers.version,
        architecture: uname().machine().to_string_lossy().into_owned(),
        kernel: kernel(),
        operating_system,
        os_version,
        processors: std::thread::available_parallelism().map_or(1, usize::from),
        memory: memory.totalram * u64::from(memory.mem_unit),
        host_name: uname().nodename().to_string_lossy().into_owned(),
        security_options: vec![
            "name=seccomp,profile=builtin".to_owned(),
            "name=cgroupns".to_owned(),
        ],
        warnings: controllers.warnings(),
    }
}

/// The machine's id and the data root's place, hashed: the same at every start.
fn engine_id(shared: &Shared) -> String {
    let machine = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let text = format!("{machine} {}", shared.settings.data_root.display());
    let hex = wadah_oci::Digest::of(text.as_bytes()).hex();
    let (a, b, c) = (&hex[..8], &hex[8..12], &hex[12..16]);
    format!("{a}-{b}-{c}-{}-{}", &hex[16..20], &hex[20..32])
}

/// What the kernel can limit.
struct Controllers {
    version: u8,
    names: Vec<String>,
}

impl Controllers {
    fn find() -> Self {
        let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
        let (version, names) = match unified {
            Ok(text) => (2, text.split_whitespace().map(str::to_owned).collect()),
            Err(_) => (1, Self::of_v1()),
        };
        Self { version, names }
    }

    /// The enabled controllers: `name hierarchy cgroups enabled`.
    fn of_v1() -> Vec<String> {
        let text = fs::read_to_string("/proc/cgroups").unwrap_or_default();
        let enabled = text.lines().filter(|it| it.ends_with("\t1"));
        enabled.filter_map(|it| it.split('\t').next()).map(str::to_owned).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|it| it == name)
    }

    fn has_swap(&self) -> bool {
        let v1 = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes");
        self.has("memory") && (self.version == 2 || v1.exists())
    }

    fn warnings(&self) -> Vec<String> {
        let facts = [
            (self.has("memory"), "WARNING: No memory limit support"),
            (self.has_swap(), "WARNING: No swap limit support"),
            (self.has("pids"), "WARNING: No pids limit support"),
            (self.has("cpu"), "WARNING: No cpu cfs quota support"),
            (self.has("cpuset"), "WARNING: No cpuset support"),
        ];
        facts.into_iter().filter(|(has, _)| !has).map(|(_, it)| it.to_owned()).collect()
    }
}

/// The distribution's name and version, from os-release(5).
fn distribution() -> (String, String) {
    let text = fs::read_to_string("/etc/os-release")
        .or_else(|_| fs::read_to_string("/usr/lib/os-release"))
        .unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
        line.map(|it| it.trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
    };
    (value("PRETTY_NAME"), value("VERSION_ID"))
}

fn is_one(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|it| it.trim() == "1")
}

/// The name of the filesystem at `path`, by its magic number (statfs(2)).
fn filesystem(path: &Path) -> String {
    let known = match rustix::fs::statfs(path).map(|it| it.f_type) {
        Ok(0xef53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(0xf2f5_2010) => "f2fs",
        Ok(0x2fc1_2fc1) => "zfs",
        _ => "unknown",
    };
    known.to_owned()
}
