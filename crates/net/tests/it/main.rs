//! Networks on the real kernel, in private namespaces.
//!
//! Every test has a host of its own: a network namespace that a thread enters for good. Containers
//! and neighbours are further namespaces; all of them live by descriptors only, and go when the
//! test does.

#![allow(clippy::unwrap_used, reason = "a test ends where its premise does")]
#![allow(clippy::print_stdout, reason = "the timings are there to be read")]

mod attach;
mod firewall;
mod guest;
mod isolation;
mod published;
mod recovery;
mod timing;
mod world;
