//! Setting resources on the hierarchy of version 2 (kernel,
//! `Documentation/admin-guide/cgroup-v2.rst`), from fields that were made for version 1.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxThrottleDevice};
use rustix::io::Errno;

use super::{CgroupError, setter::Setter};

pub(super) fn memory(to: &mut Setter<'_>, memory: &LinuxMemory) -> Result<(), CgroupError> {
    let limit = given(memory.limit());
    let swap = swap(limit, given(memory.swap()))?;
    if memory.check_before_update() == Some(true) && to.updates() {
        check_usage(to, limit)?;
    }
    // Memory and swap have limits of their own here: the order does not matter.
    if let Some(swap) = swap {
        to.set_or_warn("memory.swap", "memory.swap.max", &number_or_max(swap))?;
    }
    to.set_if("memory.max", limit.map(number_or_max))?;
    to.set_if("memory.low", given(memory.reservation()).map(number_or_max))?;
    if memory.swappiness().is_some() {
        to.warn("memory.swappiness is not supported on cgroup version 2; ignored");
    }
    if memory.disable_oom_killer() == Some(true) {
        to.warn("memory.disableOOMKiller is not supported on cgroup version 2; ignored");
    }
    if given(memory.kernel()).or(given(memory.kernel_tcp())).is_some() {
        to.warn("memory.kernel is not supported on cgroup version 2; ignored");
    }
    Ok(())
}

/// Turns "memory and swap" into "swap".
fn swap(limit: Option<i64>, both: Option<i64>) -> Result<Option<i64>, CgroupError> {
    match (limit, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (Some(limit), Some(both)) if limit > 0 && both >= limit => Ok(Some(both - limit)),
        (_, Some(both)) => Err(CgroupError::Value {
            resource: "memory.swap",
            value: both.to_string(),
            reason: "it counts memory and swap, and must be at least memory.limit, which must be set",
        }),
    }
}

fn check_usage(to: &Setter<'_>, limit: Option<i64>) -> Result<(), CgroupError> {
    let Some(limit) = limit.filter(|it| *it > 0) else { return Ok(()) };
    let usage = to.directory().read("memory.current")?;
    match usage.trim().parse::<i64>() {
        Ok(usage) if usage > limit => Err(CgroupError::Value {
            resource: "memory.limit",
            value: limit.to_string(),
            reason: "more is in use, and memory.checkBeforeUpdate is set",
        }),
        _ => Ok(()),
    }
}

pub(super) fn cpu(to: &mut Setter<'_>, cpu: &LinuxCpu) -> Result<(), CgroupError> {
    if cpu.idle() == Some(0) && to.updates() {
        to.set("cpu.idle", "0")?;
    }
    to.set_if("cpu.weight", given(cpu.shares()).map(weight_of_shares))?;
    let burst = cpu.burst().map(|it| it.to_string());
    // A burst may not exceed the quota, so whether it goes before or after depends on both.
    let early = match &burst {
        Some(value) => to.try_set("cpu.max.burst", value, &[Errno::INVAL])?,
        None => true,
    };
    match (given(cpu.quota()), given(cpu.period())) {
        (None, None) => {}
        (Some(quota), None) => to.set("cpu.max", &number_or_max(quota))?,
        (Some(quota), Some(period)) => {
            to.set("cpu.max", &format!("{} {period}", number_or_max(quota)))?;
        }
        (None, Some(period)) => {
            let current = to.directory().read("cpu.max")?;
            let quota = current.split_whitespace().next().unwrap_or("max");
            to.set("cpu.max", &format!("{quota} {period}"))?;
        }
    }
    if let Some(value) = burst.filter(|_| !early) {
        to.set("cpu.max.burst", &value)?;
    }
    if given(cpu.realtime_period()).is_some() || given(cpu.realtime_runtime()).is_some() {
        to.warn("cpu.realtimeRuntime is not supported on cgroup version 2; ignored");
    }
    if let Some(idle) = cpu.idle().filter(|it| *it != 0) {
        to.set("cpu.idle", &idle.to_string())?;
    }
    Ok(())
}

/// Maps 2…262144 onto 1…10000 so that both defaults meet (1024 shares are a weight of 100), by
/// the curve that OCI runtimes agreed on in 2025: a straight line would put the default at 39.
fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "at most 262144")]
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 1 and 10000"
            )]
            let weight = 10f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

pub(super) fn block_io(to: &mut Setter<'_>, io: &LinuxBlockIo) -> Result<(), CgroupError> {
    let bfq = to.directory().has("io.bfq.weight");
    let file = if bfq { "io.bfq.weight" } else { "io.weight" };
    let scaled = |weight: u16| if bfq { u64::from(weight) } else { weight_of_blkio(weight) };
    if let Some(weight) = given(io.weight()) {
        to.set_or_warn("blockIO.weight", file, &format!("default {}", scaled(weight)))?;
    }
    for device in io.weight_device().as_deref().unwrap_or_default() {
        if let Some(weight) = given(device.weight()) {
            let line = format!("{}:{} {}", device.major(), device.minor(), scaled(weight));
            to.set_or_warn("blockIO.weightDevice", file, &line)?;
        }
    }
    if given(io.leaf_weight()).is_some() {
        to.warn("blockIO.leafWeight is not supported on cgroup version 2; ignored");
    }
    for (key, devices) in [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ] {
        throttle(to, key, devices.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

fn throttle(
    to: &mut Setter<'_>,
    key: &str,
    devices: &[LinuxThrottleDevice],
) -> Result<(), CgroupError> {
    for device in devices {
        // Zero is how version 1 lifts a limit.
        let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
        to.set("io.max", &format!("{}:{} {key}={rate}", device.major(), device.minor()))?;
    }
    Ok(())
}

/// Maps 10…1000 onto 1…10000.
fn weight_of_blkio(weight: u16) -> u64 {
    let weight = u64::from(weight.clamp(10, 1000));
    1 + (weight - 10) * 9999 / 990
}

fn number_or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// A value of zero means that nothing was asked for, as in every runtime.
fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|it| *it != T::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_shares_become_the_default_weight() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 100, 10_000]);
        assert_eq!([0, 1, 300_000].map(weight_of_shares), [1, 1, 10_000]);
        assert_eq!([10, 100, 1000].map(weight_of_blkio), [1, 910, 10_000]);
    }

    #[test]
    fn swap_is_what_is_left_of_memory_and_swap() {
        let check = |limit, both| swap(limit, both).map_err(|it| it.to_string());
        assert_eq!(check(Some(100), Some(300)), Ok(Some(200)));
        assert_eq!(check(Some(100), Some(100)), Ok(Some(0)));
        assert_eq!(check(Some(100), Some(-1)), Ok(Some(-1)));
        assert_eq!(check(Some(-1), None), Ok(Some(-1)));
        assert_eq!(check(Some(100), None), Ok(None));
        check(Some(100), Some(50)).unwrap_err();
        check(None, Some(50)).unwrap_err();
    }
}
