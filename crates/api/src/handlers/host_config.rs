//! The `HostConfig` of a request.
//!
//! **Invariant:** every field that has a meaning on Linux is read; Windows' are ignored.

use std::{collections::BTreeMap, net::IpAddr};

use wadah_engine::config::{
    BindOptions, Device, DeviceRate, DeviceWeight, HostConfig, LogConfig, Mount, MountKind,
    PortBinding, PortSpec, Resources, RestartPolicy, TmpfsOptions, Ulimit,
};

use crate::{error::ApiError, object::Object};

/// Reads a `HostConfig`.
pub(crate) fn parse(mut body: Object) -> Result<HostConfig, ApiError> {
    let resources = resources(&mut body)?;
    Ok(HostConfig {
        network_mode: body.string("NetworkMode")?.parse()?,
        port_bindings: port_bindings(&mut body)?,
        publish_all_ports: body.flag("PublishAllPorts")?,
        binds: body.strings("Binds")?,
        mounts: body.objects("Mounts")?.into_iter().map(mount).collect::<Result<_, _>>()?,
        tmpfs: body.map("Tmpfs")?,
        volumes_from: body.strings("VolumesFrom")?,
        volume_driver: body.string("VolumeDriver")?,
        storage_options: body.map("StorageOpt")?,
        restart_policy: restart_policy(body.object("RestartPolicy")?)?,
        auto_remove: body.flag("AutoRemove")?,
        resources,
        cap_add: body.words("CapAdd")?.unwrap_or_default(),
        cap_drop: body.words("CapDrop")?.unwrap_or_default(),
        privileged: body.flag("Privileged")?,
        security_options: body.strings("SecurityOpt")?,
        readonly_rootfs: body.flag("ReadonlyRootfs")?,
        shm_size: body.optional_number("ShmSize")?.filter(|it| *it != 0),
        sysctls: body.map("Sysctls")?,
        pid_mode: body.string("PidMode")?.parse()?,
        ipc_mode: body.string("IpcMode")?.parse()?,
        uts_mode: body.string("UTSMode")?.parse()?,
        userns_mode: body.string("UsernsMode")?,
        cgroupns_mode: body.string("CgroupnsMode")?.parse()?,
        cgroup_parent: body.string("CgroupParent")?,
        dns: body.strings("Dns")?,
        dns_options: body.strings("DnsOptions")?,
        dns_search: body.strings("DnsSearch")?,
        extra_hosts: body.strings("ExtraHosts")?,
        links: body.strings("Links")?,
        log: log(body.object("LogConfig")?)?,
        init: body.optional_flag("Init")?,
        group_add: body.strings("GroupAdd")?,
        masked_paths: body.optional_strings("MaskedPaths")?,
        readonly_paths: body.optional_strings("ReadonlyPaths")?,
        runtime: body.string("Runtime")?,
        annotations: body.map("Annotations")?,
        isolation: body.string("Isolation")?,
        container_id_file: body.string("ContainerIDFile")?,
        console_size: body.pair("ConsoleSize")?.filter(|it| *it != (0, 0)),
    })
}

fn resources(body: &mut Object) -> Result<Resources, ApiError> {
    Ok(Resources {
        memory: body.number("Memory")?,
        memory_reservation: body.number("MemoryReservation")?,
        memory_swap: body.number("MemorySwap")?,
        // Clients say -1, and 0 or less below, where nothing was asked for.
        memory_swappiness: body.optional_number("MemorySwappiness")?.filter(|it| *it != -1),
        kernel_memory: body.number("KernelMemory")?,
        kernel_memory_tcp: body.number("KernelMemoryTCP")?,
        nano_cpus: body.number("NanoCpus")?,
        cpu_shares: body.number("CpuShares")?,
        cpu_period: body.number("CpuPeriod")?,
        cpu_quota: body.number("CpuQuota")?,
        cpu_realtime_period: body.number("CpuRealtimePeriod")?,
        cpu_realtime_runtime: body.number("CpuRealtimeRuntime")?,
        cpuset_cpus: body.string("CpusetCpus")?,
        cpuset_mems: body.string("CpusetMems")?,
        pids_limit: body.optional_number("PidsLimit")?.filter(|it| *it > 0),
        blkio_weight: body.narrow("BlkioWeight")?,
        blkio_weight_device: weights(body.objects("BlkioWeightDevice")?)?,
        blkio_read_bps: rates(body.objects("BlkioDeviceReadBps")?)?,
        blkio_write_bps: rates(body.objects("BlkioDeviceWriteBps")?)?,
        blkio_read_iops: rates(body.objects("BlkioDeviceReadIOps")?)?,
        blkio_write_iops: rates(body.objects("BlkioDeviceWriteIOps")?)?,
        devices: body.objects("Devices")?.into_iter().map(device).collect::<Result<_, _>>()?,
        device_cgroup_rules: body.strings("DeviceCgroupRules")?,
        device_requests: device_requests(body.objects("DeviceRequests")?)?,
        ulimits: body.objects("Ulimits")?.into_iter().map(ulimit).collect::<Result<_, _>>()?,
        oom_kill_disable: body.optional_flag("OomKillDisable")?,
        oom_score_adj: body.number("OomScoreAdj")?,
    })
}

/// Reads `80/tcp`, `53/udp`, …
pub(crate) fn ports(keys: Vec<String>) -> Result<Vec<PortSpec>, ApiError> {
    keys.iter().map(|it| it.parse().map_err(ApiError::from)).collect()
}

fn port_bindings(body: &mut Object) -> Result<BTreeMap<PortSpec, Vec<PortBinding>>, ApiError> {
    let mut ports = BTreeMap::new();
    for (port, bindings) in body.object_lists("PortBindings")? {
        let bindings = bindings.into_iter().map(port_binding).collect::<Result<_, _>>()?;
        ports.insert(port.parse()?, bindings);
    }
    Ok(ports)
}

fn port_binding(mut body: Object) -> Result<PortBinding, ApiError> {
    let host_ip = body.string("HostIp")?;
    let unreadable =
        |_| ApiError::bad_request(format!("invalid host address in port binding: {host_ip:?}"));
    let host_address: Option<IpAddr> = match host_ip.as_str() {
        "" => None,
        text => Some(text.parse().map_err(unreadable)?),
    };
    Ok(PortBinding { host_address, host_port: body.string("HostPort")? })
}

fn restart_policy(mut body: Object) -> Result<RestartPolicy, ApiError> {
    let (name, maximum) = (body.string("Name")?, body.number("MaximumRetryCount")?);
    Ok(RestartPolicy::parse(&name, maximum)?)
}

fn log(mut body: Object) -> Result<LogConfig, ApiError> {
    Ok(LogConfig { driver: body.string("Type")?, options: body.map("Config")? })
}

fn weights(bodies: Vec<Object>) -> Result<Vec<DeviceWeight>, ApiError> {
    let weight = |mut it: Object| {
        Ok(DeviceWeight { path: it.string("Path")?, weight: it.narrow("Weight")? })
    };
    bodies.into_iter().map(weight).collect()
}

fn rates(bodies: Vec<Object>) -> Result<Vec<DeviceRate>, ApiError> {
    let rate =
        |mut it: Object| Ok(DeviceRate { path: it.string("Path")?, rate: it.narrow("Rate")? });
    bodies.into_iter().map(rate).collect()
}

fn device(mut body: Object) -> Result<Device, ApiError> {
    Ok(Device {
        path_on_host: body.string("PathOnHost")?,
        path_in_container: body.string("PathInContainer")?,
        permissions: body.string("CgroupPermissions")?,
    })
}

fn device_requests(bodies: Vec<Object>) -> Result<Vec<String>, ApiError> {
    bodies.into_iter().map(|mut it| it.string("Driver")).collect()
}

fn ulimit(mut body: Object) -> Result<Ulimit, ApiError> {
    Ok(Ulimit {
        name: body.string("Name")?,
        soft: body.number("Soft")?,
        hard: body.number("Hard")?,
    })
}

fn mount(mut body: Object) -> Result<Mount, ApiError> {
    let source = body.string("Source")?;
    let kind = match body.string("Type")?.as_str() {
        "bind" => MountKind::Bind { source, options: bind_options(body.object("BindOptions")?)? },
        "tmpfs" => MountKind::Tmpfs(tmpfs_options(body.object("TmpfsOptions")?)?),
        "volume" => MountKind::Volume { source },
        other => MountKind::Other(other.to_owned()),
    };
    Ok(Mount { target: body.string("Target")?, read_only: body.flag("ReadOnly")?, kind })
}

fn bind_options(mut body: Object) -> Result<BindOptions, ApiError> {
    Ok(BindOptions {
        propagation: body.string("Propagation")?.parse()?,
        non_recursive: body.flag("NonRecursive")?,
        create_mountpoint: body.flag("CreateMountpoint")?,
        read_only_non_recursive: body.flag("ReadOnlyNonRecursive")?,
        read_only_force_recursive: body.flag("ReadOnlyForceRecursive")?,
    })
}

fn tmpfs_options(mut body: Object) -> Result<TmpfsOptions, ApiError> {
    Ok(TmpfsOptions {
        size: body.optional_number("SizeBytes")?.filter(|it| *it != 0),
        mode: Some(body.narrow("Mode")?).filter(|it| *it != 0),
        options: body.string_lists("Options")?,
    })
}
