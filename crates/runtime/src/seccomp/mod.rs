//! Seccomp: which system calls a container may make.
//!
//! A [`Program`] is a compiled filter with all that is needed to load it: instructions, flags and,
//! for notifying filters, where the listener goes. It is made from an OCI `linux.seccomp` object
//! or from the table of the default profile, and never changes afterwards.
//!
//! **Invariant:** a program is complete; loading it decides nothing.
//! **Absent:** the order of loading relative to the dropping of capabilities. That is the caller's,
//! who knows whether `no_new_privs` is set: without it the kernel demands CAP_SYS_ADMIN here.

use std::{io, os::fd::OwnedFd, path::PathBuf};

use oci_spec::runtime::{Capabilities, LinuxSeccomp};

/// A compiled filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
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
    /// An architecture this compiler has no table for, and no other architecture is left.
    #[error("seccomp: no supported architecture among those of the profile")]
    NoArchitecture,
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
        let _ = bounding;
        todo!()
    }

    /// Compiles the profile of a specification; the second value is what to warn the user of.
    pub fn from_spec(profile: &LinuxSeccomp) -> Result<(Self, Vec<String>), SeccompError> {
        let _ = profile;
        todo!()
    }

    /// Loads the filter into the calling thread. Allocates nothing and may be called after a fork.
    ///
    /// For a notifying filter the listener's descriptor is returned (close-on-exec); it belongs to
    /// [`Program::listener`]'s agent.
    pub fn load(&self) -> Result<Option<OwnedFd>, LoadError> {
        todo!()
    }

    /// Where the listener's descriptor is to be sent, for a notifying filter.
    pub fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }
}

impl Listener {
    /// Sends the listener's descriptor with the container process state (OCI runtime spec,
    /// "The Container Process State") as JSON in `state`.
    pub fn send(&self, listener: OwnedFd, state: &[u8]) -> io::Result<()> {
        let _ = (listener, state);
        todo!()
    }
}
