//! `events`: what a container uses, now and then, and when it lacks memory. The form is runc's.

use std::time::{Duration, Instant};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{PidfdFlags, pidfd_open},
};
use serde_json::{Value, json};

use super::{
    error::CommandError,
    flags::Events,
    list::print,
    state::{Root, Status},
};
use crate::cgroup::{Cgroup, CpuStats, HugetlbStats, IoEntry, MemoryStats, Stats};

/// Prints events until the container ends, or once.
pub(super) fn events(root: &Root, flags: &Events) -> Result<(), CommandError> {
    let interval = parse_interval(&flags.interval)?;
    let record = root.find(&flags.id)?.record()?;
    let status = record.status();
    if status == Status::Stopped {
        return Err(CommandError::NotRunning { id: flags.id.clone(), status });
    }
    let cgroup = record.open_cgroup()?;
    if flags.stats {
        return print_stats(&flags.id, &cgroup);
    }
    let not_running = || CommandError::NotRunning { id: flags.id.clone(), status };
    let pid = record.process().ok_or_else(not_running)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| not_running())?;
    let watch = cgroup.oom_watch()?;
    let mut kills = watch.count()?;
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next {
            print_stats(&flags.id, &cgroup)?;
            next += interval;
        }
        let left = next.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        let mut ready = [
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(watch.fd(), PollFlags::IN),
        ];
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => {
                let pid = record.pid;
                return Err(CommandError::Wait { pid, source: err.into() });
            }
        }
        let ended = !ready[0].revents().is_empty();
        // A group that is gone has nothing more to tell.
        let Ok(now) = watch.count() else { return Ok(()) };
        for _ in kills..now {
            print(&format!("{}\n", json!({ "type": "oom", "id": flags.id })))?;
        }
        kills = now;
        if ended {
            return Ok(());
        }
    }
}

fn print_stats(id: &str, cgroup: &Cgroup) -> Result<(), CommandError> {
    let data = data(&cgroup.stats()?);
    print(&format!("{}\n", json!({ "type": "stats", "id": id, "data": data })))
}

fn data(stats: &Stats) -> Value {
    let entries = |entries: &[IoEntry]| -> Vec<Value> {
        let entry = |it: &IoEntry| json!({ "major": it.major, "minor": it.minor, "op": it.operation, "value": it.value });
        entries.iter().map(entry).collect()
    };
    let hugetlb: serde_json::Map<String, Value> = stats
        .hugetlb
        .iter()
        .map(|it: &HugetlbStats| {
            let max = it.max_usage.unwrap_or(0);
            let value = json!({ "usage": it.usage, "max": max, "failcnt": it.failures });
            (it.page_size.clone(), value)
        })
        .collect();
    json!({
        "cpu": stats.cpu.as_ref().map(cpu),
        "cpuset": {},
        "memory": stats.memory.as_ref().map(memory),
        "pids": stats.pids.as_ref().map(|it| json!({ "current": it.current, "limit": it.limit })),
        "blkio": stats.io.as_ref().map(|it| json!({
            "ioServiceBytesRecursive": entries(&it.bytes),
            "ioServicedRecursive": entries(&it.operations),
        })),
        "hugetlb": hugetlb,
        "intel_rdt": {},
        "network_interfaces": null,
    })
}

fn cpu(it: &CpuStats) -> Value {
    json!({
        "usage": {
            "total": it.usage, "percpu": it.per_cpu, "kernel": it.system, "user": it.user,
        },
        "throttling": {
            "periods": it.periods,
            "throttledPeriods": it.throttled_periods,
            "throttledTime": it.throttled,
        },
    })
}

fn memory(it: &MemoryStats) -> Value {
    let entry = |usage: u64, max: u64, limit: u64, failures: u64| json!({ "limit": limit, "usage": usage, "max": max, "failcnt": failures });
    let limit = it.limit.unwrap_or(u64::MAX);
    let cache = it.details.get("cache").or(it.details.get("file")).copied().unwrap_or(0);
    let swap = it.swap_and_memory.or(it.swap).unwrap_or(0);
    json!({
        "cache": cache,
        "usage": entry(it.usage, it.max_usage.unwrap_or(0), limit, it.failures),
        "swap": entry(swap, 0, 0, 0),
        "kernel": entry(it.kernel.unwrap_or(0), 0, 0, 0),
        "kernelTCP": entry(0, 0, 0, 0),
        "raw": it.details,
    })
}

/// Reads an interval such as `5s`, `500ms` or `1m`.
fn parse_interval(text: &str) -> Result<Duration, CommandError> {
    let invalid = || CommandError::Flag {
        flag: "--interval",
        value: text.to_owned(),
        problem: "expected a time such as 5s, 500ms or 1m",
    };
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|it| *it > 0).ok_or_else(invalid)?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or_else(invalid),
        "h" => number.checked_mul(3600).map(Duration::from_secs).ok_or_else(invalid),
        _ => Err(invalid()),
    }
}
