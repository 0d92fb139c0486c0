//! What a container has used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cgroup, CgroupError, Home, directory::Directory};

/// What a container has used. A controller that the host lacks leaves its part empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Processor time.
    pub cpu: Option<CpuStats>,
    /// Memory.
    pub memory: Option<MemoryStats>,
    /// Processes and threads.
    pub pids: Option<PidsStats>,
    /// Block devices.
    pub io: Option<IoStats>,
    /// Huge pages, one entry per page size.
    pub hugetlb: Vec<HugetlbStats>,
    /// RDMA/IB resources, one entry per device.
    pub rdma: Vec<RdmaStats>,
}

/// Processor time, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuStats {
    /// All of it.
    pub usage: u64,
    /// In user mode.
    pub user: u64,
    /// In kernel mode.
    pub system: u64,
    /// By processor; empty on version 2.
    pub per_cpu: Vec<u64>,
    /// Enforcement periods elapsed.
    pub periods: u64,
    /// Periods in which the group was throttled.
    pub throttled_periods: u64,
    /// Time spent throttled.
    pub throttled: u64,
}

/// Memory, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStats {
    /// In use now, page cache included.
    pub usage: u64,
    /// The most ever in use, where the kernel keeps it.
    pub max_usage: Option<u64>,
    /// The limit; none is unlimited.
    pub limit: Option<u64>,
    /// Times the limit was hit.
    pub failures: u64,
    /// Processes killed for want of memory.
    pub oom_kills: u64,
    /// Swap in use now (version 2; on version 1 see `swap_and_memory`).
    pub swap: Option<u64>,
    /// Memory and swap in use now (version 1).
    pub swap_and_memory: Option<u64>,
    /// Kernel memory in use now.
    pub kernel: Option<u64>,
    /// The kernel's `memory.stat`, as it is.
    pub details: BTreeMap<String, u64>,
}

/// Processes and threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PidsStats {
    /// Alive now.
    pub current: u64,
    /// The limit; none is unlimited.
    pub limit: Option<u64>,
}

/// Block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoStats {
    /// Bytes by device and operation.
    pub bytes: Vec<IoEntry>,
    /// Operations by device and operation.
    pub operations: Vec<IoEntry>,
}

/// One counter of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`, `Sync`, `Async`, `Discard` or `Total`.
    pub operation: String,
    /// The count.
    pub value: u64,
}

/// Huge pages of one size, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugetlbStats {
    /// The page size as the kernel names it: `2MB`.
    pub page_size: String,
    /// In use now.
    pub usage: u64,
    /// The most ever in use, where the kernel keeps it.
    pub max_usage: Option<u64>,
    /// Times the limit was hit.
    pub failures: u64,
}

/// RDMA/IB resources of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaStats {
    /// The device.
    pub device: String,
    /// Handles in use.
    pub handles: u64,
    /// Objects in use.
    pub objects: u64,
}

impl Cgroup {
    /// Reads what has been used.
    pub fn stats(&self) -> Result<Stats, CgroupError> {
        let io = self.home("blkio").or_else(|| self.home("io"));
        Ok(Stats {
            cpu: self.cpu()?,
            memory: read_from(self.home("memory"), memory_v1, memory_v2)?,
            pids: read_from(self.home("pids"), pids, pids)?,
            io: read_from(io, io_v1, io_v2)?,
            hugetlb: read_from(self.home("hugetlb"), hugetlb_v1, hugetlb_v2)?.unwrap_or_default(),
            rdma: read_from(self.home("rdma"), rdma, rdma)?.unwrap_or_default(),
        })
    }

    fn cpu(&self) -> Result<Option<CpuStats>, CgroupError> {
        let Some(Home::V1(accounting)) = self.home("cpuacct") else {
            // Without its controller version 2 still counts time, but not throttling.
            return self.unified.as_ref().map(cpu_v2).transpose();
        };
        let mut stats = CpuStats {
            usage: number(accounting, "cpuacct.usage")?,
            user: number(accounting, "cpuacct.usage_user")?,
            system: number(accounting, "cpuacct.usage_sys")?,
            ..CpuStats::default()
        };
        let per_cpu = accounting.read_if_there("cpuacct.usage_percpu")?.unwrap_or_default();
        stats.per_cpu = per_cpu.split_whitespace().filter_map(|it| it.parse().ok()).collect();
        if let Some(Home::V1(group)) = self.home("cpu") {
            let throttling = pairs(&group.read("cpu.stat")?);
            stats.periods = value(&throttling, "nr_periods");
            stats.throttled_periods = value(&throttling, "nr_throttled");
            stats.throttled = value(&throttling, "throttled_time");
        }
        Ok(Some(stats))
    }
}

fn read_from<T>(
    home: Option<Home<'_>>,
    v1: fn(&Directory) -> Result<T, CgroupError>,
    v2: fn(&Directory) -> Result<T, CgroupError>,
) -> Result<Option<T>, CgroupError> {
    match home {
        Some(Home::V1(directory)) => v1(directory).map(Some),
        Some(Home::V2(directory)) => v2(directory).map(Some),
        None => Ok(None),
    }
}

fn cpu_v2(group: &Directory) -> Result<CpuStats, CgroupError> {
    let stat = pairs(&group.read("cpu.stat")?);
    let nanoseconds = |key| value(&stat, key).saturating_mul(1000);
    Ok(CpuStats {
        usage: nanoseconds("usage_usec"),
        user: nanoseconds("user_usec"),
        system: nanoseconds("system_usec"),
        per_cpu: Vec::new(),
        periods: value(&stat, "nr_periods"),
        throttled_periods: value(&stat, "nr_throttled"),
        throttled: nanoseconds("throttled_usec"),
    })
}

fn memory_v1(group: &Directory) -> Result<MemoryStats, CgroupError> {
    /// What `memory.limit_in_bytes` reads without a limit: the largest number of whole pages.
    const UNLIMITED: u64 = 0x7fff_ffff_ffff_0000;
    let control = pairs(&group.read("memory.oom_control")?);
    Ok(MemoryStats {
        usage: number(group, "memory.usage_in_bytes")?,
        max_usage: Some(number(group, "memory.max_usage_in_bytes")?),
        limit: Some(number(group, "memory.limit_in_bytes")?).filter(|it| *it < UNLIMITED),
        failures: number(group, "memory.failcnt")?,
        oom_kills: value(&control, "oom_kill"),
        swap: None,
        swap_and_memory: number_if_there(group, "memory.memsw.usage_in_bytes")?,
        kernel: number_if_there(group, "memory.kmem.usage_in_bytes")?,
        details: pairs(&group.read("memory.stat")?),
    })
}

fn memory_v2(group: &Directory) -> Result<MemoryStats, CgroupError> {
    let details = pairs(&group.read("memory.stat")?);
    let events = pairs(&group.read("memory.events")?);
    Ok(MemoryStats {
        usage: number(group, "memory.current")?,
        max_usage: number_if_there(group, "memory.peak")?,
        limit: number_if_there(group, "memory.max")?,
        failures: value(&events, "max"),
        oom_kills: value(&events, "oom_kill"),
        swap: number_if_there(group, "memory.swap.current")?,
        swap_and_memory: None,
        kernel: details.get("kernel").copied(),
        details,
    })
}

fn pids(group: &Directory) -> Result<PidsStats, CgroupError> {
    let limit = number_if_there(group, "pids.max")?;
    Ok(PidsStats { current: number(group, "pids.current")?, limit })
}

fn io_v1(group: &Directory) -> Result<IoStats, CgroupError> {
    let read = |scheduler: &str, throttled: &str| -> Result<Vec<IoEntry>, CgroupError> {
        let text = group.read_if_there(scheduler)?.unwrap_or_default();
        let entries = io_entries_v1(&text);
        // Only the scheduler of the device counts, or only the layer that throttles.
        if entries.is_empty() {
            let text = group.read_if_there(throttled)?.unwrap_or_default();
            return Ok(io_entries_v1(&text));
        }
        Ok(entries)
    };
    Ok(IoStats {
        bytes: read(
            "blkio.bfq.io_service_bytes_recursive",
            "blkio.throttle.io_service_bytes_recursive",
        )?,
        operations: read(
            "blkio.bfq.io_serviced_recursive",
            "blkio.throttle.io_serviced_recursive",
        )?,
    })
}

/// Lines such as `8:0 Read 4096`; the last line, a total over all devices, has no device.
fn io_entries_v1(text: &str) -> Vec<IoEntry> {
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let (major, minor) = device(fields.next()?)?;
        let operation = fields.next()?.to_owned();
        Some(IoEntry { major, minor, operation, value: fields.next()?.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

/// Lines such as `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 dbytes=0 dios=0`.
fn io_v2(group: &Directory) -> Result<IoStats, CgroupError> {
    let mut stats = IoStats::default();
    for line in group.read_if_there("io.stat")?.unwrap_or_default().lines() {
        let mut fields = line.split_whitespace();
        let Some((major, minor)) = fields.next().and_then(device) else { continue };
        for (key, count) in fields.filter_map(|it| it.split_once('=')) {
            let (entries, operation) = match key {
                "rbytes" => (&mut stats.bytes, "Read"),
                "wbytes" => (&mut stats.bytes, "Write"),
                "dbytes" => (&mut stats.bytes, "Discard"),
                "rios" => (&mut stats.operations, "Read"),
                "wios" => (&mut stats.operations, "Write"),
                "dios" => (&mut stats.operations, "Discard"),
                _ => continue,
            };
            let value = count.parse().unwrap_or(0);
            entries.push(IoEntry { major, minor, operation: operation.to_owned(), value });
        }
    }
    Ok(stats)
}

fn hugetlb_v1(group: &Directory) -> Result<Vec<HugetlbStats>, CgroupError> {
    page_sizes(group, ".usage_in_bytes")?
        .into_iter()
        .map(|size| {
            Ok(HugetlbStats {
                usage: number(group, &format!("hugetlb.{size}.usage_in_bytes"))?,
                max_usage: Some(number(group, &format!("hugetlb.{size}.max_usage_in_bytes"))?),
                failures: number(group, &format!("hugetlb.{size}.failcnt"))?,
                page_size: size,
            })
        })
        .collect()
}

fn hugetlb_v2(group: &Directory) -> Result<Vec<HugetlbStats>, CgroupError> {
    page_sizes(group, ".current")?
        .into_iter()
        .map(|size| {
            let events = pairs(&group.read(&format!("hugetlb.{size}.events"))?);
            Ok(HugetlbStats {
                usage: number(group, &format!("hugetlb.{size}.current"))?,
                max_usage: None,
                failures: value(&events, "max"),
                page_size: size,
            })
        })
        .collect()
}

fn page_sizes(group: &Directory, suffix: &str) -> Result<Vec<String>, CgroupError> {
    let size = |it: String| {
        let size = it.strip_prefix("hugetlb.")?.strip_suffix(suffix)?;
        (!size.contains('.')).then(|| size.to_owned())
    };
    let mut sizes: Vec<String> = group.files()?.into_iter().filter_map(size).collect();
    sizes.sort();
    Ok(sizes)
}

/// Lines such as `mlx4_0 hca_handle=2 hca_object=2000`.
fn rdma(group: &Directory) -> Result<Vec<RdmaStats>, CgroupError> {
    let text = group.read_if_there("rdma.current")?.unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split_whitespace();
        let mut stats = RdmaStats { device: fields.next()?.to_owned(), handles: 0, objects: 0 };
        for (key, count) in fields.filter_map(|it| it.split_once('=')) {
            match key {
                "hca_handle" => stats.handles = count.parse().ok()?,
                "hca_object" => stats.objects = count.parse().ok()?,
                _ => {}
            }
        }
        Some(stats)
    };
    Ok(text.lines().filter_map(entry).collect())
}

fn device(text: &str) -> Option<(u64, u64)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines of a key and a number.
fn pairs(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|it| it.split_once(' '))
        .filter_map(|(key, value)| Some((key.to_owned(), value.trim().parse().ok()?)))
        .collect()
}

fn value(pairs: &BTreeMap<String, u64>, key: &str) -> u64 {
    pairs.get(key).copied().unwrap_or(0)
}

fn number(group: &Directory, file: &str) -> Result<u64, CgroupError> {
    Ok(group.read(file)?.trim().parse().unwrap_or(0))
}

/// A number, or none where the file is absent or says `max`.
fn number_if_there(group: &Directory, file: &str) -> Result<Option<u64>, CgroupError> {
    Ok(group.read_if_there(file)?.and_then(|it| it.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_device_lines_are_read_by_device_and_the_total_left_out() {
        let entries = io_entries_v1("8:0 Read 4096\n8:0 Write 0\n8:16 Total 12\nTotal 4108\n");
        let entries: Vec<String> = entries
            .iter()
            .map(|it| format!("{}:{} {} {}", it.major, it.minor, it.operation, it.value))
            .collect();
        assert_eq!(entries, ["8:0 Read 4096", "8:0 Write 0", "8:16 Total 12"]);
    }
}
