//! Networks on the real kernel, in private namespaces.
//!
//! Every test has a host of its own: a network namespace that a thread enters for good. Containers
//! and neighbours are further namespaces; all of them live by descriptors only, and go when the
//! test does.

mod attach;
mod firewall;
mod isolation;
mod published;
mod recovery;
mod world;
