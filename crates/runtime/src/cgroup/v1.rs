//! Setting resources on hierarchies of version 1 (kernel, `Documentation/admin-guide/cgroup-v1`).

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxThrottleDevice};
use rustix::io::Errno;

use super::{CgroupError, setter::Setter};

const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

pub(super) fn memory(to: &mut Setter<'_>, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = given(memory.limit());
    // Unlimited memory below a limit of memory and swap would be no change at all.
    let swap = given(memory.swap()).or(limit.filter(|it| *it == -1));
    let set_limit = |to: &mut Setter<'_>| to.set_if("memory.limit_in_bytes", limit);
    let set_swap = |to: &mut Setter<'_>| match swap {
        Some(value) => to.set_or_warn("memory.swap", MEMORY_AND_SWAP, &value.to_string()),
        None => Ok(()),
    };
    // The kernel keeps memory <= memory and swap at every moment.
    if raises(to, swap)? {
        set_swap(to)?;
        set_limit(to)?;
    } else {
        set_limit(to)?;
        set_swap(to)?;
    }
    to.set_if("memory.soft_limit_in_bytes", given(memory.reservation()))?;
    to.set_if("memory.swappiness", memory.swappiness())?;
    if let Some(disable) = memory.disable_oom_killer().filter(|it| *it || to.updates()) {
        to.set("memory.oom_control", if disable { "1" } else { "0" })?;
    }
    if let Some(value) = given(memory.kernel()) {
        to.set_or_warn("memory.kernel", "memory.kmem.limit_in_bytes", &value.to_string())?;
    }
    if let Some(value) = given(memory.kernel_tcp()) {
        to.set_or_warn("memory.kernelTCP", "memory.kmem.tcp.limit_in_bytes", &value.to_string())?;
    }
    Ok(())
}

/// Tells whether the limit of memory and swap becomes higher than it is.
fn raises(to: &Setter<'_>, swap: Option<i64>) -> Result<bool, CgroupError> {
    let Some(swap) = swap.filter(|_| to.updates()) else { return Ok(false) };
    let current = to.directory().read_if_there(MEMORY_AND_SWAP)?;
    let current = current.and_then(|it| it.trim().parse::<i64>().ok()).unwrap_or(i64::MAX);
    Ok(swap == -1 || swap > current)
}

pub(super) fn cpu(to: &mut Setter<'_>, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    if cpu.idle() == Some(0) && to.updates() {
        to.set("cpu.idle", "0")?;
    }
    to.set_if("cpu.shares", given(cpu.shares()))?;
    let burst = cpu.burst().map(|it| it.to_string());
    // A burst may not exceed the quota, so whether it goes before or after depends on both.
    let early = match &burst {
        Some(value) => to.try_set("cpu.cfs_burst_us", value, &[Errno::INVAL])?,
        None => true,
    };
    let quota = given(cpu.quota());
    if let Some(period) = given(cpu.period()) {
        // With the old quota the new period may allow more than the parent does.
        let refused: &[Errno] = if quota.is_some() { &[Errno::INVAL] } else { &[] };
        if !to.try_set("cpu.cfs_period_us", &period.to_string(), refused)? {
            to.set_if("cpu.cfs_quota_us", quota)?;
            to.set("cpu.cfs_period_us", &period.to_string())?;
        }
    }
    to.set_if("cpu.cfs_quota_us", quota)?;
    if let Some(value) = burst.filter(|_| !early) {
        to.set("cpu.cfs_burst_us", &value)?;
    }
    to.set_if("cpu.rt_period_us", given(cpu.realtime_period()))?;
    to.set_if("cpu.rt_runtime_us", given(cpu.realtime_runtime()))?;
    if let Some(idle) = cpu.idle().filter(|it| *it != 0) {
        to.set("cpu.idle", &idle.to_string())?;
    }
    Ok(())
}

pub(super) fn block_io(to: &mut Setter<'_>, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    let bfq = to.directory().has("blkio.bfq.weight");
    let weight_file = if bfq { "blkio.bfq.weight" } else { "blkio.weight" };
    if let Some(weight) = given(io.weight()) {
        to.set_or_warn("blockIO.weight", weight_file, &weight.to_string())?;
    }
    if let Some(weight) = given(io.leaf_weight()) {
        to.set_or_warn("blockIO.leafWeight", "blkio.leaf_weight", &weight.to_string())?;
    }
    for device in io.weight_device().as_deref().unwrap_or_default() {
        let line = |weight: u16| format!("{}:{} {weight}", device.major(), device.minor());
        if let Some(weight) = given(device.weight()) {
            let file = format!("{weight_file}_device");
            to.set_or_warn("blockIO.weightDevice", &file, &line(weight))?;
        }
        if let Some(weight) = given(device.leaf_weight()) {
            to.set_or_warn("blockIO.weightDevice", "blkio.leaf_weight_device", &line(weight))?;
        }
    }
    for (file, devices) in [
        ("blkio.throttle.read_bps_device", io.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", io.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", io.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", io.throttle_write_iops_device()),
    ] {
        throttle(to, file, devices.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

fn throttle(
    to: &mut Setter<'_>,
    file: &str,
    devices: &[LinuxThrottleDevice],
) -> Result<(), CgroupError> {
    for device in devices {
        to.set(file, &format!("{}:{} {}", device.major(), device.minor(), device.rate()))?;
    }
    Ok(())
}

pub(super) fn class(to: &mut Setter<'_>, network: &LinuxNetwork) -> Result<(), CgroupError> {
    to.set_if("net_cls.classid", given(network.class_id()))
}

pub(super) fn priorities(to: &mut Setter<'_>, network: &LinuxNetwork) -> Result<(), CgroupError> {
    for it in network.priorities().as_deref().unwrap_or_default() {
        to.set("net_prio.ifpriomap", &format!("{} {}", it.name(), it.priority()))?;
    }
    Ok(())
}

/// A value of zero means that nothing was asked for, as in every runtime.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|it| *it != T::default())
}
