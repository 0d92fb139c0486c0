//! Limits, in the specification's fields.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use serde_json::{Map, Value, json};

use super::devices;
use crate::{
    EngineError,
    config::{DeviceRate, DeviceWeight, HostConfig, Resources},
};

/// The period of a quota given as a number of processors: 100 ms.
const PERIOD: i64 = 100_000;

/// Builds `linux.resources`.
pub(crate) fn build(host: &HostConfig) -> Result<Value, EngineError> {
    let limits = &host.resources;
    let mut resources = Map::new();
    let mut set = |name: &str, value: Map<String, Value>| {
        if !value.is_empty() {
            resources.insert(name.to_owned(), Value::Object(value));
        }
    };
    set("memory", memory(limits));
    set("cpu", cpu(limits));
    set("blockIO", block_io(limits)?);
    if let Some(limit) = limits.pids_limit.filter(|it| *it > 0) {
        set("pids", Map::from_iter([("limit".to_owned(), json!(limit))]));
    }
    resources.insert("devices".to_owned(), Value::Array(devices::rules(host)?));
    Ok(Value::Object(resources))
}

fn memory(limits: &Resources) -> Map<String, Value> {
    let mut memory = Map::new();
    let mut set = |name: &str, value: Value| memory.insert(name.to_owned(), value);
    if limits.memory > 0 {
        set("limit", json!(limits.memory));
    }
    if limits.memory_reservation > 0 {
        set("reservation", json!(limits.memory_reservation));
    }
    match limits.memory_swap {
        0 if limits.memory > 0 => {
            set("swap", json!(limits.memory.saturating_mul(2)));
        }
        0 => {}
        swap => {
            set("swap", json!(swap));
        }
    }
    if let Some(swappiness) = limits.memory_swappiness.filter(|it| *it >= 0) {
        set("swappiness", json!(swappiness));
    }
    if limits.kernel_memory_tcp > 0 {
        set("kernelTCP", json!(limits.kernel_memory_tcp));
    }
    if limits.oom_kill_disable == Some(true) {
        set("disableOOMKiller", json!(true));
    }
    memory
}

fn cpu(limits: &Resources) -> Map<String, Value> {
    let mut cpu = Map::new();
    let mut set = |name: &str, value: Value| cpu.insert(name.to_owned(), value);
    if limits.nano_cpus > 0 {
        set("period", json!(PERIOD));
        set("quota", json!(limits.nano_cpus / (1_000_000_000 / PERIOD)));
    }
    let numbers = [
        ("shares", limits.cpu_shares),
        ("period", limits.cpu_period),
        ("quota", limits.cpu_quota),
        ("realtimePeriod", limits.cpu_realtime_period),
        ("realtimeRuntime", limits.cpu_realtime_runtime),
    ];
    for (name, value) in numbers.into_iter().filter(|(_, value)| *value != 0) {
        set(name, json!(value));
    }
    for (name, value) in [("cpus", &limits.cpuset_cpus), ("mems", &limits.cpuset_mems)] {
        if !value.is_empty() {
            set(name, json!(value));
        }
    }
    cpu
}

fn block_io(limits: &Resources) -> Result<Map<String, Value>, EngineError> {
    let mut io = Map::new();
    if limits.blkio_weight > 0 {
        io.insert("weight".to_owned(), json!(limits.blkio_weight));
    }
    if !limits.blkio_weight_device.is_empty() {
        let weights: Result<Vec<_>, _> = limits.blkio_weight_device.iter().map(weight).collect();
        io.insert("weightDevice".to_owned(), Value::Array(weights?));
    }
    let rates = [
        ("throttleReadBpsDevice", &limits.blkio_read_bps),
        ("throttleWriteBpsDevice", &limits.blkio_write_bps),
        ("throttleReadIOPSDevice", &limits.blkio_read_iops),
        ("throttleWriteIOPSDevice", &limits.blkio_write_iops),
    ];
    for (name, rates) in rates.into_iter().filter(|(_, rates)| !rates.is_empty()) {
        let rates: Result<Vec<_>, _> = rates.iter().map(rate).collect();
        io.insert(name.to_owned(), Value::Array(rates?));
    }
    Ok(io)
}

fn weight(device: &DeviceWeight) -> Result<Value, EngineError> {
    let (major, minor) = block_device(&device.path)?;
    Ok(json!({ "major": major, "minor": minor, "weight": device.weight }))
}

fn rate(device: &DeviceRate) -> Result<Value, EngineError> {
    let (major, minor) = block_device(&device.path)?;
    Ok(json!({ "major": major, "minor": minor, "rate": device.rate }))
}

fn block_device(path: &str) -> Result<(u32, u32), EngineError> {
    let metadata = std::fs::metadata(path)
        .map_err(|source| EngineError::invalid(format!("cannot look at {path}: {source}")))?;
    if !metadata.file_type().is_block_device() {
        return Err(EngineError::invalid(format!("{path} is not a block device")));
    }
    Ok((rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev())))
}
