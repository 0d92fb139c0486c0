//! Which devices a container may use: lists of version 1, an eBPF program on version 2.
//!
//! **Invariant:** whatever is asked for, what no rule allows is denied.

use std::os::fd::AsFd;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};
use wadah_sys::bpf::{self, Access, DeviceRule, Kind};

use super::{CgroupError, directory::Directory};

/// The devices that the specification gives every container ("Default Devices"), and the making
/// of any device node, which grants nothing by itself.
const ALWAYS: [DeviceRule; 10] = [
    allow(Kind::Char, None, None, Access::MKNOD),
    allow(Kind::Block, None, None, Access::MKNOD),
    // null, zero, full, random, urandom
    allow(Kind::Char, Some(1), Some(3), Access::all()),
    allow(Kind::Char, Some(1), Some(5), Access::all()),
    allow(Kind::Char, Some(1), Some(7), Access::all()),
    allow(Kind::Char, Some(1), Some(8), Access::all()),
    allow(Kind::Char, Some(1), Some(9), Access::all()),
    // tty, ptmx, and the terminals behind ptmx
    allow(Kind::Char, Some(5), Some(0), Access::all()),
    allow(Kind::Char, Some(5), Some(2), Access::all()),
    allow(Kind::Char, Some(136), None, Access::all()),
];

const fn allow(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> DeviceRule {
    DeviceRule { allow: true, kind, major, minor, access }
}

/// Reads the rules of a specification; a later rule overrides an earlier one.
pub(super) fn rules(
    given: &[LinuxDeviceCgroup],
    with_defaults: bool,
) -> Result<Vec<DeviceRule>, CgroupError> {
    let mut rules = Vec::with_capacity(given.len() + ALWAYS.len() + 1);
    if with_defaults {
        rules.push(DeviceRule { allow: false, kind: Kind::All, ..ALWAYS[0] }.with_all_access());
    }
    for rule in given {
        let rule = rule_of(rule)?;
        // All devices, all ways: what came before does not matter any more.
        if rule.is_total() {
            rules.clear();
        }
        rules.push(rule);
    }
    // Where everything is allowed the defaults are too, and a list of version 1 would say so twice.
    if with_defaults && rules.first().is_some_and(|it| !it.allow) {
        rules.extend(ALWAYS);
    }
    Ok(rules)
}

fn rule_of(rule: &LinuxDeviceCgroup) -> Result<DeviceRule, CgroupError> {
    let invalid = |value: String, reason| CgroupError::Value { resource: "devices", value, reason };
    let kind = match rule.typ() {
        None | Some(LinuxDeviceType::A) => Kind::All,
        Some(LinuxDeviceType::B) => Kind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Char,
        Some(LinuxDeviceType::P) => {
            return Err(invalid("p".to_owned(), "a pipe is not governed by cgroups"));
        }
    };
    let number = |value: Option<i64>| match value {
        None | Some(-1) => Ok(None),
        Some(it) => {
            u32::try_from(it).map(Some).map_err(|_| invalid(it.to_string(), "not a device number"))
        }
    };
    let mut access = Access::empty();
    for letter in rule.access().as_deref().unwrap_or_default().chars() {
        access |= match letter {
            'r' => Access::READ,
            'w' => Access::WRITE,
            'm' => Access::MKNOD,
            other => return Err(invalid(other.to_string(), "access is made of r, w and m")),
        };
    }
    if access.is_empty() {
        access = Access::all();
    }
    Ok(DeviceRule {
        allow: rule.allow(),
        kind,
        major: number(rule.major())?,
        minor: number(rule.minor())?,
        access,
    })
}

/// Writes the rules to `devices.allow` and `devices.deny`, one line at a time, as the kernel reads.
pub(super) fn set_v1(directory: &Directory, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    for rules in rules.chunk_by(|one, other| one.allow == other.allow) {
        let file = if rules[0].allow { "devices.allow" } else { "devices.deny" };
        directory.write_lines(file, rules.iter().flat_map(lines_of))?;
    }
    Ok(())
}

/// The kernel reads `a` as "everything", whatever follows: narrower rules for both kinds are two.
fn lines_of(rule: &DeviceRule) -> Vec<String> {
    let line = |kind: &str| {
        let number = |it: Option<u32>| it.map_or_else(|| "*".to_owned(), |it| it.to_string());
        let mut line = format!("{kind} {}:{} ", number(rule.major), number(rule.minor));
        for (letter, bit) in [('r', Access::READ), ('w', Access::WRITE), ('m', Access::MKNOD)] {
            if rule.access.contains(bit) {
                line.push(letter);
            }
        }
        line
    };
    match rule.kind {
        Kind::All if rule.is_total() => vec!["a".to_owned()],
        Kind::All => vec![line("b"), line("c")],
        Kind::Block => vec![line("b")],
        Kind::Char => vec![line("c")],
    }
}

/// Attaches a program that decides by the rules, and detaches those attached before.
///
/// The new one goes first: between the two both must agree, so nothing is open for a moment.
pub(super) fn set_v2(directory: &Directory, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let failed = |action| {
        move |source| CgroupError::Devices { action, path: directory.path().to_owned(), source }
    };
    let before = bpf::device_programs(directory.as_fd()).map_err(failed("list"))?;
    let program = bpf::load_device_program(rules).map_err(failed("load"))?;
    bpf::attach_device_program(directory.as_fd(), program.as_fd()).map_err(failed("attach"))?;
    for old in before {
        bpf::detach_device_program(directory.as_fd(), old.as_fd()).map_err(failed("detach"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(json: serde_json::Value) -> Vec<String> {
        let given: Vec<LinuxDeviceCgroup> = serde_json::from_value(json).unwrap();
        rules(&given, false)
            .unwrap()
            .iter()
            .flat_map(|it| {
                let verb = if it.allow { "allow" } else { "deny" };
                lines_of(it).into_iter().map(move |line| format!("{verb} {line}"))
            })
            .collect()
    }

    #[test]
    fn rules_become_lines_of_version_1() {
        let lines = lines(serde_json::json!([
            { "allow": true, "type": "c", "major": 10, "access": "rw" },
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
            { "allow": true, "type": "a", "major": 8, "access": "r" },
            { "allow": true, "type": "b", "major": -1, "minor": -1, "access": "m" },
        ]));
        assert_eq!(
            lines,
            ["deny a", "allow c 1:3 rwm", "allow b 8:* r", "allow c 8:* r", "allow b *:* m"],
            "what comes before a rule for everything does not matter"
        );
    }

    #[test]
    fn without_rules_only_the_default_devices_are_allowed() {
        let rules = rules(&[], true).unwrap();
        assert!(!rules[0].allow && rules[0].is_total());
        assert_eq!(rules.len(), 11);
    }

    #[test]
    fn everything_allowed_needs_one_rule() {
        let all = LinuxDeviceCgroup::default();
        let mut all = all;
        all.set_allow(true);
        assert_eq!(rules(&[all], true).unwrap().len(), 1);
    }
}
