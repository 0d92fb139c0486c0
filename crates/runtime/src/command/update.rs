//! `update`: changing what a container may use.

use std::io::Read;

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxPids, LinuxResources};

use super::{
    error::CommandError,
    flags::Update,
    log::Log,
    state::{self, Root, Status},
};

/// Changes resources.
pub(super) fn update(root: &Root, flags: &Update, log: &Log) -> Result<(), CommandError> {
    let record = root.find(&flags.id)?.record()?;
    let status = record.status();
    if status == Status::Stopped {
        return Err(CommandError::NotRunning { id: flags.id.clone(), status });
    }
    let resources = match flags.resources.as_deref() {
        Some(path) if path.as_os_str() == "-" => from_standard_input()?,
        Some(path) => state::read_json(path)?,
        None => from_flags(flags)?,
    };
    log.warnings(&record.open_cgroup()?.update(&resources)?);
    Ok(())
}

fn from_standard_input() -> Result<LinuxResources, CommandError> {
    let path = || "standard input".into();
    let mut text = Vec::new();
    std::io::stdin()
        .read_to_end(&mut text)
        .map_err(|source| CommandError::Read { path: path(), source })?;
    serde_json::from_slice(&text).map_err(|source| CommandError::Json { path: path(), source })
}

fn from_flags(flags: &Update) -> Result<LinuxResources, CommandError> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(flags.cpu_share)
        .set_quota(flags.cpu_quota)
        .set_period(flags.cpu_period)
        .set_burst(flags.cpu_burst)
        .set_idle(flags.cpu_idle)
        .set_realtime_period(flags.cpu_rt_period)
        .set_realtime_runtime(flags.cpu_rt_runtime)
        .set_cpus(flags.cpuset_cpus.clone())
        .set_mems(flags.cpuset_mems.clone());
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(bytes("--memory", flags.memory.as_deref())?)
        .set_reservation(bytes("--memory-reservation", flags.memory_reservation.as_deref())?)
        .set_swap(bytes("--memory-swap", flags.memory_swap.as_deref())?);
    let mut resources = LinuxResources::default();
    resources.set_cpu(Some(cpu)).set_memory(Some(memory));
    if let Some(limit) = flags.pids_limit {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        resources.set_pids(Some(pids));
    }
    if flags.blkio_weight.is_some() {
        let mut io = LinuxBlockIo::default();
        io.set_weight(flags.blkio_weight);
        resources.set_block_io(Some(io));
    }
    Ok(resources)
}

/// Reads an amount such as `512m`, `1.5g`, `1048576` or `-1`.
fn bytes(flag: &'static str, text: Option<&str>) -> Result<Option<i64>, CommandError> {
    let Some(text) = text else { return Ok(None) };
    let invalid = || CommandError::Flag {
        flag,
        value: text.to_owned(),
        problem: "expected bytes, or a number with k, m, g or t",
    };
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(invalid()),
    };
    if let Ok(whole) = digits.parse::<i64>() {
        let amount = whole.checked_mul(1 << shift).filter(|it| *it >= 0 || whole == -1);
        return amount.map(|it| Some(it.max(-1))).ok_or_else(invalid);
    }
    let part: f64 = digits.parse().map_err(|_| invalid())?;
    let amount = part * f64::from(1u32 << 10).powi(shift / 10);
    if !(0.0..9.0e18).contains(&amount) {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked just before")]
    let amount = amount as i64;
    Ok(Some(amount))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, amount) in [
            ("1048576", 1 << 20),
            ("512m", 512 << 20),
            ("1.5G", 3 << 29),
            ("2GiB", 2 << 30),
            ("10kb", 10 << 10),
            ("7b", 7),
            ("-1", -1),
        ] {
            assert_eq!(bytes("--memory", Some(text)).unwrap(), Some(amount), "{text}");
        }
        for text in ["", "x", "-2", "1q", "99999999999t"] {
            bytes("--memory", Some(text)).map(|_| ()).unwrap_err();
        }
    }
}
