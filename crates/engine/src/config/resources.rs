//! Limits on what a container may use.

/// Limits; an absent one, or 0 where Docker has it so, is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of memory that the kernel shrinks it to under pressure.
    pub memory_reservation: i64,
    /// Bytes of memory and swap together; -1 for any swap; 0 for twice the memory.
    pub memory_swap: i64,
    /// 0–100; -1 or absent: the kernel's.
    pub memory_swappiness: Option<i64>,
    /// Bytes of kernel memory (deprecated; refused).
    pub kernel_memory: i64,
    /// Bytes of kernel TCP buffers.
    pub kernel_memory_tcp: i64,
    /// Billionths of a processor.
    pub nano_cpus: i64,
    /// The weight against others; 1024 is usual.
    pub cpu_shares: i64,
    /// Microseconds of a scheduling period.
    pub cpu_period: i64,
    /// Microseconds it may run in one.
    pub cpu_quota: i64,
    /// Microseconds of a real-time period.
    pub cpu_realtime_period: i64,
    /// Microseconds of real-time in one.
    pub cpu_realtime_runtime: i64,
    /// Processors, as in `0-2,4`.
    pub cpuset_cpus: String,
    /// Memory nodes.
    pub cpuset_mems: String,
    /// Processes; 0 or -1 for any number.
    pub pids_limit: Option<i64>,
    /// Weight of block I/O: 10–1000.
    pub blkio_weight: u16,
    /// The same for one device.
    pub blkio_weight_device: Vec<DeviceWeight>,
    /// Bytes per second read.
    pub blkio_read_bps: Vec<DeviceRate>,
    /// Bytes per second written.
    pub blkio_write_bps: Vec<DeviceRate>,
    /// Reads per second.
    pub blkio_read_iops: Vec<DeviceRate>,
    /// Writes per second.
    pub blkio_write_iops: Vec<DeviceRate>,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Rules of the device cgroup, as in `c 10:* rwm`.
    pub device_cgroup_rules: Vec<String>,
    /// Names the drivers of device requests (GPUs, CDI); not supported yet.
    pub device_requests: Vec<String>,
    /// Limits of setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// Whether the kernel does not kill it for want of memory.
    pub oom_kill_disable: Option<bool>,
    /// -1000 to 1000.
    pub oom_score_adj: i64,
}

/// A weight for one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceWeight {
    /// The device's path on the host.
    pub path: String,
    /// 10–1000.
    pub weight: u16,
}

/// A rate for one block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceRate {
    /// The device's path on the host.
    pub path: String,
    /// Per second.
    pub rate: u64,
}

/// A device of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub path_on_host: String,
    /// Its path inside; the same if empty.
    pub path_in_container: String,
    /// Some of `r`, `w`, `m`; all if empty.
    pub permissions: String,
}

/// A limit of setrlimit(2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// As in `nofile`.
    pub name: String,
    /// The soft limit; -1 for none.
    pub soft: i64,
    /// The hard limit; -1 for none.
    pub hard: i64,
}
