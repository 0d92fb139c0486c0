//! Compiling the profile of an OCI specification.
//!
//! It follows runc where the specification leaves room: several conditions on one argument are
//! alternatives, calls newer than the profile are unknown rather than forbidden, names that no
//! architecture has are passed over (profiles name the calls of all).

use std::collections::HashMap;

use oci_spec::runtime::{
    Arch as SpecArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSeccompOperator, LinuxSyscall,
};
use wadah_sys::seccomp::{Action, Arch, Comparison, Condition, Flags, Policy};

use super::{Listener, Program, SeccompError};

const EPERM: u32 = 1;
const ENOSYS: Action = Action::Errno(38);

pub(super) fn compile(profile: &LinuxSeccomp) -> Result<(Program, Vec<String>), SeccompError> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    if default == Action::Notify {
        return Err(SeccompError::NotifyByDefault);
    }
    let mut policy = Policy::new(default, &architectures(profile));
    if !matches!(default, Action::Allow | Action::Log) && default != ENOSYS {
        policy.newer(ENOSYS);
    }
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    for rule in rules {
        check_notify(rule, profile)?;
        add(&mut policy, rule)?;
    }
    let filter = policy.compile().map_err(|source| SeccompError::Compile { source })?;
    let listener = listener(profile, rules);
    let flags = flags(profile, listener.is_some());
    Ok((Program { filter, flags, listener }, overlaps(rules)))
}

/// The native architecture, always, and those the profile names that this kernel could run.
fn architectures(profile: &LinuxSeccomp) -> Vec<Arch> {
    let named = profile.architectures().as_deref().unwrap_or_default();
    let known = named.iter().filter_map(|it| match it {
        SpecArch::ScmpArchX86_64 => Some(Arch::X86_64),
        SpecArch::ScmpArchX86 => Some(Arch::X86),
        SpecArch::ScmpArchX32 => Some(Arch::X32),
        SpecArch::ScmpArchAarch64 => Some(Arch::Aarch64),
        SpecArch::ScmpArchArm => Some(Arch::Arm),
        SpecArch::ScmpArchNative => Some(Arch::NATIVE),
        _ => None,
    });
    std::iter::once(Arch::NATIVE).chain(known).collect()
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Action, SeccompError> {
    let value = errno.unwrap_or(EPERM);
    let value = u16::try_from(value).map_err(|_| SeccompError::Errno { value })?;
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Action::KillThread
        }
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActErrno => Action::Errno(value),
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
        LinuxSeccompAction::ScmpActTrace => Action::Trace(value),
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
    })
}

/// After the filter is loaded the runtime still writes, sends, drops capabilities and executes;
/// a notification for one of these would wait for an agent that does not have the listener yet.
fn check_notify(rule: &LinuxSyscall, profile: &LinuxSeccomp) -> Result<(), SeccompError> {
    if rule.action() != LinuxSeccompAction::ScmpActNotify {
        return Ok(());
    }
    let needed = rule.names().iter().find(|it| matches!(it.as_str(), "write" | "sendmsg"));
    if let Some(call) = needed {
        return Err(SeccompError::Notify { call: call.clone() });
    }
    match rule.names().first() {
        Some(call) if profile.listener_path().is_none() => {
            Err(SeccompError::NoListener { call: call.clone() })
        }
        _ => Ok(()),
    }
}

fn add(policy: &mut Policy, rule: &LinuxSyscall) -> Result<(), SeccompError> {
    let action = action(rule.action(), rule.errno_ret())?;
    let args = rule.args().as_deref().unwrap_or_default();
    for name in rule.names() {
        let conditions =
            args.iter().map(|it| condition(name, it)).collect::<Result<Vec<Condition>, _>>()?;
        if repeats(&conditions) {
            for alternative in conditions.chunks(1) {
                policy.add(name, action, alternative);
            }
        } else {
            policy.add(name, action, &conditions);
        }
    }
    Ok(())
}

fn condition(call: &str, arg: &LinuxSeccompArg) -> Result<Condition, SeccompError> {
    let index = arg.index();
    let out_of_range = || SeccompError::Argument { call: call.to_owned(), index };
    let argument = u8::try_from(index).ok().filter(|it| *it < 6).ok_or_else(out_of_range)?;
    let value = arg.value();
    let comparison = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => Comparison::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Comparison::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Comparison::LessOrEqual(value),
        LinuxSeccompOperator::ScmpCmpEq => Comparison::Equal(value),
        LinuxSeccompOperator::ScmpCmpGe => Comparison::GreaterOrEqual(value),
        LinuxSeccompOperator::ScmpCmpGt => Comparison::Greater(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Comparison::MaskedEqual { mask: value, value: arg.value_two().unwrap_or(0) }
        }
    };
    Ok(Condition { argument, comparison })
}

fn repeats(conditions: &[Condition]) -> bool {
    (1..conditions.len())
        .any(|at| conditions[..at].iter().any(|it| it.argument == conditions[at].argument))
}

fn listener(profile: &LinuxSeccomp, rules: &[LinuxSyscall]) -> Option<Listener> {
    let path = profile.listener_path().clone()?;
    let notifies = rules.iter().any(|it| it.action() == LinuxSeccompAction::ScmpActNotify);
    let metadata = profile.listener_metadata().clone();
    notifies.then_some(Listener { path, metadata })
}

fn flags(profile: &LinuxSeccomp, listens: bool) -> Flags {
    let mut flags = match profile.flags() {
        // As runc: a filter is no reason to slow the processor down, unless asked for.
        None => Flags::SPEC_ALLOW,
        Some(given) => given.iter().fold(Flags::empty(), |flags, it| flags | flag(it)),
    };
    if listens {
        flags |= Flags::NEW_LISTENER;
        if flags.contains(Flags::TSYNC) {
            flags |= Flags::TSYNC_ESRCH;
        }
    } else {
        flags -= Flags::WAIT_KILLABLE_RECV;
    }
    flags
}

fn flag(flag: &LinuxSeccompFilterFlag) -> Flags {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Flags::LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Flags::TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Flags::SPEC_ALLOW,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Flags::WAIT_KILLABLE_RECV,
    }
}

/// Warns of calls that have rules with and without conditions of different effect: runtimes on
/// libseccomp forget the conditional ones.
fn overlaps(rules: &[LinuxSyscall]) -> Vec<String> {
    let mut plain: HashMap<&str, LinuxSeccompAction> = HashMap::new();
    let has_args = |it: &&LinuxSyscall| it.args().as_ref().is_some_and(|args| !args.is_empty());
    for rule in rules.iter().filter(|it| !has_args(it)) {
        for name in rule.names() {
            plain.entry(name).or_insert(rule.action());
        }
    }
    let mut warnings = Vec::new();
    for rule in rules.iter().filter(has_args) {
        for name in rule.names() {
            if plain.get(name.as_str()).is_some_and(|it| *it != rule.action()) {
                warnings.push(format!(
                    "seccomp: {name} has rules with and without conditions; those with conditions come first"
                ));
            }
        }
    }
    warnings.dedup();
    warnings
}
