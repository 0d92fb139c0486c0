//! Running a filter as the kernel does: for tests, and to tell why a call was refused.

use super::Instruction;

/// A system call as a filter sees it: the kernel's `struct seccomp_data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The architecture, as [`super::Arch::audit`] has it.
    pub audit: u32,
    /// The number.
    pub number: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

/// Returns the value a compiled filter gives, and how many instructions it took.
///
/// # Panics
/// On a filter that [`super::Policy::compile`] did not make.
pub fn evaluate(filter: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0, 0, 0);
    loop {
        let it = filter[at];
        at += 1;
        steps += 1;
        let jump = |yes: bool| usize::from(if yes { it.jump_true } else { it.jump_false });
        match it.code {
            0x20 => accumulator = load(call, it.k),
            0x54 => accumulator &= it.k,
            0x05 => at += it.k as usize,
            0x15 => at += jump(accumulator == it.k),
            0x25 => at += jump(accumulator > it.k),
            0x35 => at += jump(accumulator >= it.k),
            0x06 => return (it.k, steps),
            code => panic!("BUG: instruction {code:#x} in a compiled filter"),
        }
    }
}

fn load(call: &Call, offset: u32) -> u32 {
    let half = |argument: u64| if offset.is_multiple_of(8) { argument } else { argument >> 32 };
    let word = match offset {
        0 => u64::from(call.number),
        4 => u64::from(call.audit),
        16..64 => half(call.arguments[(offset as usize - 16) / 8]),
        _ => panic!("BUG: a compiled filter loads offset {offset}"),
    };
    u32::try_from(word & 0xffff_ffff).expect("BUG: 32 bits do not fit into 32 bits")
}
