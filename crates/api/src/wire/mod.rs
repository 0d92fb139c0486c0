//! Docker's JSON models, as we send them.
//!
//! Our own, and not those of a generated client: fields are in Docker's order, and each is left
//! out, `null`, `[]` or empty exactly where Docker's is, which scripts and people's eyes know.
//!
//! **Invariant:** nothing here decides anything. A model borrows from a view of the engine's and
//! is serialised at once.

mod config;
mod container;
mod event;
mod exec;
mod host;
mod image;
mod network;
mod system;
mod time;

pub(crate) use container::{Inspected, Listed};
pub(crate) use event::event;
pub(crate) use exec::InspectedExec;
pub(crate) use image::{HistoryItem, InspectedImage, ListedImage, RemovedItem};
pub(crate) use network::Network;
pub(crate) use system::{Facts, VersionFacts};
pub(crate) use time::{moment as parse_moment, parse as parse_time, rfc3339};

use serde::Serialize;

/// An empty JSON object.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Empty {}

/// `null` in place of an empty list, as Go has it for a list that was never made.
pub(crate) fn or_null<T>(list: &[T]) -> Option<&[T]> {
    Some(list).filter(|it| !it.is_empty())
}

/// For `skip_serializing_if`.
pub(crate) fn is_false(flag: &bool) -> bool {
    !*flag
}

/// For `skip_serializing_if`.
pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}
