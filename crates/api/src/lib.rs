//! The Engine API over HTTP: what Docker's clients speak.
//!
//! A request goes `server` → `connection` → `dispatch` → a handler → the engine, and comes back as
//! a [`reply`]. Wire models, versions, quirks of Go's JSON and of Docker's streams live here and
//! nowhere else.
//!
//! **Invariant:** no input makes the daemon panic, hang or answer 500: what cannot be understood
//! is answered with 400 and the name of what was wrong.
//! **Invariant:** this crate keeps no state of its own but open connections.

#![forbid(unsafe_code)]

mod call;
mod connection;
mod detach;
mod dispatch;
mod error;
mod filters;
mod frame;
mod handlers;
mod hijack;
mod object;
mod progress;
mod query;
mod reply;
mod routes;
mod server;
mod transport;
mod upload;
mod version;
mod wire;

pub use server::{Activity, Listener, Server};
