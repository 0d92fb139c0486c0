//! What a caller asks of the runtime, as plain data.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use oci_spec::runtime as spec;
use rustix::process::Pid;

use crate::cgroup;

/// A container to be made.
#[derive(Debug)]
pub struct Request<'a> {
    /// Told to hooks; its first twelve characters are the host name if the specification has none.
    pub id: &'a str,
    /// The OCI specification. Its `root.path` and `linux.cgroupsPath` are not looked at:
    /// `rootfs` and `cgroup` say it.
    pub spec: &'a spec::Spec,
    /// The bundle's directory: told to hooks, and what relative mount sources start from.
    pub bundle: &'a Path,
    /// The root filesystem.
    pub rootfs: Rootfs<'a>,
    /// Where its control group goes.
    pub cgroup: cgroup::Location,
    /// Its standard streams.
    pub stdio: Stdio,
    /// How many descriptors, from 3 on, reach the process.
    pub preserve_fds: u32,
    /// Its seccomp filter.
    pub seccomp: SeccompPolicy,
    /// Whether a reaping, signal-forwarding pid 1 of ours goes before the executable.
    pub init: bool,
    /// How it will be started.
    pub gate: Gate,
    /// Changes the root by `chroot` instead of `pivot_root`, for an initramfs.
    pub no_pivot: bool,
    /// Lets it share the session keyring of its creator.
    pub no_new_keyring: bool,
    /// Kills it when the thread that creates it ends.
    pub parent_death_signal: bool,
}

/// What a container's root filesystem is made of.
#[derive(Debug, Clone, Copy)]
pub enum Rootfs<'a> {
    /// A directory of the host, with what is mounted below it.
    Directory(&'a Path),
    /// An overlay, mounted where no process of the host sees it.
    Overlay(&'a Overlay),
}

/// The directories of an overlay.
#[derive(Debug, Clone)]
pub struct Overlay {
    /// The read-only layers, the nearest first; at least one.
    pub lower: Vec<PathBuf>,
    /// Where changes go.
    pub upper: PathBuf,
    /// The overlay's own scratch directory, on the filesystem of `upper`.
    pub work: PathBuf,
    /// Whether a crash of the machine may lose what was written.
    pub volatile: bool,
}

/// The standard streams of a process.
#[derive(Debug)]
pub enum Stdio {
    /// The caller's own.
    Inherit,
    /// These descriptors.
    Files {
        /// Descriptor 0.
        stdin: OwnedFd,
        /// Descriptor 1.
        stdout: OwnedFd,
        /// Descriptor 2.
        stderr: OwnedFd,
    },
    /// A terminal made inside the container; the caller gets its other side.
    Terminal {
        /// Rows and columns; `process.consoleSize` of the specification if absent.
        size: Option<(u16, u16)>,
    },
}

/// Which seccomp filter a process gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeccompPolicy {
    /// The built-in default profile.
    Default,
    /// What `linux.seccomp` of the specification says; none if it says nothing.
    Spec,
    /// None.
    Unconfined,
}

/// How a created container is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// By its creator, with [`crate::Created::start`]. It dies with its creator until then.
    Pipe,
    /// By whoever calls [`crate::gate::open`] with this path, at which a socket is made. It
    /// outlives its creator.
    Socket(PathBuf),
}

/// A process to be put into a running container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// The container's first process.
    pub init: Pid,
    /// The container's specification, for its filter and its namespaces.
    pub spec: &'a spec::Spec,
    /// What to run.
    pub process: &'a spec::Process,
    /// The container's control group; `None` leaves the process in the caller's.
    pub cgroup: Option<&'a cgroup::Cgroup>,
    /// Its standard streams.
    pub stdio: Stdio,
    /// How many descriptors, from 3 on, reach the process.
    pub preserve_fds: u32,
    /// Its seccomp filter.
    pub seccomp: SeccompPolicy,
    /// Kills it when the thread that creates it ends.
    pub parent_death_signal: bool,
}
