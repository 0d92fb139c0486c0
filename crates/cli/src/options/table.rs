//! The rows of `run` and `create`: the one place that knows these flags.

use bollard_stubs::models::{
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, RestartPolicyNameEnum,
};

use super::{
    Options, Pull, device,
    mode::{namespace, restart, swappiness},
    mounts, network, ports, put,
};
use crate::{
    detach::DetachKeys,
    flag::{Flag, Invalid, push},
    unit,
};

type Row = Flag<Options>;

/// A row whose value is one text.
macro_rules! text {
    ($long:literal, $takes:literal, $help:literal, $($field:ident).+) => {
        Row::text($long, $takes, $help, |o, v| {
            o.$($field).+ = Some(v.to_owned());
            Ok(())
        })
    };
}

/// A row whose values are a list of texts.
macro_rules! list {
    ($long:literal, $help:literal, $($field:ident).+) => {
        Row::text($long, "list", $help, |o, v| {
            push(&mut o.$($field).+, v.to_owned());
            Ok(())
        })
    };
}

/// A row whose value is what a function makes of the text.
macro_rules! value {
    ($long:literal, $takes:literal, $help:literal, $($field:ident).+, $parse:expr) => {
        Row::text($long, $takes, $help, |o, v| {
            o.$($field).+ = Some($parse(v)?);
            Ok(())
        })
    };
}

/// A row that is refused, with the reason.
macro_rules! refused {
    ($long:literal, $takes:literal, $reason:literal) => {
        Row::text($long, $takes, concat!("Refused: ", $reason), |_, _| {
            Err(Invalid($reason.to_owned()))
        })
    };
}

/// What only `run` takes: it stays with the container, or leaves it running.
pub(crate) static FOREGROUND: &[Row] = &[
    Row::switch("detach", "Leave the container running and print its ID", |o, on| o.detach = on)
        .short('d'),
    value!(
        "detach-keys",
        "string",
        "Keys that leave the container running",
        detach_keys,
        DetachKeys::parse
    ),
    Row::switch("sig-proxy", "Pass signals on to the process (default true)", |o, on| {
        o.sig_proxy = Some(on);
    }),
];

/// The container: its name, its image, its life.
pub(crate) static CONTAINER: &[Row] = &[
    text!("name", "string", "Name of the container", name),
    text!("platform", "string", "Platform of the image, os[/arch[/variant]]", platform),
    Row::text("pull", "string", "Pull the image: always, missing or never", |o, v| {
        o.pull = match v {
            "always" => Pull::Always,
            "missing" | "" => Pull::Missing,
            "never" => Pull::Never,
            _ => return Err(Invalid("must be always, missing or never".to_owned())),
        };
        Ok(())
    }),
    Row::switch("quiet", "Do not show the progress of a pull", |o, on| o.quiet = on).short('q'),
    text!("cidfile", "file", "Write the container's ID to this file", cidfile),
    Row::switch("rm", "Remove the container and its anonymous volumes when it ends", |o, on| {
        o.host.auto_remove = Some(on);
    }),
    Row::text(
        "restart",
        "string",
        "When to restart: no, on-failure[:MAX], always, unless-stopped",
        |o, v| {
            let policy = restart(v)?;
            o.restart = policy.name != Some(RestartPolicyNameEnum::NO);
            o.host.restart_policy = Some(policy);
            Ok(())
        },
    ),
    text!("runtime", "string", "OCI runtime that runs the container", host.runtime),
    Row::text("annotation", "map", "Annotation for the OCI runtime", |o, v| {
        put(&mut o.host.annotations, v)
    }),
    Row::text("label", "list", "Label of the container", |o, v| {
        o.labels.push(v.to_owned());
        Ok(())
    })
    .short('l'),
    Row::text("label-file", "list", "File with labels, one in each line", |o, v| {
        o.label_files.push(v.to_owned());
        Ok(())
    }),
    Row::text("log-driver", "string", "Where the container's log goes", |o, v| {
        o.host.log_config.get_or_insert_default().typ = Some(v.to_owned());
        Ok(())
    }),
    Row::text("log-opt", "list", "Option of the log driver", |o, v| {
        let config: &mut HostConfigLogConfig = o.host.log_config.get_or_insert_default();
        put(&mut config.config, v)
    }),
    Row::text("storage-opt", "list", "Option of the storage driver", |o, v| {
        put(&mut o.host.storage_opt, v)
    }),
    Row::switch("disable-content-trust", "Accepted and without effect", |_, _| ()),
];

/// The process: what runs, as whom, where, with which streams.
pub(crate) static PROCESS: &[Row] = &[
    Row::text("attach", "list", "Stream to attach: stdin, stdout or stderr", |o, v| {
        let name = v.to_ascii_lowercase();
        if !["stdin", "stdout", "stderr"].contains(&name.as_str()) {
            let message = "valid streams are STDIN, STDOUT and STDERR";
            return Err(Invalid(message.to_owned()));
        }
        o.attach.push(name);
        Ok(())
    })
    .short('a'),
    Row::switch("interactive", "Keep standard input open", |o, on| o.interactive = on).short('i'),
    Row::switch("tty", "Give the process a terminal", |o, on| o.body.tty = Some(on)).short('t'),
    text!("entrypoint", "string", "Program to run in place of the image's", entrypoint),
    text!("user", "string", "User, and group if need be: NAME|UID[:GROUP|GID]", body.user)
        .short('u'),
    text!("workdir", "string", "Working directory inside the container", body.working_dir)
        .short('w'),
    list!("group-add", "Further group of the process", host.group_add),
    Row::text("env", "list", "Environment variable, NAME=VALUE or NAME to pass ours", |o, v| {
        o.env.push(v.to_owned());
        Ok(())
    })
    .short('e'),
    Row::text("env-file", "list", "File with environment variables, one in each line", |o, v| {
        o.env_files.push(v.to_owned());
        Ok(())
    }),
    Row::switch("init", "Run an init that reaps processes and passes signals on", |o, on| {
        o.host.init = Some(on);
    }),
    text!("stop-signal", "string", "Signal that stops the container", body.stop_signal),
    value!(
        "stop-timeout",
        "int",
        "Seconds between that signal and SIGKILL",
        body.stop_timeout,
        unit::whole
    ),
    Row::text("ulimit", "ulimit", "Limit of the process, NAME=SOFT[:HARD]", |o, v| {
        push(&mut o.host.ulimits, device::ulimit(v)?);
        Ok(())
    }),
];

/// Health checks.
pub(crate) static HEALTH: &[Row] = &[
    Row::text("health-cmd", "string", "Command that checks the container's health", |o, v| {
        o.health.test = Some(vec!["CMD-SHELL".to_owned(), v.to_owned()]);
        Ok(())
    }),
    value!(
        "health-interval",
        "duration",
        "Time between two checks",
        health.interval,
        unit::duration
    ),
    value!(
        "health-retries",
        "int",
        "Failures in a row that make it unhealthy",
        health.retries,
        unit::whole
    ),
    value!(
        "health-start-interval",
        "duration",
        "Time between two checks while it starts",
        health.start_interval,
        unit::duration
    ),
    value!(
        "health-start-period",
        "duration",
        "Time it has to start before failures count",
        health.start_period,
        unit::duration
    ),
    value!(
        "health-timeout",
        "duration",
        "Time that one check may take",
        health.timeout,
        unit::duration
    ),
    Row::switch("no-healthcheck", "Do not use the image's health check", |o, on| {
        o.no_healthcheck = on;
    }),
];

/// What the process may do.
pub(crate) static PRIVILEGES: &[Row] = &[
    list!("cap-add", "Capability to add", host.cap_add),
    list!("cap-drop", "Capability to drop", host.cap_drop),
    Row::switch("privileged", "Lift the restrictions on the container", |o, on| {
        o.host.privileged = Some(on);
    }),
    Row::switch("read-only", "Mount the root filesystem read-only", |o, on| {
        o.host.readonly_rootfs = Some(on);
    }),
    Row::text("security-opt", "list", "Security option", |o, v| {
        o.security.push(v.to_owned());
        Ok(())
    }),
    Row::text("sysctl", "map", "Kernel parameter of the container's namespaces", |o, v| {
        if !v.contains('=') {
            return Err(Invalid(format!("sysctl '{v}' has no value")));
        }
        put(&mut o.host.sysctls, v)
    }),
    text!("ipc", "string", "IPC namespace", host.ipc_mode),
    value!("pid", "string", "PID namespace: host or container:NAME", host.pid_mode, |v| {
        namespace(v, true, "--pid: invalid PID mode")
    }),
    value!("uts", "string", "UTS namespace: host", host.uts_mode, |v| {
        namespace(v, false, "--uts: invalid UTS mode")
    }),
    value!("userns", "string", "User namespace: host, or auto", host.userns_mode, |v: &str| {
        if v.starts_with("auto") {
            Ok(v.to_owned())
        } else {
            namespace(v, false, "--userns: invalid USER mode")
        }
    }),
    value!("cgroupns", "string", "Cgroup namespace: host or private", host.cgroupns_mode, |v| {
        match v {
            "" => Ok(HostConfigCgroupnsModeEnum::EMPTY),
            "host" => Ok(HostConfigCgroupnsModeEnum::HOST),
            "private" => Ok(HostConfigCgroupnsModeEnum::PRIVATE),
            _ => Err(Invalid("--cgroupns: invalid CGROUP mode".to_owned())),
        }
    }),
    text!("cgroup-parent", "string", "Cgroup above the container's", host.cgroup_parent),
];

/// What the container may use up.
pub(crate) static RESOURCES: &[Row] = &[
    value!("memory", "bytes", "Limit of memory", host.memory, unit::bytes).short('m'),
    value!(
        "memory-reservation",
        "bytes",
        "Soft limit of memory",
        host.memory_reservation,
        unit::bytes
    ),
    value!(
        "memory-swap",
        "bytes",
        "Limit of memory and swap together; -1 for no limit",
        host.memory_swap,
        unit::bytes_or_unlimited
    ),
    value!(
        "memory-swappiness",
        "int",
        "How readily memory is swapped out (0 to 100)",
        host.memory_swappiness,
        swappiness
    ),
    Row::text(
        "kernel-memory",
        "bytes",
        "Accepted and without effect: kernels no longer have it",
        |_, v| unit::bytes(v).map(drop),
    ),
    value!("shm-size", "bytes", "Size of /dev/shm", host.shm_size, unit::bytes),
    value!("cpus", "decimal", "Number of CPUs", host.nano_cpus, unit::nano_cpus),
    value!("cpu-period", "int", "Length of a CFS period, in µs", host.cpu_period, unit::whole),
    value!("cpu-quota", "int", "CPU time in a CFS period, in µs", host.cpu_quota, unit::whole),
    value!(
        "cpu-rt-period",
        "int",
        "Length of a real-time period, in µs",
        host.cpu_realtime_period,
        unit::whole
    ),
    value!(
        "cpu-rt-runtime",
        "int",
        "CPU time in a real-time period, in µs",
        host.cpu_realtime_runtime,
        unit::whole
    ),
    value!("cpu-shares", "int", "CPU weight relative to others", host.cpu_shares, unit::whole)
        .short('c'),
    text!("cpuset-cpus", "string", "CPUs to run on (0-3, 0,1)", host.cpuset_cpus),
    text!("cpuset-mems", "string", "Memory nodes to use (0-3, 0,1)", host.cpuset_mems),
    value!(
        "pids-limit",
        "int",
        "Limit of processes; -1 for no limit",
        host.pids_limit,
        unit::whole
    ),
    value!(
        "oom-score-adj",
        "int",
        "How readily the kernel kills it (-1000 to 1000)",
        host.oom_score_adj,
        unit::whole
    ),
    Row::switch("oom-kill-disable", "Do not kill it when memory runs out", |o, on| {
        o.host.oom_kill_disable = Some(on);
    }),
    value!(
        "blkio-weight",
        "uint16",
        "Block I/O weight, 10 to 1000, or 0 for none",
        host.blkio_weight,
        device::weight
    ),
    Row::text(
        "blkio-weight-device",
        "list",
        "Block I/O weight of a device, PATH:WEIGHT",
        |o, v| {
            push(&mut o.host.blkio_weight_device, device::weighted(v)?);
            Ok(())
        },
    ),
    Row::text("device-read-bps", "list", "Limit of reading from a device, PATH:BYTES", |o, v| {
        push(&mut o.host.blkio_device_read_bps, device::throttle(v, unit::bytes)?);
        Ok(())
    }),
    Row::text("device-write-bps", "list", "Limit of writing to a device, PATH:BYTES", |o, v| {
        push(&mut o.host.blkio_device_write_bps, device::throttle(v, unit::bytes)?);
        Ok(())
    }),
    Row::text("device-read-iops", "list", "Limit of reads from a device, PATH:NUMBER", |o, v| {
        push(&mut o.host.blkio_device_read_iops, device::throttle(v, unit::whole)?);
        Ok(())
    }),
    Row::text("device-write-iops", "list", "Limit of writes to a device, PATH:NUMBER", |o, v| {
        push(&mut o.host.blkio_device_write_iops, device::throttle(v, unit::whole)?);
        Ok(())
    }),
];

/// Files and devices of the host.
pub(crate) static FILES: &[Row] = &[
    Row::text("volume", "list", "Mount SOURCE:TARGET[:OPTIONS]", |o, v| {
        o.volumes.push(mounts::volume(v)?);
        Ok(())
    })
    .short('v'),
    Row::text("mount", "mount", "Mount type=bind|tmpfs|volume,source=…,target=…", |o, v| {
        push(&mut o.host.mounts, mounts::mount(v)?);
        Ok(())
    }),
    Row::text("tmpfs", "list", "Mount a tmpfs, TARGET[:OPTIONS]", |o, v| {
        let (path, options) = v.split_once(':').unwrap_or((v, ""));
        o.host.tmpfs.get_or_insert_default().insert(path.to_owned(), options.to_owned());
        Ok(())
    }),
    list!("volumes-from", "Mount the volumes of this container", host.volumes_from),
    text!("volume-driver", "string", "Driver of the volumes that are created", host.volume_driver),
    Row::text("device", "list", "Device of the host, PATH[:PATH[:rwm]]", |o, v| {
        if device::is_cdi(v) {
            o.cdi.push(v.to_owned());
        } else {
            push(&mut o.host.devices, device::mapping(v)?);
        }
        Ok(())
    }),
    list!("device-cgroup-rule", "Rule about devices for the cgroup", host.device_cgroup_rules),
];

/// Networks, names and ports.
pub(crate) static NETWORK: &[Row] = &[
    Row::text("network", "network", "Network to connect to", |o, v| {
        o.networks.push(network::attachment(v)?);
        Ok(())
    }),
    Row::text("net", "network", "The same as --network", |o, v| {
        o.networks.push(network::attachment(v)?);
        Ok(())
    }),
    Row::text("network-alias", "list", "Name of the container on the network", |o, v| {
        o.endpoint.aliases.push(v.to_owned());
        Ok(())
    }),
    Row::text("net-alias", "list", "The same as --network-alias", |o, v| {
        o.endpoint.aliases.push(v.to_owned());
        Ok(())
    }),
    value!("ip", "string", "IPv4 address on the network", endpoint.ip, network::address),
    value!("ip6", "string", "IPv6 address on the network", endpoint.ip6, network::address),
    Row::text("link-local-ip", "list", "Link-local address on the network", |o, v| {
        o.endpoint.link_local.push(network::address(v)?);
        Ok(())
    }),
    value!("mac-address", "string", "MAC address on the network", endpoint.mac, network::mac),
    list!("link", "Container to know by name", host.links),
    Row::text("publish", "list", "Publish a port, [[IP:]HOST:]CONTAINER[/PROTOCOL]", |o, v| {
        o.published.extend(ports::published(v)?);
        Ok(())
    })
    .short('p'),
    Row::switch("publish-all", "Publish all exposed ports", |o, on| {
        o.host.publish_all_ports = Some(on);
    })
    .short('P'),
    Row::text("expose", "list", "Port or range that the container listens on", |o, v| {
        o.exposed.extend(ports::exposed(v)?);
        Ok(())
    }),
    text!("hostname", "string", "Host name of the container", body.hostname).short('h'),
    text!("domainname", "string", "Domain name of the container", body.domainname),
    Row::text("add-host", "list", "Entry for /etc/hosts, NAME:IP", |o, v| {
        push(&mut o.host.extra_hosts, network::extra_host(v)?);
        Ok(())
    }),
    Row::text("dns", "list", "DNS server", |o, v| {
        push(&mut o.host.dns, network::address(v)?);
        Ok(())
    }),
    list!("dns-option", "DNS option", host.dns_options),
    list!("dns-opt", "The same as --dns-option", host.dns_options),
    list!("dns-search", "DNS search domain", host.dns_search),
];

/// What Docker's client takes and a Linux host, or this release, cannot do.
pub(crate) static REFUSED: &[Row] = &[
    refused!("gpus", "gpu-request", "GPUs need a vendor's CDI description; name it with --device"),
    refused!("isolation", "string", "isolation technologies exist only on Windows"),
    refused!("cpu-count", "int", "exists only on Windows; use --cpus"),
    refused!("cpu-percent", "int", "exists only on Windows; use --cpus"),
    refused!("io-maxbandwidth", "bytes", "exists only on Windows; use --device-write-bps"),
    refused!("io-maxiops", "uint", "exists only on Windows; use --device-write-iops"),
    Row::switch("use-api-socket", "Refused: mount the daemon's socket with -v", |o, on| {
        o.api_socket = on
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_share_a_name() {
        let tables = [
            FOREGROUND, CONTAINER, PROCESS, HEALTH, PRIVILEGES, RESOURCES, FILES, NETWORK, REFUSED,
        ];
        let rows: Vec<_> = tables.iter().flat_map(|it| it.iter()).map(|it| it.names).collect();
        for (index, row) in rows.iter().enumerate() {
            let others = &rows[index + 1..];
            assert!(others.iter().all(|it| it.long != row.long), "--{} twice", row.long);
            assert!(
                row.short.is_none() || others.iter().all(|it| it.short != row.short),
                "{:?} twice",
                row.short
            );
        }
    }
}
