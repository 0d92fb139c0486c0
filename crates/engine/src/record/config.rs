//! The shapes of a container's configuration on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use super::form::{Form, shapes, texts};
use crate::{
    EngineError,
    config::{
        BindOptions, CgroupnsMode, Config, Device, DeviceRate, DeviceWeight, EndpointConfig,
        HealthConfig, HostConfig, IpcMode, LogConfig, Mount, MountKind, NetworkMode, PidMode,
        PortBinding, PortSpec, Propagation, Resources, RestartPolicy, TmpfsOptions, Ulimit,
        UtsMode,
    },
};

texts!(NetworkMode, PidMode, IpcMode, PortSpec, Propagation, IpAddr, UtsMode, CgroupnsMode);

shapes! {
    ConfigForm of Config {
        hostname: String,
        domainname: String,
        user: String,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        exposed_ports: BTreeSet<PortSpec>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        env: Vec<String>,
        command: Option<Vec<String>>,
        entrypoint: Option<Vec<String>>,
        image: String,
        volumes: BTreeSet<String>,
        working_dir: String,
        labels: BTreeMap<String, String>,
        stop_signal: Option<String>,
        stop_timeout: Option<i64>,
        network_disabled: bool,
        mac_address: Option<String>,
        healthcheck: Option<HealthConfig>,
        shell: Vec<String>,
    }

    HealthForm of HealthConfig {
        test: Vec<String>,
        interval: i64,
        timeout: i64,
        start_period: i64,
        start_interval: i64,
        retries: i64,
    }

    EndpointForm of EndpointConfig {
        ipv4_address: Option<String>,
        ipv6_address: Option<String>,
        aliases: Vec<String>,
        links: Vec<String>,
        mac_address: Option<String>,
        driver_options: BTreeMap<String, String>,
    }

    HostForm of HostConfig {
        network_mode: NetworkMode,
        port_bindings: BTreeMap<PortSpec, Vec<PortBinding>>,
        publish_all_ports: bool,
        binds: Vec<String>,
        mounts: Vec<Mount>,
        tmpfs: BTreeMap<String, String>,
        volumes_from: Vec<String>,
        volume_driver: String,
        storage_options: BTreeMap<String, String>,
        restart_policy: RestartPolicy,
        auto_remove: bool,
        resources: Resources,
        cap_add: Vec<String>,
        cap_drop: Vec<String>,
        privileged: bool,
        security_options: Vec<String>,
        readonly_rootfs: bool,
        shm_size: Option<i64>,
        sysctls: BTreeMap<String, String>,
        pid_mode: PidMode,
        ipc_mode: IpcMode,
        uts_mode: UtsMode,
        userns_mode: String,
        cgroupns_mode: CgroupnsMode,
        cgroup_parent: String,
        dns: Vec<String>,
        dns_options: Vec<String>,
        dns_search: Vec<String>,
        extra_hosts: Vec<String>,
        links: Vec<String>,
        log: LogConfig,
        init: Option<bool>,
        group_add: Vec<String>,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        runtime: String,
        annotations: BTreeMap<String, String>,
        isolation: String,
        container_id_file: String,
        console_size: Option<(u16, u16)>,
    }

    BindingForm of PortBinding {
        host_address: Option<IpAddr>,
        host_port: String,
    }

    LogForm of LogConfig {
        driver: String,
        options: BTreeMap<String, String>,
    }

    ResourcesForm of Resources {
        memory: i64,
        memory_reservation: i64,
        memory_swap: i64,
        memory_swappiness: Option<i64>,
        kernel_memory: i64,
        kernel_memory_tcp: i64,
        nano_cpus: i64,
        cpu_shares: i64,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_realtime_period: i64,
        cpu_realtime_runtime: i64,
        cpuset_cpus: String,
        cpuset_mems: String,
        pids_limit: Option<i64>,
        blkio_weight: u16,
        blkio_weight_device: Vec<DeviceWeight>,
        blkio_read_bps: Vec<DeviceRate>,
        blkio_write_bps: Vec<DeviceRate>,
        blkio_read_iops: Vec<DeviceRate>,
        blkio_write_iops: Vec<DeviceRate>,
        devices: Vec<Device>,
        device_cgroup_rules: Vec<String>,
        device_requests: Vec<String>,
        ulimits: Vec<Ulimit>,
        oom_kill_disable: Option<bool>,
        oom_score_adj: i64,
    }

    WeightForm of DeviceWeight { path: String, weight: u16 }

    RateForm of DeviceRate { path: String, rate: u64 }

    DeviceForm of Device {
        path_on_host: String,
        path_in_container: String,
        permissions: String,
    }

    UlimitForm of Ulimit { name: String, soft: i64, hard: i64 }

    BindForm of BindOptions {
        propagation: Propagation,
        non_recursive: bool,
        create_mountpoint: bool,
        read_only_non_recursive: bool,
        read_only_force_recursive: bool,
    }

    TmpfsForm of TmpfsOptions {
        size: Option<i64>,
        mode: Option<u32>,
        options: Vec<Vec<String>>,
    }

    MountForm of Mount { target: String, read_only: bool, kind: MountKind }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MountKindForm {
    Bind { source: String, options: BindForm },
    Tmpfs(TmpfsForm),
    Volume { source: String },
    Other(String),
}

impl Default for MountKindForm {
    fn default() -> Self {
        Self::Other(String::new())
    }
}

impl Form for MountKind {
    type Shape = MountKindForm;

    fn to_form(&self) -> MountKindForm {
        match self {
            Self::Bind { source, options } => {
                MountKindForm::Bind { source: source.clone(), options: options.to_form() }
            }
            Self::Tmpfs(options) => MountKindForm::Tmpfs(options.to_form()),
            Self::Volume { source } => MountKindForm::Volume { source: source.clone() },
            Self::Other(name) => MountKindForm::Other(name.clone()),
        }
    }

    fn from_form(shape: MountKindForm) -> Result<Self, EngineError> {
        Ok(match shape {
            MountKindForm::Bind { source, options } => {
                Self::Bind { source, options: BindOptions::from_form(options)? }
            }
            MountKindForm::Tmpfs(options) => Self::Tmpfs(TmpfsOptions::from_form(options)?),
            MountKindForm::Volume { source } => Self::Volume { source },
            MountKindForm::Other(name) => Self::Other(name),
        })
    }
}

/// A restart policy: its name and its count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RestartForm {
    name: String,
    #[serde(default)]
    maximum: u32,
}

impl Form for RestartPolicy {
    type Shape = RestartForm;

    fn to_form(&self) -> RestartForm {
        let maximum = match self {
            Self::OnFailure { maximum } => *maximum,
            Self::No | Self::Always | Self::UnlessStopped => 0,
        };
        RestartForm { name: self.name().to_owned(), maximum }
    }

    fn from_form(shape: RestartForm) -> Result<Self, EngineError> {
        Self::parse(&shape.name, i64::from(shape.maximum))
    }
}
