//! When and where a process runs: scheduler, I/O priority, processors, memory policy, personality.

use oci_spec::runtime::{
    self as spec, IOPriorityClass, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType,
};
use wadah_sys::process::SchedulerAttributes;

use crate::{CreateError, plan::invalid};

/// How many processors or memory nodes a list may name at most.
const MAX_NUMBER: usize = 1 << 13;

/// A NUMA memory policy, as `set_mempolicy(2)` wants it.
#[derive(Debug)]
pub(crate) struct MemoryPolicy {
    /// The mode with its flags.
    pub(crate) mode: u32,
    /// The nodes, 64 to a word.
    pub(crate) nodes: Vec<u64>,
}

impl MemoryPolicy {
    pub(super) fn plan(policy: &spec::LinuxMemoryPolicy) -> Result<Self, CreateError> {
        let mode = match policy.mode() {
            MemoryPolicyModeType::MpolDefault => 0,
            MemoryPolicyModeType::MpolPreferred => 1,
            MemoryPolicyModeType::MpolBind => 2,
            MemoryPolicyModeType::MpolInterleave => 3,
            MemoryPolicyModeType::MpolLocal => 4,
            MemoryPolicyModeType::MpolPreferredMany => 5,
            MemoryPolicyModeType::MpolWeightedInterleave => 6,
        };
        let flag = |it: &MemoryPolicyFlagType| match it {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        };
        let flags = policy.flags().iter().flatten().map(flag).fold(0, |all, it| all | it);
        let nodes = policy.nodes().as_deref().unwrap_or_default();
        let mut words = Vec::new();
        for node in number_list("linux.memoryPolicy.nodes", nodes)? {
            words.resize(words.len().max(node / 64 + 1), 0);
            words[node / 64] |= 1 << (node % 64);
        }
        Ok(Self { mode: mode | flags, nodes: words })
    }
}

/// Turns the scheduler of the specification into what `sched_setattr(2)` wants.
pub(super) fn scheduler(asked: &spec::Scheduler) -> Result<SchedulerAttributes, CreateError> {
    let policy = match asked.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flag = |it: &LinuxSchedulerFlag| match it {
        LinuxSchedulerFlag::SchedResetOnFork => 0x01,
        LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
        LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
        LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
        LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
        LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
        LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
    };
    let priority = asked.priority().unwrap_or(0);
    let refused =
        |_negative| invalid("process.scheduler", format!("priority {priority} is negative"));
    let mut attributes = SchedulerAttributes::default();
    attributes.policy = policy;
    attributes.flags = asked.flags().iter().flatten().map(flag).fold(0, |all, it| all | it);
    attributes.nice = asked.nice().unwrap_or(0);
    attributes.priority = u32::try_from(priority).map_err(refused)?;
    attributes.runtime = asked.runtime().unwrap_or(0);
    attributes.deadline = asked.deadline().unwrap_or(0);
    attributes.period = asked.period().unwrap_or(0);
    Ok(attributes)
}

/// Class and level for `ioprio_set(2)`.
pub(super) fn io_priority(asked: &spec::LinuxIOPriority) -> Result<(u16, u16), CreateError> {
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = u16::try_from(asked.priority()).ok().filter(|it| *it <= 7);
    let problem = || format!("level {} is not from 0 to 7", asked.priority());
    Ok((class, level.ok_or_else(|| invalid("process.ioPriority", problem()))?))
}

/// The number for `personality(2)`. The specification knows no flags yet.
pub(super) fn personality(asked: &spec::LinuxPersonality) -> Result<u32, CreateError> {
    if let Some(flag) = asked.flags().iter().flatten().next() {
        return Err(invalid("linux.personality.flags", format!("{flag:?} is none")));
    }
    Ok(match asked.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// Reads `0-3,7` as the kernel does.
pub(super) fn number_list(field: &'static str, text: &str) -> Result<Vec<usize>, CreateError> {
    let refused = || invalid(field, format!("{text:?} is no list of numbers and ranges"));
    let number = |it: &str| {
        it.trim().parse::<usize>().ok().filter(|it| *it < MAX_NUMBER).ok_or_else(refused)
    };
    let mut numbers = Vec::new();
    for part in text.split(',').filter(|it| !it.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last || numbers.len() > MAX_NUMBER {
            return Err(refused());
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_the_kernel_reads_them() {
        assert_eq!(number_list("x", "0-2,7").unwrap(), [0, 1, 2, 7]);
        assert_eq!(number_list("x", "").unwrap(), [] as [usize; 0]);
        for text in ["3-1", "a", "1-", "0-99999999", "-1"] {
            number_list("x", text).unwrap_err();
        }
    }
}
