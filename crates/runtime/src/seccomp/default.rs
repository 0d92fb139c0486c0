//! The default profile, as a table: what a container may call that was given no profile.
//!
//! It allows and forbids what Docker's default of 2026 does, with one difference: the address
//! family of `socket` is compared in the 32 bits the kernel looks at. (A comparison of all 64 can
//! be passed by setting a higher one.)
//!
//! **Invariant:** what no group names fails with `EPERM`, what is newer than all of them with
//! `ENOSYS`.

use oci_spec::runtime::{Capabilities, Capability};
use wadah_sys::seccomp::{Action, Arch, Comparison, CompileError, Condition, Instruction, Policy};

use super::table::{ALLOWED, BY_CAPABILITY};

const EPERM: Action = Action::Errno(1);
const ENOSYS: Action = Action::Errno(38);

/// `CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}`: the flags that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;

/// Address families that reach into the kernel (`AF_ALG`) or out of the virtual machine
/// (`AF_VSOCK`).
const FORBIDDEN_FAMILIES: [u64; 2] = [38, 40];

/// The execution domains a process may take: Linux and 32-bit Linux, each with and without
/// `UNAME26`, and the question which one it has.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Compiles the profile for a process with this bounding set.
pub(super) fn compile(bounding: &Capabilities) -> Result<Vec<Instruction>, CompileError> {
    let mut policy = Policy::new(EPERM, architectures());
    policy.newer(ENOSYS);
    allow(&mut policy, &ALLOWED);
    allow(&mut policy, own_to_architecture());
    for (capability, names) in BY_CAPABILITY {
        if bounding.contains(capability) {
            allow(&mut policy, names);
        }
    }
    if !bounding.contains(&Capability::SysAdmin) {
        restrict_clone(&mut policy);
    }
    restrict_arguments(&mut policy);
    policy.compile()
}

/// The native architecture and those whose programs its kernel runs too.
fn architectures() -> &'static [Arch] {
    match Arch::NATIVE {
        Arch::Aarch64 | Arch::Arm => &[Arch::Aarch64, Arch::Arm],
        Arch::X86_64 | Arch::X32 | Arch::X86 => &[Arch::X86_64, Arch::X86, Arch::X32],
    }
}

fn allow(policy: &mut Policy, names: &[&str]) {
    for name in names {
        policy.add(name, Action::Allow, &[]);
    }
}

fn own_to_architecture() -> &'static [&'static str] {
    match Arch::NATIVE {
        Arch::Aarch64 | Arch::Arm => &[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "sync_file_range2",
            "breakpoint",
            "cacheflush",
            "set_tls",
        ],
        Arch::X86_64 | Arch::X32 | Arch::X86 => &["arch_prctl", "modify_ldt"],
    }
}

/// Lets processes be made, but no namespaces. The flags of `clone3` lie in memory, where no filter
/// sees them: it is said not to exist, so that libraries use `clone`.
fn restrict_clone(policy: &mut Policy) {
    let plain = Comparison::MaskedEqual { mask: NAMESPACES, value: 0 };
    policy.add("clone", Action::Allow, &[Condition { argument: 0, comparison: plain }]);
    policy.add("clone3", ENOSYS, &[]);
}

fn restrict_arguments(policy: &mut Policy) {
    for family in FORBIDDEN_FAMILIES {
        let comparison = Comparison::MaskedEqual { mask: 0xffff_ffff, value: family };
        policy.add("socket", EPERM, &[Condition { argument: 0, comparison }]);
    }
    policy.add("socket", Action::Allow, &[]);
    for domain in PERSONALITIES {
        let comparison = Comparison::Equal(domain);
        policy.add("personality", Action::Allow, &[Condition { argument: 0, comparison }]);
    }
}
