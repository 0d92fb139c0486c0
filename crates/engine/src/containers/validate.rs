//! What cannot be asked of a container, in Docker's words.
//!
//! Three kinds: what makes no sense, what contradicts itself, and what this release cannot do yet
//! ([`crate::EngineError::Unsupported`]). Nothing that would change behaviour is passed over.

use std::thread;

use crate::{
    EngineError,
    config::{Config, EndpointConfig, HostConfig, IpcMode, NetworkMode, Resources, RestartPolicy},
    signal,
    spec::{devices, mounts, process, security::Security},
};

use super::log_options;

/// The least memory a container can be limited to: 6 MiB.
const MEMORY_MINIMUM: i64 = 6 << 20;

type Check = Result<(), EngineError>;

/// Checks what a client asked for, before the image's defaults are merged in.
pub(super) fn check(config: &Config, host: &HostConfig) -> Check {
    check_config(config)?;
    check_supported(config, host)?;
    check_conflicts(config, host)?;
    check_memory(&host.resources)?;
    check_processor(&host.resources)?;
    check_rest(&host.resources)?;
    process::check_limits(&host.resources.ulimits)?;
    devices::check(host)?;
    mounts::asked(host)?;
    mounts::check_sources(host)?;
    log_options::parse(&host.log)?;
    Security::of(host)?;
    Ok(())
}

fn refuse(holds: bool, message: impl FnOnce() -> String) -> Check {
    if holds { Err(EngineError::invalid(message())) } else { Ok(()) }
}

fn check_config(config: &Config) -> Check {
    let Config { working_dir, env, hostname, domainname, stop_signal, stop_timeout, .. } = config;
    refuse(!working_dir.is_empty() && !working_dir.starts_with('/'), || {
        format!("the working directory '{working_dir}' is invalid, it needs to be an absolute path")
    })?;
    for variable in env {
        refuse(variable.is_empty() || variable.starts_with('='), || {
            format!("invalid environment variable: {variable}")
        })?;
        refuse(variable.contains('\0'), || {
            format!("invalid environment variable: {variable:?} contains a NUL")
        })?;
    }
    for name in [hostname, domainname] {
        refuse(!is_host_name(name), || format!("invalid hostname format: {name}"))?;
    }
    if let Some(name) = stop_signal {
        signal::parse(name)?;
    }
    refuse(stop_timeout.is_some_and(|it| it > i64::from(i32::MAX)), || {
        format!("invalid stop timeout: {}", stop_timeout.unwrap_or_default())
    })
}

/// Whether a name can be a host's: it goes into `/etc/hosts` and `/etc/hostname`.
fn is_host_name(name: &str) -> bool {
    let is_inner = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
    name.len() <= 64 && name.chars().all(is_inner) && !name.starts_with(['-', '.'])
}

fn check_supported(config: &Config, host: &HostConfig) -> Check {
    let limits = &host.resources;
    let health = config.healthcheck.as_ref().map(|it| it.test.as_slice()).unwrap_or_default();
    let absent = [
        (!health.is_empty() && health[0] != "NONE", "a health check (--health-cmd)"),
        (!config.volumes.is_empty(), "an anonymous volume (Volumes)"),
        (config.mac_address.as_deref().is_some_and(|it| !it.is_empty()), "--mac-address"),
        (!host.volumes_from.is_empty(), "--volumes-from"),
        (!matches!(host.volume_driver.as_str(), "" | "local"), "--volume-driver"),
        (!host.storage_options.is_empty(), "--storage-opt"),
        (!host.links.is_empty(), "--link"),
        (!matches!(host.userns_mode.as_str(), "" | "host"), "--userns"),
        (!host.cgroup_parent.is_empty(), "--cgroup-parent"),
        (matches!(host.ipc_mode, IpcMode::Container(_)), "--ipc container:"),
        (!limits.device_requests.is_empty(), "a device request (--gpus, CDI)"),
        (limits.kernel_memory > 0, "--kernel-memory"),
        (!matches!(host.isolation.as_str(), "" | "default"), "--isolation"),
    ];
    if let Some((_, option)) = absent.into_iter().find(|(asked, _)| *asked) {
        return Err(EngineError::unsupported(option));
    }
    match host.runtime.as_str() {
        "" | "wadah" => Ok(()),
        runtime => Err(EngineError::invalid(format!("unknown or invalid runtime name: {runtime}"))),
    }
}

/// Checks what is asked of networks.
pub(super) fn check_endpoint(name: &str, endpoint: &EndpointConfig) -> Check {
    let absent = [
        (endpoint.ipv4_address.is_some(), "an IPv4 address (--ip)"),
        (endpoint.ipv6_address.is_some(), "an IPv6 address (--ip6)"),
        (!endpoint.aliases.is_empty(), "an alias (--network-alias)"),
        (!endpoint.links.is_empty(), "a link (--link)"),
        (endpoint.mac_address.as_deref().is_some_and(|it| !it.is_empty()), "--mac-address"),
        (!endpoint.driver_options.is_empty(), "an option of the network's driver"),
    ];
    match absent.into_iter().find(|(asked, _)| *asked) {
        Some((_, option)) => {
            Err(EngineError::unsupported(format!("{option} in the network {name}")))
        }
        None => Ok(()),
    }
}

fn check_conflicts(config: &Config, host: &HostConfig) -> Check {
    let is_container = matches!(host.network_mode, NetworkMode::Container(_));
    refuse(host.auto_remove && host.restart_policy != RestartPolicy::No, || {
        "can't create 'AutoRemove' container with restart policy".to_owned()
    })?;
    refuse(is_container && !config.hostname.is_empty(), || {
        "conflicting options: hostname and the network mode".to_owned()
    })?;
    let publishes = host.publish_all_ports || !host.port_bindings.is_empty();
    refuse(is_container && publishes, || {
        "conflicting options: port publishing and the container type network mode".to_owned()
    })?;
    refuse(is_container && !(host.dns.is_empty() && host.extra_hosts.is_empty()), || {
        "conflicting options: dns or custom host-to-IP mapping and the network mode".to_owned()
    })?;
    check_texts(host)
}

/// Checks what goes into files and kernel parameters.
fn check_texts(host: &HostConfig) -> Check {
    for entry in &host.extra_hosts {
        let parts = entry.split_once([':', '=']);
        let fits = |name: &str, to: &str| {
            !name.is_empty() && !to.is_empty() && !entry.chars().any(char::is_control)
        };
        refuse(!parts.is_some_and(|(name, to)| fits(name, to)), || {
            format!("bad format for add-host: \"{entry}\"")
        })?;
    }
    for server in &host.dns {
        refuse(server.parse::<std::net::IpAddr>().is_err(), || {
            format!("{server} is not an ip address")
        })?;
    }
    for text in host.dns_search.iter().chain(&host.dns_options) {
        refuse(text.chars().any(|it| it.is_control() || it.is_whitespace()), || {
            format!("{text:?} is not a valid domain or option")
        })?;
    }
    for (name, value) in &host.sysctls {
        refuse(name.chars().chain(value.chars()).any(char::is_control), || {
            format!("invalid sysctl: {name:?}={value:?}")
        })?;
        refuse(host.network_mode == NetworkMode::Host && name.starts_with("net."), || {
            format!("sysctl \"{name}\" not allowed in host network namespace")
        })?;
    }
    Ok(())
}

fn check_memory(limits: &Resources) -> Check {
    let Resources { memory, memory_reservation, memory_swap, memory_swappiness, .. } = *limits;
    refuse(memory != 0 && memory < MEMORY_MINIMUM, || {
        "Minimum memory limit allowed is 6MB".to_owned()
    })?;
    refuse(memory > 0 && memory_swap > 0 && memory_swap < memory, || {
        "Minimum memoryswap limit should be larger than memory limit, see usage".to_owned()
    })?;
    refuse(memory == 0 && memory_swap > 0, || {
        "You should always set the Memory limit when using Memoryswap limit, see usage".to_owned()
    })?;
    refuse(memory_swap < -1, || format!("Invalid value: {memory_swap} for memory swap"))?;
    refuse(memory_swappiness.is_some_and(|it| !(-1..=100).contains(&it)), || {
        let value = memory_swappiness.unwrap_or_default();
        format!("Invalid value: {value}, valid memory swappiness range is 0-100")
    })?;
    refuse(memory_reservation != 0 && memory_reservation < MEMORY_MINIMUM, || {
        "Minimum memory reservation allowed is 6MB".to_owned()
    })?;
    refuse(memory > 0 && memory_reservation > memory, || {
        "Minimum memory limit can not be less than memory reservation limit, see usage".to_owned()
    })
}

fn check_processor(limits: &Resources) -> Check {
    let Resources { nano_cpus, cpu_period, cpu_quota, cpu_shares, .. } = *limits;
    refuse(nano_cpus > 0 && cpu_period > 0, || {
        "Conflicting options: Nano CPUs and CPU Period cannot both be set".to_owned()
    })?;
    refuse(nano_cpus > 0 && cpu_quota > 0, || {
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set".to_owned()
    })?;
    let available = thread::available_parallelism().map_or(1, |it| it.get() as i64);
    refuse(nano_cpus < 0 || nano_cpus > available * 1_000_000_000, || {
        format!(
            "range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs \
             available"
        )
    })?;
    refuse(cpu_shares < 0, || {
        format!("invalid CPU shares ({cpu_shares}): value must be a positive integer")
    })?;
    refuse(cpu_period != 0 && !(1000..=1_000_000).contains(&cpu_period), || {
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
            .to_owned()
    })?;
    refuse(cpu_quota > 0 && cpu_quota < 1000, || {
        "CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned()
    })?;
    for (value, kind) in [(&limits.cpuset_cpus, "cpus"), (&limits.cpuset_mems, "mems")] {
        refuse(!is_set(value), || format!("Invalid value {value} for cpuset {kind}"))?;
    }
    Ok(())
}

/// Whether a text is a list of numbers and ranges, as in `0-2,4`.
fn is_set(text: &str) -> bool {
    let number = |it: &str| it.parse::<u16>().ok();
    let part = |it: &str| match it.split_once('-') {
        None => number(it).is_some(),
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) => first <= last,
            _ => false,
        },
    };
    text.is_empty() || text.split(',').all(part)
}

fn check_rest(limits: &Resources) -> Check {
    let score = limits.oom_score_adj;
    refuse(!(-1000..=1000).contains(&score), || {
        format!("Invalid value {score}, range for oom score adj is [-1000, 1000]")
    })?;
    let weights = limits.blkio_weight_device.iter().map(|it| it.weight);
    for weight in weights.chain([limits.blkio_weight]) {
        refuse(weight != 0 && !(10..=1000).contains(&weight), || {
            "Range of blkio weight is from 10 to 1000".to_owned()
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(resources: Resources) -> String {
        let host = HostConfig { resources, ..HostConfig::default() };
        check(&Config::default(), &host).map_or_else(|it| it.to_string(), |()| "passed".to_owned())
    }

    #[test]
    fn limits_that_make_no_sense_are_refused_in_dockers_words() {
        let usual = Resources::default;
        assert_eq!(refused(usual()), "passed");
        assert_eq!(
            refused(Resources { memory: 1, ..usual() }),
            "Minimum memory limit allowed is 6MB"
        );
        assert!(refused(Resources { memory_swap: 1, ..usual() }).starts_with("You should always"));
        assert!(refused(Resources { nano_cpus: i64::MAX, ..usual() }).starts_with("range of CPUs"));
        assert_eq!(
            refused(Resources { cpuset_cpus: "2-1".to_owned(), ..usual() }),
            "Invalid value 2-1 for cpuset cpus"
        );
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let links = vec!["a:b".to_owned()];
        let error = check(&Config::default(), &HostConfig { links, ..HostConfig::default() });
        assert_eq!(error.unwrap_err().to_string(), "--link is not supported yet");
    }

    #[test]
    fn a_newline_reaches_neither_hosts_nor_sysctls() {
        let extra_hosts = vec!["a:1.2.3.4\n5.6.7.8 b".to_owned()];
        let host = HostConfig { extra_hosts, ..HostConfig::default() };
        assert!(check(&Config::default(), &host).is_err());
        let hostname = "a\nb".to_owned();
        let config = Config { hostname, ..Config::default() };
        assert!(check(&config, &HostConfig::default()).is_err());
        let sysctls = [("net.a".to_owned(), "1\nkernel.core_pattern=|x".to_owned())].into();
        let host = HostConfig { sysctls, ..HostConfig::default() };
        assert!(check(&Config::default(), &host).is_err());
    }
}
