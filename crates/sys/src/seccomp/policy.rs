//! A policy: what becomes of each system call on each architecture.
//!
//! Rules with conditions come before rules without, and among those the first that matches wins.
//! (libseccomp forgets a call's conditional rules once it has an unconditional one, which quietly
//! opens what somebody meant to close.)
//!
//! **Invariant:** names are resolved as rules are added; a name an architecture does not have
//! does not concern it.

use super::{
    Arch, Instruction,
    arch::{self, X32_BIT},
    assemble::{Assembler, Range, Verdict},
};

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The process is killed.
    KillProcess,
    /// The thread is killed.
    KillThread,
    /// The thread gets SIGSYS.
    Trap,
    /// The call fails with this error.
    Errno(u16),
    /// The listener decides.
    Notify,
    /// The tracer decides, and is told this value.
    Trace(u16),
    /// The call goes on, and is logged.
    Log,
    /// The call goes on.
    Allow,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument: 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
}

/// A comparison of an argument's 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Not equal.
    NotEqual(u64),
    /// Less.
    Less(u64),
    /// Less or equal.
    LessOrEqual(u64),
    /// Equal.
    Equal(u64),
    /// Greater or equal.
    GreaterOrEqual(u64),
    /// Greater.
    Greater(u64),
    /// Equal to `value` in the bits of `mask`.
    MaskedEqual {
        /// The bits looked at.
        mask: u64,
        /// What they must be.
        value: u64,
    },
}

/// Why a policy could not be compiled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More than the kernel's `BPF_MAXINSNS`.
    #[error("the seccomp filter needs {instructions} instructions; the kernel takes 4096")]
    TooLong {
        /// How many there would be.
        instructions: usize,
    },
}

/// What becomes of each system call on each architecture.
#[derive(Debug, Clone)]
pub struct Policy {
    default: Action,
    newer: Option<Action>,
    tables: Vec<Table>,
    conditions: Vec<Vec<Condition>>,
}

/// The rules of one architecture.
#[derive(Debug, Clone)]
struct Table {
    arch: Arch,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    number: u32,
    action: Action,
    /// Index into the policy's conditions; none applies always.
    conditions: Option<usize>,
}

/// What is done, in order, for a call whose arguments matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) steps: Vec<(Vec<Condition>, Action)>,
    pub(super) otherwise: Action,
}

/// The longest filter the kernel takes (`BPF_MAXINSNS`).
const LONGEST: usize = 4096;

impl Action {
    /// The value a filter returns for it.
    pub fn value(self) -> u32 {
        match self {
            Self::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
            Self::KillThread => libc::SECCOMP_RET_KILL_THREAD,
            Self::Trap => libc::SECCOMP_RET_TRAP,
            Self::Errno(errno) => libc::SECCOMP_RET_ERRNO | u32::from(errno),
            Self::Notify => libc::SECCOMP_RET_USER_NOTIF,
            Self::Trace(message) => libc::SECCOMP_RET_TRACE | u32::from(message),
            Self::Log => libc::SECCOMP_RET_LOG,
            Self::Allow => libc::SECCOMP_RET_ALLOW,
        }
    }
}

impl Policy {
    /// What comes of a call from an architecture that the policy does not name.
    pub const FOREIGN: Action = Action::KillProcess;

    /// A policy of no rules on `architectures`; those named twice count once.
    pub fn new(default: Action, architectures: &[Arch]) -> Self {
        let mut tables: Vec<Table> = Vec::with_capacity(architectures.len());
        for &arch in architectures {
            if !tables.iter().any(|it| it.arch == arch) {
                tables.push(Table { arch, rules: Vec::with_capacity(512) });
            }
        }
        Self { default, newer: None, tables, conditions: Vec::new() }
    }

    /// Sets what becomes of calls newer than any that has a rule, instead of the default.
    ///
    /// A profile written before a call existed cannot have meant to forbid it; libraries that try
    /// it need `ENOSYS` to fall back to what it replaces.
    pub fn newer(&mut self, action: Action) {
        self.newer = Some(action);
    }

    /// Adds a rule that applies when all `conditions` hold. Tells whether any architecture has
    /// such a call.
    pub fn add(&mut self, name: &str, action: Action, conditions: &[Condition]) -> bool {
        let numbers = arch::find(name);
        let shared = self.share(conditions);
        let mut known = false;
        for index in 0..self.tables.len() {
            let arch = self.tables[index].arch;
            if let Some(number) = numbers.and_then(|it| it.on(arch)) {
                known = true;
                self.tables[index].rules.push(Rule { number, action, conditions: shared });
            }
            if arch == Arch::X86 && conditions.is_empty() {
                self.add_multiplexed(index, name, action);
            }
        }
        known
    }

    /// Compiles the policy.
    pub fn compile(mut self) -> Result<Vec<Instruction>, CompileError> {
        let mut chains = Vec::new();
        let mut groups: Vec<(u32, Vec<Range>)> = Vec::new();
        let mut tables = std::mem::take(&mut self.tables);
        tables.sort_by_key(|it| it.arch);
        for table in &mut tables {
            let ranges = self.ranges(table, &mut chains);
            match groups.last_mut() {
                // x32 comes right after x86-64 and continues its numbers.
                Some((audit, group)) if *audit == table.arch.audit() => {
                    group.retain(|it| it.start < X32_BIT);
                    group.extend(ranges);
                }
                _ => groups.push((table.arch.audit(), closed_below(ranges))),
            }
        }
        let filter = Assembler::new(&chains).assemble(&groups, Self::FOREIGN);
        if filter.len() > LONGEST {
            return Err(CompileError::TooLong { instructions: filter.len() });
        }
        Ok(filter)
    }

    /// Adds the i386 calls that `name` can also be made by: `socketcall` and `ipc` take the real
    /// call as their first argument.
    fn add_multiplexed(&mut self, index: usize, name: &str, action: Action) {
        let Some((multiplexer, value)) = multiplexed(name) else { return };
        let Some(number) = Arch::X86.number(multiplexer) else { return };
        let condition = Condition { argument: 0, comparison: Comparison::Equal(value) };
        let conditions = self.share(&[condition]);
        self.tables[index].rules.push(Rule { number, action, conditions });
    }

    fn share(&mut self, conditions: &[Condition]) -> Option<usize> {
        if conditions.is_empty() {
            return None;
        }
        let present = self.conditions.iter().position(|it| it == conditions);
        Some(present.unwrap_or_else(|| {
            self.conditions.push(conditions.to_vec());
            self.conditions.len() - 1
        }))
    }

    /// Cuts the numbers of one architecture into ranges of one verdict each, in order.
    fn ranges(&self, table: &mut Table, chains: &mut Vec<Chain>) -> Vec<Range> {
        // Stable: rules for one number keep their order, conditional ones before the others.
        table.rules.sort_by_key(|it| (it.number, it.conditions.is_none()));
        let first = if table.arch == Arch::X32 { X32_BIT } else { 0 };
        let default = Verdict::Return(self.default.value());
        let mut ranges = vec![Range { start: first, verdict: default }];
        let mut next = first;
        for rules in table.rules.chunk_by(|one, other| one.number == other.number) {
            let number = rules[0].number;
            if number > next {
                push(&mut ranges, next, default);
            }
            push(&mut ranges, number, self.verdict(rules, chains));
            next = number + 1;
        }
        let newer = self.newer.filter(|_| !table.rules.is_empty()).unwrap_or(self.default);
        push(&mut ranges, next, Verdict::Return(newer.value()));
        if table.arch == Arch::X86_64 {
            push(&mut ranges, X32_BIT, Verdict::Return(Self::FOREIGN.value()));
        }
        // A tracer may set the number to -1 to skip a call; that is no foreign architecture.
        push(&mut ranges, u32::MAX, default);
        ranges
    }

    fn verdict(&self, rules: &[Rule], chains: &mut Vec<Chain>) -> Verdict {
        let otherwise =
            rules.iter().find(|it| it.conditions.is_none()).map_or(self.default, |it| it.action);
        let mut steps: Vec<(usize, Action)> =
            rules.iter().filter_map(|it| it.conditions.map(|at| (at, it.action))).collect();
        while steps.last().is_some_and(|(_, action)| *action == otherwise) {
            steps.pop();
        }
        if steps.is_empty() {
            return Verdict::Return(otherwise.value());
        }
        let steps = steps.into_iter().map(|(at, it)| (self.conditions[at].clone(), it)).collect();
        let chain = Chain { steps, otherwise };
        Verdict::Chain(chains.iter().position(|it| *it == chain).unwrap_or_else(|| {
            chains.push(chain);
            chains.len() - 1
        }))
    }
}

/// Makes the numbers below the first range foreign: those of x86-64, where only x32 is named.
fn closed_below(mut ranges: Vec<Range>) -> Vec<Range> {
    if ranges[0].start > 0 {
        let verdict = Verdict::Return(Policy::FOREIGN.value());
        ranges.insert(0, Range { start: 0, verdict });
    }
    ranges
}

/// Starts a new range, unless the verdict does not change.
fn push(ranges: &mut Vec<Range>, start: u32, verdict: Verdict) {
    match ranges.last_mut() {
        Some(last) if last.verdict == verdict => {}
        Some(last) if last.start == start => {
            last.verdict = verdict;
            merge_last(ranges);
        }
        _ => ranges.push(Range { start, verdict }),
    }
}

fn merge_last(ranges: &mut Vec<Range>) {
    if let [.., before, last] = ranges.as_slice()
        && before.verdict == last.verdict
    {
        ranges.pop();
    }
}

/// The multiplexer of i386 a call can be made by, and the call's number there
/// (include/uapi/linux/net.h, include/uapi/linux/ipc.h).
fn multiplexed(name: &str) -> Option<(&'static str, u64)> {
    let socket = match name {
        "socket" => 1,
        "bind" => 2,
        "connect" => 3,
        "listen" => 4,
        "accept" => 5,
        "getsockname" => 6,
        "getpeername" => 7,
        "socketpair" => 8,
        "send" => 9,
        "recv" => 10,
        "sendto" => 11,
        "recvfrom" => 12,
        "shutdown" => 13,
        "setsockopt" => 14,
        "getsockopt" => 15,
        "sendmsg" => 16,
        "recvmsg" => 17,
        "accept4" => 18,
        "recvmmsg" => 19,
        "sendmmsg" => 20,
        _ => 0,
    };
    if socket != 0 {
        return Some(("socketcall", socket));
    }
    let ipc = match name {
        "semop" => 1,
        "semget" => 2,
        "semctl" => 3,
        "semtimedop" => 4,
        "msgsnd" => 11,
        "msgrcv" => 12,
        "msgget" => 13,
        "msgctl" => 14,
        "shmat" => 21,
        "shmdt" => 22,
        "shmget" => 23,
        "shmctl" => 24,
        _ => return None,
    };
    Some(("ipc", ipc))
}
