//! Names and formats of the Open Container Initiative.
//!
//! Everything that identifies something has a type of its own here, parsed once, at the edge:
//! past it no `String` is an id. The formats themselves (image manifests, configurations, the
//! runtime's `config.json`) are the `oci-spec` crate's.
//!
//! **Invariant:** this crate is pure. It opens no file, makes no syscall, and knows no registry.

#![forbid(unsafe_code)]

mod digest;
mod id;
mod reference;

pub use digest::{ChainId, DiffId, Digest, Hasher, ParseDigestError};
pub use id::{ContainerId, ContainerName, ExecId, ParseIdError, ParseNameError};
pub use reference::{ParseReferenceError, Reference};
