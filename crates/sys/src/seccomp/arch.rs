//! The architectures a filter can tell apart, and their system call numbers by name.
//!
//! **Invariant:** the table is built by the compiler from the `syscalls` crate's. A lookup is one
//! hash and about one comparison for all architectures, because a profile names some four hundred
//! calls every time a container starts; and the table holds no pointers, which would have to be
//! relocated, page by page, whenever any process of ours starts.

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
/// The first of the private calls of 32-bit ARM (`__ARM_NR_BASE`), which alone do not fit into 16
/// bits; they are kept as [`ARM_KEPT`] and their distance from this.
const ARM_PRIVATE: u32 = 0x0f_0000;
const ARM_KEPT: u16 = 0xf000;

/// Slots of the hash table; a power of two, more than the names there are.
const SLOTS: usize = 1024;
/// Room for names, and for the bytes of all of them.
const NAMES: usize = 640;
const BYTES: usize = 9216;
/// No such call, or no such name.
const NONE: u16 = u16::MAX;

/// Every name, hashed with linear probing.
struct Table {
    /// Index of an entry.
    slots: [u16; SLOTS],
    entries: [Entry; NAMES],
    count: u16,
    bytes: [u8; BYTES],
    used: u16,
}

/// A name: where it is in the bytes, and its number on each architecture.
#[derive(Clone, Copy)]
struct Entry {
    start: u16,
    length: u16,
    numbers: [u16; 5],
}

/// The numbers of one call.
#[derive(Clone, Copy)]
pub(super) struct Numbers([u16; 5]);

static TABLE: Table = {
    let mut table = Table::empty();
    let mut number: u16 = 0;
    // Past the end of every table: the architectures share what is new since 2019.
    while number < 1024 {
        if let Some(call) = x86_64::Sysno::new(number as usize) {
            table.set(call.name(), Arch::X86_64, number);
            table.set(call.name(), Arch::X32, number);
        }
        if let Some(call) = x86::Sysno::new(number as usize) {
            table.set(call.name(), Arch::X86, number);
        }
        if let Some(call) = aarch64::Sysno::new(number as usize) {
            table.set(call.name(), Arch::Aarch64, number);
        }
        if let Some(call) = arm::Sysno::new(number as usize) {
            table.set(call.name(), Arch::Arm, number);
        }
        number += 1;
    }
    let mut index = 0;
    while index < X32_APART.len() {
        table.set(X32_APART[index].0, Arch::X32, X32_APART[index].1);
        index += 1;
    }
    let mut index = 0;
    while index < ARM_PRIVATE_CALLS.len() {
        table.set(ARM_PRIVATE_CALLS[index].0, Arch::Arm, ARM_KEPT | ARM_PRIVATE_CALLS[index].1);
        index += 1;
    }
    // The kernel's call by the name that profiles use.
    table.set("sync_file_range2", Arch::Arm, 341);
    table
};

/// The private calls of 32-bit ARM (arch/arm/include/uapi/asm/unistd.h).
const ARM_PRIVATE_CALLS: [(&str, u16); 6] = [
    ("breakpoint", 1),
    ("cacheflush", 2),
    ("usr26", 3),
    ("usr32", 4),
    ("set_tls", 5),
    ("get_tls", 6),
];

/// The calls that x32 numbers apart (arch/x86/entry/syscalls/syscall_64.tbl, ABI `x32`). The
/// numbers of x86-64 for them are not calls of x32.
const X32_APART: [(&str, u16); 36] = [
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

impl Arch {
    /// The architecture this program was compiled for.
    pub const NATIVE: Self =
        if cfg!(target_arch = "x86_64") { Self::X86_64 } else { Self::Aarch64 };

    /// All of them.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X32, Self::X86, Self::Aarch64, Self::Arm];

    /// The number of the system call `name`, x32's bit included; none if there is no such call.
    pub fn number(self, name: &str) -> Option<u32> {
        find(name)?.on(self)
    }

    /// Every system call of the architecture, in no order.
    pub fn calls(self) -> impl Iterator<Item = (&'static str, u32)> {
        TABLE.entries[..usize::from(TABLE.count)]
            .iter()
            .filter_map(move |it| Some((TABLE.name(it), Numbers(it.numbers).on(self)?)))
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
}

/// Finds the numbers of the system call `name`.
pub(super) fn find(name: &str) -> Option<Numbers> {
    match TABLE.slots[TABLE.slot(name.as_bytes())] {
        NONE => None,
        index => Some(Numbers(TABLE.entries[usize::from(index)].numbers)),
    }
}

impl Numbers {
    /// The number on one architecture, x32's bit included.
    pub(super) fn on(self, arch: Arch) -> Option<u32> {
        let number = self.0[arch as usize];
        match arch {
            _ if number == NONE => None,
            Arch::X32 => Some(u32::from(number) | X32_BIT),
            Arch::Arm if number >= ARM_KEPT => Some(ARM_PRIVATE + u32::from(number - ARM_KEPT)),
            _ => Some(number.into()),
        }
    }
}

impl Table {
    const fn empty() -> Self {
        let entry = Entry { start: 0, length: 0, numbers: [NONE; 5] };
        Self { slots: [NONE; SLOTS], entries: [entry; NAMES], count: 0, bytes: [0; BYTES], used: 0 }
    }

    const fn set(&mut self, name: &str, arch: Arch, number: u16) {
        let name = name.as_bytes();
        let slot = self.slot(name);
        if self.slots[slot] == NONE {
            self.slots[slot] = self.count;
            let start = self.used;
            let mut index = 0;
            while index < name.len() {
                self.bytes[self.used as usize] = name[index];
                self.used += 1;
                index += 1;
            }
            let entry = &mut self.entries[self.count as usize];
            entry.start = start;
            entry.length = self.used - start;
            self.count += 1;
        }
        self.entries[self.slots[slot] as usize].numbers[arch as usize] = number;
    }

    /// The slot where the name is, or would be.
    const fn slot(&self, name: &[u8]) -> usize {
        let mut slot = hash(name);
        while self.slots[slot] != NONE {
            if self.is(self.slots[slot], name) {
                return slot;
            }
            slot = (slot + 1) % SLOTS;
        }
        slot
    }

    const fn is(&self, index: u16, name: &[u8]) -> bool {
        let entry = &self.entries[index as usize];
        if entry.length as usize != name.len() {
            return false;
        }
        let mut index = 0;
        while index < name.len() {
            if self.bytes[entry.start as usize + index] != name[index] {
                return false;
            }
            index += 1;
        }
        true
    }

    fn name(&self, entry: &Entry) -> &str {
        let start = usize::from(entry.start);
        let name = &self.bytes[start..start + usize::from(entry.length)];
        std::str::from_utf8(name).expect("BUG: a name that is not text")
    }
}

/// FNV-1a, folded.
const fn hash(name: &[u8]) -> usize {
    let mut hash: u32 = 0x811c_9dc5;
    let mut index = 0;
    while index < name.len() {
        hash = (hash ^ name[index] as u32).wrapping_mul(0x0100_0193);
        index += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOTS
}
