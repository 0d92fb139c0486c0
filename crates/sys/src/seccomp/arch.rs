//! The architectures a filter can tell apart, and their system call numbers by name.
//!
//! **Invariant:** the tables are built by the compiler from the `syscalls` crate's; a lookup is one
//! hash and about one comparison, because a profile names some four hundred calls on each of three
//! architectures every time a container starts.

use syscalls::{aarch64, arm, x86, x86_64};

/// An architecture as the kernel tells a filter (`AUDIT_ARCH_*`, and x32's bit in the number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    /// x86-64.
    X86_64,
    /// The 64-bit registers with 32-bit pointers; told from x86-64 by bit 30 of the number.
    X32,
    /// i386.
    X86,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM (EABI).
    Arm,
}

/// The bit that marks an x32 system call (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Slots of a hash table; a power of two, more than twice the longest system call table.
const SLOTS: usize = 1024;

/// Names and numbers of one architecture, hashed by name with linear probing.
struct Table {
    slots: [Option<(&'static str, u32)>; SLOTS],
}

static X86_64: Table = {
    let mut table = Table::empty();
    let mut number = 0;
    while number <= x86_64::Sysno::last().id() as usize {
        if let Some(call) = x86_64::Sysno::new(number) {
            table = table.with(call.name(), call.id() as u32);
        }
        number += 1;
    }
    table
};

static X86: Table = {
    let mut table = Table::empty();
    let mut number = 0;
    while number <= x86::Sysno::last().id() as usize {
        if let Some(call) = x86::Sysno::new(number) {
            table = table.with(call.name(), call.id() as u32);
        }
        number += 1;
    }
    table
};

static AARCH64: Table = {
    let mut table = Table::empty();
    let mut number = 0;
    while number <= aarch64::Sysno::last().id() as usize {
        if let Some(call) = aarch64::Sysno::new(number) {
            table = table.with(call.name(), call.id() as u32);
        }
        number += 1;
    }
    table
};

static ARM: Table = {
    // The private calls of 32-bit ARM (arch/arm/include/uapi/asm/unistd.h, `__ARM_NR_BASE`).
    let mut table = Table::empty()
        .with("breakpoint", 0x0f_0001)
        .with("cacheflush", 0x0f_0002)
        .with("usr26", 0x0f_0003)
        .with("usr32", 0x0f_0004)
        .with("set_tls", 0x0f_0005)
        .with("get_tls", 0x0f_0006);
    let mut number = 0;
    while number <= arm::Sysno::last().id() as usize {
        if let Some(call) = arm::Sysno::new(number) {
            table = table.with(call.name(), call.id() as u32);
        }
        number += 1;
    }
    // The kernel's name where profiles use the one of libseccomp.
    table.with("sync_file_range2", 341)
};

/// The calls that x32 numbers apart (arch/x86/entry/syscalls/syscall_64.tbl, ABI `x32`). The
/// numbers of x86-64 for them are not calls of x32.
const X32_APART: [(&str, u32); 36] = [
    ("rt_sigaction", 512),
    ("rt_sigreturn", 513),
    ("ioctl", 514),
    ("readv", 515),
    ("writev", 516),
    ("recvfrom", 517),
    ("sendmsg", 518),
    ("recvmsg", 519),
    ("execve", 520),
    ("ptrace", 521),
    ("rt_sigpending", 522),
    ("rt_sigtimedwait", 523),
    ("rt_sigqueueinfo", 524),
    ("sigaltstack", 525),
    ("timer_create", 526),
    ("mq_notify", 527),
    ("kexec_load", 528),
    ("waitid", 529),
    ("set_robust_list", 530),
    ("get_robust_list", 531),
    ("vmsplice", 532),
    ("move_pages", 533),
    ("preadv", 534),
    ("pwritev", 535),
    ("rt_tgsigqueueinfo", 536),
    ("recvmmsg", 537),
    ("sendmmsg", 538),
    ("process_vm_readv", 539),
    ("process_vm_writev", 540),
    ("setsockopt", 541),
    ("getsockopt", 542),
    ("io_setup", 543),
    ("io_submit", 544),
    ("execveat", 545),
    ("preadv2", 546),
    ("pwritev2", 547),
];

static X32: Table = {
    let mut table = Table::empty();
    let mut index = 0;
    while index < X32_APART.len() {
        table = table.with(X32_APART[index].0, X32_APART[index].1 | X32_BIT);
        index += 1;
    }
    let mut number = 0;
    while number <= x86_64::Sysno::last().id() as usize {
        if let Some(call) = x86_64::Sysno::new(number)
            && table.find(call.name()).is_none()
        {
            table = table.with(call.name(), call.id() as u32 | X32_BIT);
        }
        number += 1;
    }
    table
};

impl Arch {
    /// The architecture this program was compiled for.
    pub const NATIVE: Self =
        if cfg!(target_arch = "x86_64") { Self::X86_64 } else { Self::Aarch64 };

    /// All of them.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X32, Self::X86, Self::Aarch64, Self::Arm];

    /// The number of the system call `name`, x32's bit included; none if there is no such call.
    pub fn number(self, name: &str) -> Option<u32> {
        self.table().find(name)
    }

    /// Every system call of the architecture, in no order.
    pub fn calls(self) -> impl Iterator<Item = (&'static str, u32)> {
        self.table().slots.iter().copied().flatten()
    }

    /// What the kernel calls the architecture (include/uapi/linux/audit.h).
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    fn table(self) -> &'static Table {
        match self {
            Self::X86_64 => &X86_64,
            Self::X32 => &X32,
            Self::X86 => &X86,
            Self::Aarch64 => &AARCH64,
            Self::Arm => &ARM,
        }
    }
}

impl Table {
    const fn empty() -> Self {
        Self { slots: [None; SLOTS] }
    }

    const fn with(mut self, name: &'static str, number: u32) -> Self {
        let mut slot = hash(name);
        while let Some((present, _)) = self.slots[slot] {
            if same(present, name) {
                return self;
            }
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = Some((name, number));
        self
    }

    const fn find(&self, name: &str) -> Option<u32> {
        let mut slot = hash(name);
        while let Some((present, number)) = self.slots[slot] {
            if same(present, name) {
                return Some(number);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

/// FNV-1a, folded.
const fn hash(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}

/// Equality of strings, for constant evaluation.
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}
