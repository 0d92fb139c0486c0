//! The compiler against a plain reading of the same rules, and against the kernel.

#![allow(clippy::cast_possible_truncation, reason = "dice have few sides")]

use super::*;

/// A rule as the test keeps it.
struct Written {
    name: &'static str,
    action: Action,
    conditions: Vec<Condition>,
}

fn holds(condition: &Condition, call: &Call) -> bool {
    let argument = call.arguments[usize::from(condition.argument)];
    match condition.comparison {
        Comparison::NotEqual(value) => argument != value,
        Comparison::Less(value) => argument < value,
        Comparison::LessOrEqual(value) => argument <= value,
        Comparison::Equal(value) => argument == value,
        Comparison::GreaterOrEqual(value) => argument >= value,
        Comparison::Greater(value) => argument > value,
        Comparison::MaskedEqual { mask, value } => argument & mask == value,
    }
}

/// The rules read one after the other.
fn read(default: Action, arches: &[Arch], rules: &[Written], call: &Call) -> u32 {
    let x32 = call.number >= 0x4000_0000;
    let arch = arches.iter().find(|it| {
        it.audit() == call.audit && (**it != Arch::X32 || x32) && (**it != Arch::X86_64 || !x32)
    });
    let Some(arch) = arch else { return Policy::FOREIGN.value() };
    let of_call = || rules.iter().filter(|it| arch.number(it.name) == Some(call.number));
    let conditional = of_call()
        .filter(|it| !it.conditions.is_empty())
        .find(|it| it.conditions.iter().all(|it| holds(it, call)));
    let plain = || of_call().find(|it| it.conditions.is_empty());
    conditional.or_else(plain).map_or(default, |it| it.action).value()
}

/// A small generator (xorshift): the same rounds in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len() as u64) as usize]
    }

    fn action(&mut self) -> Action {
        let errno = self.roll(5) as u16 + 1;
        self.pick(&[
            Action::Allow,
            Action::Allow,
            Action::Errno(errno),
            Action::KillProcess,
            Action::KillThread,
            Action::Trap,
            Action::Trace(errno),
            Action::Log,
        ])
    }

    fn value(&mut self) -> u64 {
        let near = self.roll(5);
        self.pick(&[0, 1, 38, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0026, u64::MAX - 4]) + near
    }

    fn condition(&mut self) -> Condition {
        let (value, mask) = (self.value(), self.value());
        let comparison = self.pick(&[
            Comparison::NotEqual(value),
            Comparison::Less(value),
            Comparison::LessOrEqual(value),
            Comparison::Equal(value),
            Comparison::GreaterOrEqual(value),
            Comparison::Greater(value),
            Comparison::MaskedEqual { mask, value: value & mask },
            Comparison::MaskedEqual { mask, value },
        ]);
        Condition { argument: self.roll(6) as u8, comparison }
    }
}

/// i386 calls that a rule for another call also touches.
fn multiplexes(name: &str) -> bool {
    name == "socketcall" || name == "ipc"
}

fn check_random_policy(dice: &mut Dice) {
    let names: Vec<&str> =
        Arch::X86_64.calls().chain(Arch::X86.calls()).map(|(name, _)| name).collect();
    let mut arches: Vec<Arch> = Arch::ALL.to_vec();
    for _ in 0..dice.roll(5) {
        arches.remove(dice.roll(arches.len() as u64) as usize);
    }
    let default = dice.action();
    let count = dice.pick(&[1, 5, 60, 500]);
    let mut rules = Vec::new();
    for _ in 0..count {
        let conditions = if dice.roll(4) == 0 { dice.roll(4) } else { 0 };
        let conditions: Vec<Condition> = (0..conditions).map(|_| dice.condition()).collect();
        let name = dice.pick(&names);
        if !multiplexes(name) {
            rules.push(Written { name, action: dice.action(), conditions });
        }
    }
    let mut policy = Policy::new(default, &arches);
    for rule in &rules {
        policy.add(rule.name, rule.action, &rule.conditions);
    }
    let filter = policy.compile().unwrap();
    for _ in 0..2000 {
        let arch = dice.pick(&Arch::ALL);
        let number = match dice.roll(8) {
            0 => dice.roll(u64::from(u32::MAX) - 1) as u32,
            1 => dice.roll(600) as u32,
            _ => arch.number(dice.pick(&names)).unwrap_or(3),
        };
        let arguments = std::array::from_fn(|_| dice.value());
        let call = Call { audit: arch.audit(), number, arguments };
        let multiplexers = ["socketcall", "ipc"].map(|it| Arch::X86.number(it));
        if arch == Arch::X86 && multiplexers.contains(&Some(number)) {
            continue;
        }
        let (value, steps) = evaluate(&filter, &call);
        assert_eq!(value, read(default, &arches, &rules, &call), "{call:x?} on {arches:?}");
        assert!(steps < 200, "{steps} steps");
    }
}

#[test]
fn a_tree_decides_as_the_rules_read_one_by_one() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..60 {
        check_random_policy(&mut dice);
    }
}

#[test]
fn names_have_the_kernels_numbers() {
    let numbers = |name| Arch::ALL.map(|it| it.number(name));
    assert_eq!(
        numbers("execve"),
        [Some(59), Some(0x4000_0208), Some(11), Some(221), Some(11)],
        "x32 numbers execve apart"
    );
    assert_eq!(numbers("clone3"), [Some(435), Some(0x4000_01b3), Some(435), Some(435), Some(435)]);
    assert_eq!(numbers("set_tls")[4], Some(0xf0005));
    assert_eq!(numbers("no_such_call"), [None; 5]);
    assert_eq!(Arch::X86.number("socketcall"), Some(102));
}

#[test]
fn a_call_of_an_unnamed_architecture_kills() {
    let filter = Policy::new(Action::Allow, &[Arch::X86_64]).compile().unwrap();
    let value = |arch: Arch, number| {
        evaluate(&filter, &Call { audit: arch.audit(), number, arguments: [0; 6] }).0
    };
    assert_eq!(value(Arch::X86_64, 0), Action::Allow.value());
    assert_eq!(value(Arch::X86, 0), Action::KillProcess.value());
    assert_eq!(value(Arch::X32, 0x4000_0000), Action::KillProcess.value());
    assert_eq!(value(Arch::X86_64, u32::MAX), Action::Allow.value(), "-1 is a skipped call");
}

#[test]
fn a_call_newer_than_the_policy_is_unknown_not_forbidden() {
    let mut policy = Policy::new(Action::Errno(1), &[Arch::X86_64, Arch::X86]);
    policy.add("read", Action::Allow, &[]);
    policy.add("mseal", Action::Allow, &[]);
    policy.newer(Action::Errno(38));
    let filter = policy.compile().unwrap();
    let value =
        |number| evaluate(&filter, &Call { audit: 0xc000_003e, number, arguments: [0; 6] }).0;
    assert_eq!(value(1), Action::Errno(1).value());
    assert_eq!(value(462), Action::Allow.value());
    assert_eq!(value(463), Action::Errno(38).value());
    assert_eq!(value(999_999), Action::Errno(38).value());
}

#[test]
fn a_rule_for_socket_holds_for_socketcall_of_i386() {
    let mut policy = Policy::new(Action::Allow, &[Arch::X86]);
    policy.add("socket", Action::Errno(97), &[]);
    let filter = policy.compile().unwrap();
    let value = |number, first| {
        evaluate(
            &filter,
            &Call { audit: Arch::X86.audit(), number, arguments: [first, 0, 0, 0, 0, 0] },
        )
        .0
    };
    assert_eq!(value(359, 2), Action::Errno(97).value());
    assert_eq!(value(102, 1), Action::Errno(97).value());
    assert_eq!(value(102, 2), Action::Allow.value());
}

#[test]
fn more_than_the_kernel_takes_is_refused() {
    let mut policy = Policy::new(Action::Allow, &[Arch::X86_64]);
    for value in 0..2000 {
        let condition = Condition { argument: 0, comparison: Comparison::Equal(value << 33) };
        policy.add("ioctl", Action::Errno((value % 2) as u16 + 1), &[condition]);
    }
    let err = policy.compile().map(|it| it.len()).unwrap_err();
    assert!(matches!(err, CompileError::TooLong { instructions } if instructions > 4096));
}

/// Forks; the child loads `filter`, then `probe` tells its exit code. Returns the wait status.
fn in_child(filter: &[Instruction], flags: Flags, probe: fn() -> i32) -> i32 {
    // SAFETY: the child calls only system calls and `_exit`, which a forked thread may.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let code = if load(filter, flags).is_ok() { probe() } else { 100 };
        // SAFETY: ends the child without running anything of the test harness.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: `pid` is our child and `status` a valid place.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(waited, pid);
    status
}

fn personality_errno(value: libc::c_ulong) -> i32 {
    // SAFETY: asks for a personality; no memory is involved.
    if unsafe { libc::personality(value) } >= 0 {
        return 0;
    }
    io::Error::last_os_error().raw_os_error().unwrap_or(-1)
}

#[test]
fn the_kernel_loads_a_filter_and_obeys_it() {
    let mut policy = Policy::new(Action::Allow, &Arch::ALL);
    let equal = |value| Condition { argument: 0, comparison: Comparison::Equal(value) };
    policy.add("personality", Action::Errno(77), &[equal(8)]);
    policy.add("personality", Action::Errno(78), &[]);
    policy.add("getpriority", Action::KillProcess, &[]);
    let filter = policy.compile().unwrap();
    let flags = Flags::SPEC_ALLOW | Flags::LOG;

    let status = in_child(&filter, flags, || personality_errno(8));
    assert_eq!(libc::WEXITSTATUS(status), 77);
    let status = in_child(&filter, flags, || personality_errno(0xffff_ffff));
    assert_eq!(libc::WEXITSTATUS(status), 78);
    let status = in_child(&filter, flags, || {
        // SAFETY: no memory is involved; the filter ends the process here.
        unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }
    });
    assert!(libc::WIFSIGNALED(status));
    assert_eq!(libc::WTERMSIG(status), libc::SIGSYS);
}

#[test]
fn a_listener_is_returned_for_a_notifying_filter() {
    let mut policy = Policy::new(Action::Allow, &[Arch::NATIVE]);
    policy.add("mkdir", Action::Notify, &[]);
    let filter = policy.compile().unwrap();
    // SAFETY: as in `in_child`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let found = matches!(load(&filter, Flags::NEW_LISTENER), Ok(Some(_)));
        // SAFETY: as in `in_child`.
        unsafe { libc::_exit(i32::from(!found)) };
    }
    let mut status = 0;
    // SAFETY: as in `in_child`.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    assert_eq!(status, 0);
}
