//! `features`: what this runtime can do (OCI runtime spec, `features.md`).

use serde_json::json;

use super::{error::CommandError, list::print_json};

/// Options of mounts that are attributes; each may have an `r` before it, to go all the way down.
const ATTRIBUTES: [&str; 18] = [
    "ro",
    "rw",
    "nosuid",
    "suid",
    "nodev",
    "dev",
    "noexec",
    "exec",
    "noatime",
    "atime",
    "strictatime",
    "nostrictatime",
    "relatime",
    "norelatime",
    "nodiratime",
    "diratime",
    "nosymfollow",
    "symfollow",
];
const PROPAGATION: [&str; 8] =
    ["shared", "rshared", "slave", "rslave", "private", "rprivate", "unbindable", "runbindable"];
const OTHERS: [&str; 18] = [
    "acl",
    "async",
    "bind",
    "defaults",
    "dirsync",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noacl",
    "noiversion",
    "nolazytime",
    "nomand",
    "rbind",
    "remount",
    "silent",
    "sync",
    "tmpcopyup",
];
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
const ARCHITECTURES: [&str; 5] =
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"];
const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// Prints it.
pub(super) fn features() -> Result<(), CommandError> {
    print_json(
        &json!({
            "ociVersionMin": "1.0.0",
            "ociVersionMax": "1.2.1",
            "hooks": [
                "prestart", "createRuntime", "createContainer", "startContainer", "poststart",
                "poststop",
            ],
            "mountOptions": mount_options(),
            "linux": {
                "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
                "capabilities": capabilities(),
                "cgroup": {
                    "v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true,
                },
                "seccomp": {
                    "enabled": true,
                    "actions": ACTIONS,
                    "operators": OPERATORS,
                    "archs": ARCHITECTURES,
                    "knownFlags": FLAGS,
                    "supportedFlags": FLAGS,
                },
                "apparmor": { "enabled": true },
                "selinux": { "enabled": true },
                "intelRdt": { "enabled": false },
                "mountExtensions": { "idmap": { "enabled": true } },
            },
            "annotations": { "wadah.version": env!("CARGO_PKG_VERSION") },
            "potentiallyUnsafeConfigAnnotations": [],
        }),
        true,
    )
}

fn mount_options() -> Vec<String> {
    let mut options: Vec<String> = ATTRIBUTES
        .iter()
        .flat_map(|it| [(*it).to_owned(), format!("r{it}")])
        .chain(PROPAGATION.iter().chain(&OTHERS).map(|it| (*it).to_owned()))
        .chain(["idmap".to_owned(), "ridmap".to_owned()])
        .collect();
    options.sort();
    options
}

/// Capabilities by name, in the kernel's order (capabilities(7)).
fn capabilities() -> Vec<&'static str> {
    vec![
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_LINUX_IMMUTABLE",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_BROADCAST",
        "CAP_NET_ADMIN",
        "CAP_NET_RAW",
        "CAP_IPC_LOCK",
        "CAP_IPC_OWNER",
        "CAP_SYS_MODULE",
        "CAP_SYS_RAWIO",
        "CAP_SYS_CHROOT",
        "CAP_SYS_PTRACE",
        "CAP_SYS_PACCT",
        "CAP_SYS_ADMIN",
        "CAP_SYS_BOOT",
        "CAP_SYS_NICE",
        "CAP_SYS_RESOURCE",
        "CAP_SYS_TIME",
        "CAP_SYS_TTY_CONFIG",
        "CAP_MKNOD",
        "CAP_LEASE",
        "CAP_AUDIT_WRITE",
        "CAP_AUDIT_CONTROL",
        "CAP_SETFCAP",
        "CAP_MAC_OVERRIDE",
        "CAP_MAC_ADMIN",
        "CAP_SYSLOG",
        "CAP_WAKE_ALARM",
        "CAP_BLOCK_SUSPEND",
        "CAP_AUDIT_READ",
        "CAP_PERFMON",
        "CAP_BPF",
        "CAP_CHECKPOINT_RESTORE",
    ]
}
