//! Capabilities: names to bits, clamped to what there is to give.

use oci_spec::runtime as spec;
use rustix::thread::{CapabilitySet, capability_is_in_bounding_set};

use crate::CreateError;

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// What it can ever have.
    pub(crate) bounding: CapabilitySet,
    /// What counts now.
    pub(crate) effective: CapabilitySet,
    /// What it may raise.
    pub(crate) permitted: CapabilitySet,
    /// What files may add to.
    pub(crate) inheritable: CapabilitySet,
    /// What survives `execve` without file capabilities.
    pub(crate) ambient: CapabilitySet,
}

/// In the order of their numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

impl Capabilities {
    const NONE: Self = Self {
        bounding: CapabilitySet::empty(),
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
        ambient: CapabilitySet::empty(),
    };

    /// Plans the sets. What the bounding set of this very process lacks cannot be given: it is left
    /// out with a warning, as is what the kernel would refuse (ambient beyond the permitted or
    /// inheritable, effective beyond the permitted).
    pub(super) fn plan(
        asked: Option<&spec::LinuxCapabilities>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, CreateError> {
        let Some(asked) = asked else { return Ok(Self::NONE) };
        let ceiling = host_bounding();
        let set = |names: &Option<spec::Capabilities>| {
            names.as_ref().map_or(CapabilitySet::empty(), bits)
        };
        let wanted = set(asked.bounding()) | set(asked.permitted());
        let missing = wanted.difference(ceiling);
        if !missing.is_empty() {
            warnings.push(format!("capabilities this host cannot give: {}", names_of(missing)));
        }
        let bounding = set(asked.bounding()) & ceiling;
        let permitted = set(asked.permitted()) & ceiling;
        let inheritable = set(asked.inheritable()) & ceiling;
        let ambient = set(asked.ambient()) & permitted & inheritable;
        let lost = (set(asked.ambient()) & ceiling).difference(ambient);
        if !lost.is_empty() {
            let names = names_of(lost);
            warnings.push(format!("ambient capabilities not permitted and inheritable: {names}"));
        }
        let effective = set(asked.effective()) & permitted;
        Ok(Self { bounding, effective, permitted, inheritable, ambient })
    }
}

/// The capabilities that processes of this process can have.
pub(crate) fn host_bounding() -> CapabilitySet {
    each(CapabilitySet::from_bits_retain((1 << NAMES.len()) - 1))
        .filter(|it| capability_is_in_bounding_set(*it).unwrap_or(false))
        .fold(CapabilitySet::empty(), CapabilitySet::union)
}

/// The single capabilities of a set, those of kernels to come too.
pub(crate) fn each(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|it| CapabilitySet::from_bits_retain(1 << it))
        .filter(move |it| set.contains(*it))
}

fn bits(names: &spec::Capabilities) -> CapabilitySet {
    let bit = |name: &spec::Capability| {
        let name = name.to_string();
        NAMES.iter().position(|it| *it == name).map(|it| CapabilitySet::from_bits_retain(1 << it))
    };
    names.iter().filter_map(bit).fold(CapabilitySet::empty(), CapabilitySet::union)
}

fn names_of(set: CapabilitySet) -> String {
    let named = NAMES.iter().enumerate();
    let held = named.filter(|(it, _)| set.bits() & (1 << it) != 0);
    held.map(|(_, name)| format!("CAP_{name}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_bit() {
        for (bit, name) in NAMES.iter().enumerate() {
            let json = format!("[\"CAP_{name}\"]");
            let parsed: spec::Capabilities = serde_json::from_str(&json).unwrap();
            assert_eq!(bits(&parsed).bits(), 1 << bit, "{name}");
        }
        assert_eq!(bits(&[spec::Capability::SysAdmin].into()), CapabilitySet::SYS_ADMIN);
    }
}
