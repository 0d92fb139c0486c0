//! What the kernel offers and `rustix` lacks.
//!
//! **Invariant:** this is the only crate with unsafe code.

pub mod bpf;
pub mod fd;
pub mod heap;
pub mod mount;
pub mod netlink;
pub mod nfnetlink;
pub mod process;
pub mod rootfs;
pub mod rtnetlink;
pub mod seccomp;
pub mod signalfd;
pub mod socket;
pub mod spawn;
pub mod writeback;
