//! Measuring: against peers and against the kernel's floor, in alternation, in one run.
//!
//! **Invariant:** a figure is a ratio of medians that were taken side by side; absolute times drift
//! from machine to machine and from hour to hour.

mod figures;
mod memory;
mod peer;
mod report;
mod sample;
mod world;

use anyhow::Result;
use clap::Args;

use crate::{release, setup};

/// What to measure and how often.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds of each figure.
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Write the table into docs/benchmarks.md.
    #[arg(long)]
    write: bool,
    /// Only figures whose name contains this.
    only: Option<String>,
}

/// Sets up the peers, measures, prints and perhaps writes the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run(true)?;
    let executable = release::run()?;
    let world = world::World::new(executable)?;
    let mut report = report::Report::default();
    for (name, measure) in figures::FIGURES {
        if options.only.as_ref().is_some_and(|it| !name.contains(it.as_str())) {
            continue;
        }
        eprintln!("measuring: {name}");
        match measure(&world, options.rounds) {
            Ok(rows) => rows.into_iter().for_each(|it| report.add(it)),
            Err(error) => report.fail(name, &error),
        }
    }
    print!("{report}");
    if options.write { report.write() } else { Ok(()) }
}
