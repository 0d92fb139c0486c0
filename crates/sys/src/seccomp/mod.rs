//! Seccomp: compiling a policy into a filter, and loading it.
//!
//! A [`Policy`] says what becomes of each system call on each [`Arch`]; [`Policy::compile`] turns
//! it into [`Instruction`]s of classic BPF; [`load`] gives those to the kernel.
//!
//! **Invariant:** a compiled filter has no way past its end, no backward jump, and kills what
//! comes from an architecture the policy does not name.
//! **Absent:** system calls by any name but the kernel's tables'; profiles; JSON.

#![allow(unsafe_code, reason = "loading a filter is a system call that rustix lacks")]

mod arch;
mod assemble;
mod evaluate;
mod policy;

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

pub use arch::Arch;
pub use evaluate::{Call, evaluate};
pub use policy::{Action, Comparison, CompileError, Condition, Policy};

/// One instruction of classic BPF: the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How far to jump if true.
    pub jump_true: u8,
    /// How far to jump if false.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

bitflags::bitflags! {
    /// How a filter is loaded: the kernel's `SECCOMP_FILTER_FLAG_*`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Flags: u32 {
        /// Every thread of the process gets it, or none.
        const TSYNC = 1;
        /// Every action but "allow" is logged.
        const LOG = 1 << 1;
        /// Speculative store bypass stays unmitigated.
        const SPEC_ALLOW = 1 << 2;
        /// A descriptor of the listener is returned.
        const NEW_LISTENER = 1 << 3;
        /// A failed `TSYNC` is an error, not a thread id; needed to combine it with a listener.
        const TSYNC_ESRCH = 1 << 4;
        /// A notified process can be killed while its agent thinks.
        const WAIT_KILLABLE_RECV = 1 << 5;
    }
}

/// Loads a filter into the calling thread, for good.
///
/// Returns the listener's descriptor when [`Flags::NEW_LISTENER`] is given. Allocates nothing: it
/// may be called between fork and execve.
///
/// # Errors
/// `EACCES`: neither `no_new_privs` nor CAP_SYS_ADMIN. `EINVAL`: not a valid filter, or a flag the
/// kernel does not know. `ESRCH`: a thread could not be synchronised.
pub fn load(filter: &[Instruction], flags: Flags) -> io::Result<Option<OwnedFd>> {
    let length =
        u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
    // SAFETY: `program` points to `length` instructions laid out as the kernel's `sock_filter`
    // (`Instruction` is `repr(C)` with the same fields); the kernel copies and never writes them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags.bits(),
            &raw const program,
        )
    };
    let result = i32::try_from(result).unwrap_or(-1);
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if flags.contains(Flags::NEW_LISTENER) {
        // SAFETY: with this flag a successful call returns a new descriptor that nobody owns yet.
        return Ok(Some(unsafe { OwnedFd::from_raw_fd(result) }));
    }
    if result > 0 {
        // Without TSYNC_ESRCH the kernel answers with the thread that refused.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
