//! The shim: one container's supervisor, what it says to the daemon, and how it is started.
//!
//! Three parts, in the order in which a reader meets them: [`protocol`] is the language,
//! [`launch`] the daemon's side, [`supervise`] the shim itself.
//!
//! **Invariant:** no asynchronous runtime below this line: a shim is one thread and one loop.

pub mod launch;
pub mod protocol;
pub mod supervise;

mod clock;
mod log;
