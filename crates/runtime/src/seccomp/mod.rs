//! Seccomp: which system calls a container may make.
//!
//! A [`Program`] is a compiled filter with all that is needed to load it: instructions, flags and,
//! for notifying filters, where the listener goes. It is made from an OCI `linux.seccomp` object
//! or from the table of the default profile, and never changes afterwards.
//!
//! **Invariant:** a program is complete; loading it decides nothing.
//! **Absent:** the order of loading relative to the dropping of capabilities. That is the caller's,
//! who knows whether `no_new_privs` is set: without it the kernel demands CAP_SYS_ADMIN here.

mod default;
mod listener;
mod spec;
mod table;

use std::{io, os::fd::OwnedFd, path::PathBuf};

use oci_spec::runtime::{Capabilities, LinuxSeccomp};
use wadah_sys::seccomp::{self, CompileError, Flags, Instruction};

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    filter: Vec<Instruction>,
    flags: Flags,
    listener: Option<Listener>,
}

/// Where the descriptor of a notifying filter is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The unix socket of the agent.
    pub path: PathBuf,
    /// Passed to the agent unread.
    pub metadata: Option<String>,
}

/// Why a profile could not be compiled.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// Nothing can decide when everything waits for a decision.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be the default action")]
    NotifyByDefault,
    /// The runtime itself needs the call after the filter is loaded.
    #[error("seccomp: SCMP_ACT_NOTIFY cannot be used for {call}")]
    Notify {
        /// The system call.
        call: String,
    },
    /// A notifying rule without an agent to notify.
    #[error("seccomp: SCMP_ACT_NOTIFY for {call} needs a listenerPath")]
    NoListener {
        /// The system call.
        call: String,
    },
    /// A system call has six arguments.
    #[error("seccomp: the rule for {call} looks at argument {index}; there are 0 to 5")]
    Argument {
        /// The system call.
        call: String,
        /// The index as given.
        index: usize,
    },
    /// An error number is at most 65535 here, and 4095 to the kernel.
    #[error("seccomp: errnoRet {value} is out of range")]
    Errno {
        /// The number as given.
        value: u32,
    },
    /// The kernel would refuse the filter.
    #[error("cannot compile the seccomp profile")]
    Compile {
        /// Why.
        source: CompileError,
    },
}

/// Why a filter could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("cannot load the seccomp filter")]
pub struct LoadError {
    /// The kernel's answer.
    pub source: io::Error,
}

impl Program {
    /// Returns Docker's default profile for a process with this bounding set.
    pub fn default_profile(bounding: &Capabilities) -> Self {
        let filter = default::compile(bounding).expect("BUG: the default profile is too long");
        Self { filter, flags: Flags::SPEC_ALLOW, listener: None }
    }

    /// Compiles the profile of a specification; the second value is what to warn the user of.
    pub fn from_spec(profile: &LinuxSeccomp) -> Result<(Self, Vec<String>), SeccompError> {
        spec::compile(profile)
    }

    /// Loads the filter into the calling thread. Allocates nothing and may be called after a fork.
    ///
    /// For a notifying filter the listener's descriptor is returned (close-on-exec); it belongs to
    /// [`Program::listener`]'s agent.
    pub fn load(&self) -> Result<Option<OwnedFd>, LoadError> {
        seccomp::load(&self.filter, self.flags).map_err(|source| LoadError { source })
    }

    /// Where the listener's descriptor is to be sent, for a notifying filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// The compiled instructions.
    pub fn instructions(&self) -> &[Instruction] {
        &self.filter
    }
}

#[cfg(test)]
mod tests;
