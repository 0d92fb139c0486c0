//! The store on the real kernel: hostile layers, real trees, crashes, full disks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says aloud what it skipped"
)]

mod crash;
mod full;
mod hostile;
mod mounts;
mod raw;
mod scene;
mod stacks;
mod trees;
