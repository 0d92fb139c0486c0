//! Capabilities: the default ones, all of them, and what is added or dropped.

use crate::EngineError;

/// The ones a container has by default: Docker's fourteen.
const DEFAULT: &[&str] = &[
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// All of them, in the order of capabilities(7).
const ALL: &[&str] = &[
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_READ",
    "CAP_AUDIT_WRITE",
    "CAP_BLOCK_SUSPEND",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_KILL",
    "CAP_LEASE",
    "CAP_LINUX_IMMUTABLE",
    "CAP_MAC_ADMIN",
    "CAP_MAC_OVERRIDE",
    "CAP_MKNOD",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_PERFMON",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYSLOG",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_CHROOT",
    "CAP_SYS_MODULE",
    "CAP_SYS_NICE",
    "CAP_SYS_PACCT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_WAKE_ALARM",
];

/// What a container has.
pub(crate) fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<Vec<&'static str>, EngineError> {
    let (add, drop) = (names(add)?, names(drop)?);
    if privileged {
        return Ok(ALL.to_vec());
    }
    let base = match (add.contains(&"ALL"), drop.contains(&"ALL")) {
        (true, _) => ALL,
        (false, true) => &[],
        (false, false) => DEFAULT,
    };
    let kept = |it: &&str| base.contains(it) && !drop.contains(it) || add.contains(it);
    Ok(ALL.iter().copied().filter(kept).collect())
}

/// All of them.
pub(crate) fn all() -> Vec<&'static str> {
    ALL.to_vec()
}

fn names(asked: &[String]) -> Result<Vec<&'static str>, EngineError> {
    asked.iter().map(|it| name(it)).collect()
}

fn name(asked: &str) -> Result<&'static str, EngineError> {
    let upper = asked.trim().to_ascii_uppercase();
    if upper == "ALL" {
        return Ok("ALL");
    }
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = ALL.iter().find(|it| it.strip_prefix("CAP_") == Some(short));
    found.copied().ok_or_else(|| EngineError::invalid(format!("unknown capability: \"{asked}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(add: &[&str], drop: &[&str]) -> Vec<&'static str> {
        let owned = |it: &[&str]| it.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        resolve(&owned(add), &owned(drop), false).unwrap()
    }

    #[test]
    fn what_is_added_or_dropped_counts_from_the_default() {
        assert_eq!(resolved(&[], &[]), DEFAULT);
        assert_eq!(resolved(&["net_admin"], &["ALL"]), ["CAP_NET_ADMIN"]);
        assert_eq!(resolved(&["ALL"], &["CAP_SYS_ADMIN"]).len(), ALL.len() - 1);
        assert!(!resolved(&[], &["CHOWN"]).contains(&"CAP_CHOWN"));
    }

    #[test]
    fn an_unknown_capability_is_named() {
        let error = resolve(&["FLY".to_owned()], &[], false).unwrap_err();
        assert_eq!(error.to_string(), "unknown capability: \"FLY\"");
    }
}
