//! `HostConfig`: what depends on the host. 69 fields, in Docker's order.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::config::{
    Device, DeviceRate, DeviceWeight, HostConfig as Domain, Mount, MountKind, PortBinding,
    PortSpec, Resources, RestartPolicy, Ulimit,
};

use super::{is_false, is_zero, or_null};

/// Docker's `HostConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig<'a> {
    binds: Option<&'a [String]>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: &'a str,
    log_config: LogConfig<'a>,
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<Binding<'a>>>,
    restart_policy: Restart,
    auto_remove: bool,
    volume_driver: &'a str,
    volumes_from: Option<&'a [String]>,
    console_size: [u16; 2],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    cap_add: Option<&'a [String]>,
    cap_drop: Option<&'a [String]>,
    cgroupns_mode: &'static str,
    dns: &'a [String],
    dns_options: &'a [String],
    dns_search: &'a [String],
    extra_hosts: Option<&'a [String]>,
    group_add: Option<&'a [String]>,
    ipc_mode: String,
    cgroup: &'static str,
    links: Option<&'a [String]>,
    oom_score_adj: i64,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<&'a [String]>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    storage_opt: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: &'a BTreeMap<String, String>,
    #[serde(rename = "UTSMode")]
    uts_mode: &'static str,
    userns_mode: &'a str,
    shm_size: i64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: &'a BTreeMap<String, String>,
    runtime: &'a str,
    isolation: &'a str,
    #[serde(flatten)]
    resources: Limits<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mounts: Vec<MountRequest<'a>>,
    masked_paths: Option<&'a [String]>,
    readonly_paths: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    init: Option<bool>,
}

/// The limits among the fields.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits<'a> {
    cpu_shares: i64,
    memory: i64,
    nano_cpus: i64,
    cgroup_parent: &'a str,
    blkio_weight: u16,
    blkio_weight_device: Vec<Weight<'a>>,
    blkio_device_read_bps: Vec<Rate<'a>>,
    blkio_device_write_bps: Vec<Rate<'a>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Vec<Rate<'a>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Vec<Rate<'a>>,
    cpu_period: i64,
    cpu_quota: i64,
    cpu_realtime_period: i64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: &'a str,
    cpuset_mems: &'a str,
    devices: Vec<DeviceMapping<'a>>,
    device_cgroup_rules: Option<&'a [String]>,
    device_requests: Option<&'a [String]>,
    #[serde(skip_serializing_if = "is_zero")]
    kernel_memory: i64,
    #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_zero")]
    kernel_memory_tcp: i64,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<i64>,
    oom_kill_disable: Option<bool>,
    pids_limit: Option<i64>,
    ulimits: Vec<Limit<'a>>,
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig<'a> {
    r#type: &'a str,
    config: &'a BTreeMap<String, String>,
}

/// Where on the host a port is published.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding<'a> {
    host_ip: String,
    host_port: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Restart {
    name: &'static str,
    maximum_retry_count: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weight<'a> {
    path: &'a str,
    weight: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rate<'a> {
    path: &'a str,
    rate: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceMapping<'a> {
    path_on_host: &'a str,
    path_in_container: &'a str,
    cgroup_permissions: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit<'a> {
    name: &'a str,
    hard: i64,
    soft: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MountRequest<'a> {
    r#type: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    source: &'a str,
    target: &'a str,
    #[serde(skip_serializing_if = "is_false")]
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bind_options: Option<BindRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tmpfs_options: Option<TmpfsRequest<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct BindRequest {
    #[serde(skip_serializing_if = "str::is_empty")]
    propagation: &'static str,
    #[serde(skip_serializing_if = "is_false")]
    non_recursive: bool,
    #[serde(skip_serializing_if = "is_false")]
    create_mountpoint: bool,
    #[serde(skip_serializing_if = "is_false")]
    read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "is_false")]
    read_only_force_recursive: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct TmpfsRequest<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    size_bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    options: &'a [Vec<String>],
}

/// Docker's default for `/dev/shm`.
const SHM_SIZE: i64 = 64 * 1024 * 1024;

impl<'a> HostConfig<'a> {
    /// What is asked of a container, with the paths that are masked and read-only in force.
    pub(crate) fn new(it: &'a Domain, masked: &'a [String], readonly: &'a [String]) -> Self {
        let (rows, columns) = it.console_size.unwrap_or_default();
        Self {
            binds: or_null(&it.binds),
            container_id_file: &it.container_id_file,
            log_config: LogConfig {
                r#type: if it.log.driver.is_empty() { "json-file" } else { &it.log.driver },
                config: &it.log.options,
            },
            network_mode: network_mode(it),
            port_bindings: bindings(&it.port_bindings),
            restart_policy: it.restart_policy.into(),
            auto_remove: it.auto_remove,
            volume_driver: &it.volume_driver,
            volumes_from: or_null(&it.volumes_from),
            console_size: [rows, columns],
            annotations: &it.annotations,
            cap_add: or_null(&it.cap_add),
            cap_drop: or_null(&it.cap_drop),
            cgroupns_mode: it.cgroupns_mode.as_str(),
            dns: &it.dns,
            dns_options: &it.dns_options,
            dns_search: &it.dns_search,
            extra_hosts: or_null(&it.extra_hosts),
            group_add: or_null(&it.group_add),
            ipc_mode: it.ipc_mode.to_string(),
            cgroup: "",
            links: or_null(&it.links),
            oom_score_adj: it.resources.oom_score_adj,
            pid_mode: it.pid_mode.to_string(),
            privileged: it.privileged,
            publish_all_ports: it.publish_all_ports,
            readonly_rootfs: it.readonly_rootfs,
            security_opt: or_null(&it.security_options),
            storage_opt: &it.storage_options,
            tmpfs: &it.tmpfs,
            uts_mode: it.uts_mode.as_str(),
            userns_mode: &it.userns_mode,
            shm_size: it.shm_size.unwrap_or(SHM_SIZE),
            sysctls: &it.sysctls,
            runtime: if it.runtime.is_empty() { "wadah" } else { &it.runtime },
            isolation: &it.isolation,
            resources: Limits::new(&it.resources, &it.cgroup_parent),
            mounts: it.mounts.iter().map(Into::into).collect(),
            masked_paths: or_null(masked),
            readonly_paths: or_null(readonly),
            init: it.init,
        }
    }
}

impl<'a> Limits<'a> {
    fn new(it: &'a Resources, cgroup_parent: &'a str) -> Self {
        Self {
            cpu_shares: it.cpu_shares,
            memory: it.memory,
            nano_cpus: it.nano_cpus,
            cgroup_parent,
            blkio_weight: it.blkio_weight,
            blkio_weight_device: it.blkio_weight_device.iter().map(Into::into).collect(),
            blkio_device_read_bps: rates(&it.blkio_read_bps),
            blkio_device_write_bps: rates(&it.blkio_write_bps),
            blkio_device_read_iops: rates(&it.blkio_read_iops),
            blkio_device_write_iops: rates(&it.blkio_write_iops),
            cpu_period: it.cpu_period,
            cpu_quota: it.cpu_quota,
            cpu_realtime_period: it.cpu_realtime_period,
            cpu_realtime_runtime: it.cpu_realtime_runtime,
            cpuset_cpus: &it.cpuset_cpus,
            cpuset_mems: &it.cpuset_mems,
            devices: it.devices.iter().map(Into::into).collect(),
            device_cgroup_rules: or_null(&it.device_cgroup_rules),
            device_requests: or_null(&it.device_requests),
            kernel_memory: it.kernel_memory,
            kernel_memory_tcp: it.kernel_memory_tcp,
            memory_reservation: it.memory_reservation,
            memory_swap: it.memory_swap,
            memory_swappiness: it.memory_swappiness,
            oom_kill_disable: it.oom_kill_disable,
            pids_limit: it.pids_limit,
            ulimits: it.ulimits.iter().map(Into::into).collect(),
            cpu_count: 0,
            cpu_percent: 0,
            io_maximum_iops: 0,
            io_maximum_bandwidth: 0,
        }
    }
}

/// Docker shows the default network as `bridge`, since 28.
pub(crate) fn network_mode(host: &Domain) -> String {
    let mode = host.network_mode.to_string();
    if mode == "default" { "bridge".to_owned() } else { mode }
}

/// Ports and their bindings.
pub(crate) fn bindings(
    ports: &BTreeMap<PortSpec, Vec<PortBinding>>,
) -> BTreeMap<String, Vec<Binding<'_>>> {
    ports
        .iter()
        .map(|(port, bindings)| (port.to_string(), bindings.iter().map(Into::into).collect()))
        .collect()
}

fn rates(rates: &[DeviceRate]) -> Vec<Rate<'_>> {
    rates.iter().map(|it| Rate { path: &it.path, rate: it.rate }).collect()
}

impl<'a> From<&'a PortBinding> for Binding<'a> {
    fn from(it: &'a PortBinding) -> Self {
        let host_ip = it.host_address.map(|it| it.to_string()).unwrap_or_default();
        Self { host_ip, host_port: &it.host_port }
    }
}

impl From<RestartPolicy> for Restart {
    fn from(policy: RestartPolicy) -> Self {
        let maximum_retry_count = match policy {
            RestartPolicy::OnFailure { maximum } => maximum,
            RestartPolicy::No | RestartPolicy::Always | RestartPolicy::UnlessStopped => 0,
        };
        Self { name: policy.name(), maximum_retry_count }
    }
}

impl<'a> From<&'a DeviceWeight> for Weight<'a> {
    fn from(it: &'a DeviceWeight) -> Self {
        Self { path: &it.path, weight: it.weight }
    }
}

impl<'a> From<&'a Device> for DeviceMapping<'a> {
    fn from(it: &'a Device) -> Self {
        Self {
            path_on_host: &it.path_on_host,
            path_in_container: &it.path_in_container,
            cgroup_permissions: &it.permissions,
        }
    }
}

impl<'a> From<&'a Ulimit> for Limit<'a> {
    fn from(it: &'a Ulimit) -> Self {
        Self { name: &it.name, hard: it.hard, soft: it.soft }
    }
}

impl<'a> From<&'a Mount> for MountRequest<'a> {
    fn from(it: &'a Mount) -> Self {
        let (r#type, source): (&str, &str) = match &it.kind {
            MountKind::Bind { source, .. } => ("bind", source),
            MountKind::Tmpfs(_) => ("tmpfs", ""),
            MountKind::Volume { source } => ("volume", source),
            MountKind::Other(name) => (name, ""),
        };
        let bind_options = match &it.kind {
            MountKind::Bind { options, .. } if *options != Default::default() => {
                Some(BindRequest {
                    propagation: options.propagation.as_str(),
                    non_recursive: options.non_recursive,
                    create_mountpoint: options.create_mountpoint,
                    read_only_non_recursive: options.read_only_non_recursive,
                    read_only_force_recursive: options.read_only_force_recursive,
                })
            }
            _ => None,
        };
        let tmpfs_options = match &it.kind {
            MountKind::Tmpfs(options) if *options != Default::default() => Some(TmpfsRequest {
                size_bytes: options.size.unwrap_or_default(),
                mode: options.mode,
                options: &options.options,
            }),
            _ => None,
        };
        Self {
            r#type,
            source,
            target: &it.target,
            read_only: it.read_only,
            bind_options,
            tmpfs_options,
        }
    }
}
