//! eBPF: programs that decide which devices a version 2 cgroup may use.
//!
//! A list of [`DeviceRule`]s becomes one program in which the last rule that concerns an access
//! decides, and what no rule concerns is denied.
//!
//! **Invariant:** programs are attached with `BPF_F_ALLOW_MULTI`, so those of groups above keep
//! their say: an access is allowed if all agree.

#![allow(unsafe_code, reason = "bpf(2) is a system call that rustix lacks")]

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// A rule about devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Whether the access is allowed or denied.
    pub allow: bool,
    /// The kind of device.
    pub kind: Kind,
    /// The major number; none is any.
    pub major: Option<u32>,
    /// The minor number; none is any.
    pub minor: Option<u32>,
    /// The ways of access.
    pub access: Access,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Char,
}

bitflags::bitflags! {
    /// Ways of access: the kernel's `BPF_DEVCG_ACC_*`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Access: u32 {
        /// Making a node for the device.
        const MKNOD = 1;
        /// Reading from it.
        const READ = 2;
        /// Writing to it.
        const WRITE = 4;
    }
}

impl DeviceRule {
    /// The same rule for all ways of access.
    pub fn with_all_access(self) -> Self {
        Self { major: None, minor: None, access: Access::all(), ..self }
    }

    /// Tells whether the rule concerns every access to every device.
    pub fn is_total(&self) -> bool {
        self.kind == Kind::All
            && self.major.is_none()
            && self.minor.is_none()
            && self.access == Access::all()
    }
}

/// One instruction: the kernel's `struct bpf_insn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbc;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const MOVE: u8 = 0xb7;
const EXIT: u8 = 0x95;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_NOT: u8 = 0x56;

/// Registers, as the programs use them.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

const COMMAND_LOAD: libc::c_int = 5;
const COMMAND_ATTACH: libc::c_int = 8;
const COMMAND_DETACH: libc::c_int = 9;
const COMMAND_DESCRIPTOR: libc::c_int = 13;
const COMMAND_QUERY: libc::c_int = 16;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;

/// More programs than this on one group are not ours to replace.
const MOST_PROGRAMS: usize = 64;

/// Loads a program that decides by `rules`, the last that matches winning.
pub fn load_device_program(rules: &[DeviceRule]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    // Only programs that call helpers reserved for GPL need that licence; these call none.
    const LICENSE: &CStr = c"Apache-2.0";
    let program = compile(rules);
    let count = u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut attributes = Attributes {
        program_type: TYPE_CGROUP_DEVICE,
        count,
        instructions: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buffer: 0,
        kernel_version: 0,
        flags: 0,
    };
    // SAFETY: the attributes are laid out as `union bpf_attr` is for BPF_PROG_LOAD; `instructions`
    // and `license` point to memory that outlives the call, `count` instructions and a C string.
    let fd = unsafe { bpf(COMMAND_LOAD, &mut attributes) }?;
    // SAFETY: the kernel made the descriptor for this call and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[repr(C)]
struct AttachAttributes {
    target: i32,
    program: i32,
    attach_type: u32,
    flags: u32,
}

/// Attaches a program to a cgroup, beside those that are attached.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the attributes are laid out as `union bpf_attr` is for BPF_PROG_ATTACH and hold no
    // pointer.
    unsafe { bpf(COMMAND_ATTACH, &mut attributes) }.map(|_| ())
}

/// Detaches a program from a cgroup.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = AttachAttributes {
        target: cgroup.as_raw_fd(),
        program: program.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: the attributes are laid out as `union bpf_attr` is for BPF_PROG_DETACH and hold no
    // pointer.
    unsafe { bpf(COMMAND_DETACH, &mut attributes) }.map(|_| ())
}

/// Opens the device programs attached to a cgroup itself, not those of groups above.
pub fn device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    #[repr(C)]
    struct Attributes {
        target: i32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        ids: u64,
        count: u32,
        padding: u32,
    }
    let mut ids = [0u32; MOST_PROGRAMS];
    let mut attributes = Attributes {
        target: cgroup.as_raw_fd(),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(MOST_PROGRAMS).expect("BUG: 64 does not fit into 32 bits"),
        padding: 0,
    };
    // SAFETY: the attributes are laid out as `union bpf_attr` is for BPF_PROG_QUERY; `ids` points
    // to `count` writable numbers that outlive the call.
    unsafe { bpf(COMMAND_QUERY, &mut attributes) }?;
    let count = MOST_PROGRAMS.min(attributes.count as usize);
    ids[..count].iter().map(|id| program_by_id(*id)).collect()
}

fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        id: u32,
        next: u32,
        flags: u32,
    }
    let mut attributes = Attributes { id, next: 0, flags: 0 };
    // SAFETY: the attributes are laid out as `union bpf_attr` is for BPF_PROG_GET_FD_BY_ID and
    // hold no pointer.
    let fd = unsafe { bpf(COMMAND_DESCRIPTOR, &mut attributes) }?;
    // SAFETY: the kernel made the descriptor for this call and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Calls bpf(2).
///
/// # Safety
/// `attributes` must be laid out as the kernel's `union bpf_attr` is for `command`, and pointers in
/// it must be valid for what the command does with them.
unsafe fn bpf<T>(command: libc::c_int, attributes: &mut T) -> io::Result<i32> {
    // SAFETY: the pointer and the size are of one value; the rest is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, attributes as *mut T, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(result).expect("BUG: bpf(2) answered with more than an int"))
}

/// The context is `struct bpf_cgroup_dev_ctx`: access and kind in one word, major, minor.
fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program = vec![
        load(ACCESS, 0),
        Instruction { code: MOVE_REGISTER, registers: KIND | ACCESS << 4, offset: 0, immediate: 0 },
        immediate(AND, KIND, 0xffff),
        immediate(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        decide(&mut program, rule);
        // The verifier refuses what cannot be reached.
        if rule.is_total() {
            return program;
        }
    }
    program.extend(answer(false));
    program
}

fn decide(program: &mut Vec<Instruction>, rule: &DeviceRule) {
    let mut block = Vec::with_capacity(8);
    let kind = match rule.kind {
        Kind::All => None,
        Kind::Block => Some(1),
        Kind::Char => Some(2),
    };
    for (register, value) in [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)] {
        if let Some(value) = value {
            block.push(immediate(JUMP_IF_NOT, register, value));
        }
    }
    if rule.access != Access::all() {
        block.push(Instruction {
            code: MOVE_REGISTER,
            registers: SCRATCH | ACCESS << 4,
            offset: 0,
            immediate: 0,
        });
        if rule.allow {
            // All that is asked for must be among what is allowed.
            block.push(immediate(AND, SCRATCH, rule.access.complement().bits()));
            block.push(immediate(JUMP_IF_NOT, SCRATCH, 0));
        } else {
            // Anything among what is denied is enough.
            block.push(immediate(AND, SCRATCH, rule.access.bits()));
            block.push(immediate(JUMP_IF_EQUAL, SCRATCH, 0));
        }
    }
    block.extend(answer(rule.allow));
    let length = block.len();
    for (at, instruction) in block.iter_mut().enumerate() {
        if matches!(instruction.code, JUMP_IF_NOT | JUMP_IF_EQUAL) {
            let past = length - at - 1;
            instruction.offset = i16::try_from(past).expect("BUG: a rule of 32768 instructions");
        }
    }
    program.append(&mut block);
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        immediate(MOVE, RESULT, u32::from(allow)),
        Instruction { code: EXIT, registers: 0, offset: 0, immediate: 0 },
    ]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: register | CONTEXT << 4, offset, immediate: 0 }
}

fn immediate(code: u8, register: u8, value: u32) -> Instruction {
    Instruction { code, registers: register, offset: 0, immediate: value.cast_signed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_verifier_accepts_every_shape_of_rule() {
        let mut rules = Vec::new();
        for allow in [true, false] {
            for kind in [Kind::Block, Kind::Char, Kind::All] {
                for (major, minor) in [(None, None), (Some(8), None), (Some(u32::MAX), Some(3))] {
                    for access in [Access::READ, Access::READ | Access::MKNOD, Access::all()] {
                        rules.push(DeviceRule { allow, kind, major, minor, access });
                    }
                }
            }
        }
        for count in [0, 1, 5, rules.len()] {
            match load_device_program(&rules[..count]) {
                Ok(_) => {}
                Err(err) if err.raw_os_error() == Some(libc::EPERM) => {
                    println!("SKIPPED: not allowed to load eBPF programs");
                    return;
                }
                Err(err) => panic!("{count} rules: {err}"),
            }
        }
    }

    #[test]
    fn nothing_follows_a_rule_for_everything() {
        let total = DeviceRule {
            allow: true,
            kind: Kind::All,
            major: None,
            minor: None,
            access: Access::all(),
        };
        let program = compile(&[total]);
        assert_eq!(program.len(), 8);
        assert_eq!(program[6..], answer(true));
    }
}
