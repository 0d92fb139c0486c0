//! The OCI runtime as a library: a specification in, a confined process out.
//!
//! [`create`] makes a container up to its gate, [`Created::start`] (or [`gate::open`], from
//! another process) opens the gate, [`exec`] puts another process into it under the same
//! confinement. All of them block, none starts a thread, and none executes a helper.
//!
//! **Invariant:** the container's process makes itself: the parent prepares descriptors and reads
//! the outcome, and nothing of ours runs inside once its executable does (but for pid 1, if a
//! reaping init was asked for).
//! **Invariant:** a path inside a root filesystem is walked by `sys::rootfs` and used by
//! descriptor, never by name.
//! **Absent:** state on disk, supervision, logs. Those are the callers', `shim` and [`command`].

mod birth;
mod channel;
mod child;
mod create;
mod error;
mod exec;
mod idmap;
mod plan;
mod request;

pub mod cgroup;
pub mod command;
pub mod gate;
pub mod hooks;
pub mod protect;
pub mod seccomp;

pub use create::{Created, Running, create};
pub use error::{CreateError, ExecError, Launch, StartError};
pub use exec::{Process, exec};
pub use request::{ExecRequest, Gate, Overlay, Request, Rootfs, SeccompPolicy, Stdio};
