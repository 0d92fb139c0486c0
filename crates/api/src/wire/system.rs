//! What `docker version` and `docker info` show.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::system::{Info, Version};

use super::{Empty, rfc3339};
use crate::version::{NEWEST, OLDEST};

/// The answer to `GET /version`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct VersionFacts<'a> {
    platform: Platform,
    components: [Component<'a>; 1],
    version: &'a str,
    api_version: String,
    #[serde(rename = "MinAPIVersion")]
    min_api_version: String,
    git_commit: &'a str,
    go_version: &'static str,
    os: &'static str,
    arch: &'a str,
    kernel_version: &'a str,
    build_time: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component<'a> {
    name: &'static str,
    version: &'a str,
    details: BTreeMap<&'static str, String>,
}

impl<'a> From<&'a Version> for VersionFacts<'a> {
    fn from(it: &'a Version) -> Self {
        let details = BTreeMap::from([
            ("ApiVersion", NEWEST.to_string()),
            ("Arch", it.architecture.to_owned()),
            ("BuildTime", it.built.to_owned()),
            ("Experimental", "false".to_owned()),
            ("GitCommit", it.commit.to_owned()),
            ("GoVersion", String::new()),
            ("KernelVersion", it.kernel.clone()),
            ("MinAPIVersion", OLDEST.to_string()),
            ("Os", "linux".to_owned()),
        ]);
        Self {
            platform: Platform { name: "Wadah" },
            components: [Component { name: "Engine", version: it.version, details }],
            version: it.version,
            api_version: NEWEST.to_string(),
            min_api_version: OLDEST.to_string(),
            git_commit: it.commit,
            go_version: "",
            os: "linux",
            arch: it.architecture,
            kernel_version: &it.kernel,
            build_time: it.built,
        }
    }
}

/// The answer to `GET /info`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Facts<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: &'static str,
    driver_status: [[&'a str; 2]; 2],
    plugins: Plugins,
    memory_limit: bool,
    swap_limit: bool,
    cpu_cfs_period: bool,
    cpu_cfs_quota: bool,
    #[serde(rename = "CPUShares")]
    cpu_shares: bool,
    #[serde(rename = "CPUSet")]
    cpu_set: bool,
    pids_limit: bool,
    #[serde(rename = "IPv4Forwarding")]
    ipv4_forwarding: bool,
    debug: bool,
    #[serde(rename = "NFd")]
    nfd: usize,
    oom_kill_disable: bool,
    #[serde(rename = "NGoroutines")]
    ngoroutines: usize,
    system_time: String,
    logging_driver: &'static str,
    cgroup_driver: &'static str,
    cgroup_version: String,
    #[serde(rename = "NEventsListener")]
    nevents_listener: usize,
    kernel_version: &'a str,
    operating_system: &'a str,
    #[serde(rename = "OSVersion")]
    os_version: &'a str,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: &'a str,
    index_server_address: &'static str,
    registry_config: RegistryConfig,
    #[serde(rename = "NCPU")]
    ncpu: usize,
    mem_total: u64,
    generic_resources: Option<Empty>,
    docker_root_dir: String,
    http_proxy: &'static str,
    https_proxy: &'static str,
    no_proxy: &'static str,
    name: &'a str,
    labels: [&'static str; 0],
    experimental_build: bool,
    server_version: &'static str,
    runtimes: BTreeMap<&'static str, Runtime>,
    default_runtime: &'static str,
    swarm: Swarm,
    live_restore_enabled: bool,
    isolation: &'static str,
    init_binary: &'static str,
    containerd_commit: Commit,
    runc_commit: Commit,
    init_commit: Commit,
    security_options: &'a [String],
    #[serde(rename = "CDISpecDirs")]
    cdi_spec_dirs: [&'static str; 0],
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Plugins {
    volume: &'static [&'static str],
    network: &'static [&'static str],
    authorization: Option<Empty>,
    log: &'static [&'static str],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegistryConfig {
    #[serde(rename = "InsecureRegistryCIDRs")]
    insecure_registry_cidrs: [&'static str; 2],
    index_configs: BTreeMap<&'static str, IndexConfig>,
    mirrors: Option<Empty>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct IndexConfig {
    name: &'static str,
    mirrors: [&'static str; 0],
    secure: bool,
    official: bool,
}

#[derive(Debug, Serialize)]
struct Runtime {
    path: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Swarm {
    #[serde(rename = "NodeID")]
    node_id: &'static str,
    node_addr: &'static str,
    local_node_state: &'static str,
    control_available: bool,
    error: &'static str,
    remote_managers: Option<Empty>,
}

#[derive(Debug, Default, Serialize)]
struct Commit {
    #[serde(rename = "ID")]
    id: &'static str,
}

impl<'a> From<&'a Info> for Facts<'a> {
    fn from(it: &'a Info) -> Self {
        let count = it.containers;
        Self {
            id: &it.id,
            containers: count.running + count.paused + count.stopped,
            containers_running: count.running,
            containers_paused: count.paused,
            containers_stopped: count.stopped,
            images: it.images,
            driver: it.storage_driver,
            driver_status: [
                ["Backing Filesystem", &it.backing_filesystem],
                ["Native Overlay Diff", "true"],
            ],
            plugins: Plugins::SERVED,
            memory_limit: it.memory_limit,
            swap_limit: it.swap_limit,
            cpu_cfs_period: it.cpu_quota,
            cpu_cfs_quota: it.cpu_quota,
            cpu_shares: it.cpu_shares,
            cpu_set: it.cpuset,
            pids_limit: it.pids_limit,
            ipv4_forwarding: it.ipv4_forwarding,
            debug: false,
            nfd: it.descriptors,
            oom_kill_disable: it.cgroup_version == 1,
            ngoroutines: it.tasks,
            system_time: rfc3339(Some(it.system_time)),
            logging_driver: "json-file",
            cgroup_driver: "cgroupfs",
            cgroup_version: it.cgroup_version.to_string(),
            nevents_listener: it.event_watchers,
            kernel_version: &it.kernel,
            operating_system: &it.operating_system,
            os_version: &it.os_version,
            os_type: "linux",
            architecture: &it.architecture,
            index_server_address: "https://index.docker.io/v1/",
            registry_config: RegistryConfig::unconfigured(),
            ncpu: it.processors,
            mem_total: it.memory,
            generic_resources: None,
            docker_root_dir: it.data_root.to_string_lossy().into_owned(),
            http_proxy: "",
            https_proxy: "",
            no_proxy: "",
            name: &it.host_name,
            labels: [],
            experimental_build: false,
            server_version: env!("CARGO_PKG_VERSION"),
            runtimes: BTreeMap::from([("wadah", Runtime { path: "wadah" })]),
            default_runtime: "wadah",
            swarm: Swarm::inactive(),
            live_restore_enabled: true,
            isolation: "",
            init_binary: "",
            containerd_commit: Commit::default(),
            runc_commit: Commit::default(),
            init_commit: Commit::default(),
            security_options: &it.security_options,
            cdi_spec_dirs: [],
            warnings: &it.warnings,
        }
    }
}

impl Plugins {
    const SERVED: Self = Self {
        volume: &["local"],
        network: &["bridge", "host", "null"],
        authorization: None,
        log: &["json-file", "none"],
    };
}

impl RegistryConfig {
    fn unconfigured() -> Self {
        let hub = IndexConfig { name: "docker.io", mirrors: [], secure: true, official: true };
        Self {
            insecure_registry_cidrs: ["::1/128", "127.0.0.0/8"],
            index_configs: BTreeMap::from([("docker.io", hub)]),
            mirrors: None,
        }
    }
}

impl Swarm {
    const fn inactive() -> Self {
        Self {
            node_id: "",
            node_addr: "",
            local_node_state: "inactive",
            control_available: false,
            error: "",
            remote_managers: None,
        }
    }
}
