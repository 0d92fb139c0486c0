//! `spec`: a specification to start from.

use std::path::Path;

use serde_json::{Value, json};

use super::{error::CommandError, flags::Spec, state};

/// Writes `config.json` into the bundle.
pub(super) fn spec(flags: &Spec) -> Result<(), CommandError> {
    let path = flags.bundle.join("config.json");
    if path.exists() {
        return Err(CommandError::SpecExists { path });
    }
    write(&path, &specification(flags.rootless))
}

fn write(path: &Path, value: &Value) -> Result<(), CommandError> {
    let mut text = serde_json::to_string_pretty(value).expect("BUG: JSON that cannot be written");
    text.push('\n');
    state::replace(path, text.as_bytes())
}

fn specification(rootless: bool) -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
        .map(|it| json!({ "type": it }))
        .to_vec();
    let mut linux = json!({
        "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
        "maskedPaths": [
            "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
            "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
            "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
        ],
        "readonlyPaths": [
            "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
        ],
    });
    if rootless {
        namespaces.retain(|it| it["type"] != "network");
        namespaces.push(json!({ "type": "user" }));
        let map = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 1 }]);
        linux["uidMappings"] = map(rustix::process::geteuid().as_raw());
        linux["gidMappings"] = map(rustix::process::getegid().as_raw());
        linux["resources"] = Value::Null;
    }
    linux["namespaces"] = json!(namespaces);
    json!({
        "ociVersion": "1.2.1",
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "wadah",
        "mounts": mounts(rootless),
        "linux": linux,
    })
}

fn mounts(rootless: bool) -> Value {
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| json!({ "destination": destination, "type": kind, "source": source, "options": options });
    let locked = ["nosuid", "noexec", "nodev"];
    let pts: &[&str] = &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let sys = if rootless {
        mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"])
    } else {
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"])
    };
    json!([
        mount("/proc", "proc", "proc", &[]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", if rootless { &pts[..5] } else { pts }),
        mount(
            "/dev/shm",
            "tmpfs",
            "shm",
            &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &locked),
        sys,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", "ro"]
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_valid_specification() {
        for rootless in [false, true] {
            let mut value = specification(rootless);
            if rootless {
                value["linux"].as_object_mut().unwrap().remove("resources");
            }
            let spec: oci_spec::runtime::Spec = serde_json::from_value(value).unwrap();
            assert_eq!(spec.hostname().as_deref(), Some("wadah"));
            assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
        }
    }
}
