//! The handlers: one function per operation, from a [`Call`](crate::call::Call) to a
//! [`Reply`](crate::reply::Reply).
//!
//! **Invariant:** a handler translates and nothing else. What Docker's clients rely on beyond the
//! wire is the engine's.

pub(crate) mod absent;
pub(crate) mod containers;
pub(crate) mod create;
pub(crate) mod events;
pub(crate) mod exec;
mod host_config;
pub(crate) mod images;
pub(crate) mod networks;
pub(crate) mod prune;
pub(crate) mod streams;
pub(crate) mod system;
