//! The daemon's own log, on standard error.

use std::io;

use tracing::Level;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Begins to log. Only our own crates speak below `warn`: others' details are not the user's.
pub(super) fn init(level: Level, format: Format) {
    let ours = Targets::new().with_default(Level::WARN).with_target("wadah", level);
    let layer = fmt::layer().with_writer(io::stderr).with_target(false).with_ansi(false);
    match format {
        Format::Text => Registry::default().with(layer.with_filter(ours)).init(),
        Format::Json => Registry::default().with(layer.json().with_filter(ours)).init(),
    }
}
