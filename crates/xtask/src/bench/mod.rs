//! Measuring: side by side, in alternation, in one run.

use anyhow::{Result, bail};
use clap::Args;

/// What to measure and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds per figure.
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Only figures whose name contains this.
    only: Option<String>,
}

/// Runs the benchmarks.
pub(crate) fn run(_options: &Options) -> Result<()> {
    bail!("not there yet")
}
