//! The project's own tool: `cargo xtask COMMAND`.
//!
//! **Invariant:** every command does its own set-up: on a fresh machine, nothing has to be run
//! before it.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line tool")]

mod bench;
mod demo;
mod install;
mod release;
mod setup;
mod shell;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, tests, measures and ships Wadah.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the Debian packages that are missing, saying which and why.
    Setup {
        /// Also the peers that the benchmarks compare with.
        #[arg(long)]
        peers: bool,
    },
    /// Set up, build, start a daemon and run real containers in it.
    Demo,
    /// Set up, build and run every test.
    Test {
        /// Only tests whose name contains this.
        filter: Option<String>,
        /// Also the long soaks.
        #[arg(long)]
        soak: bool,
    },
    /// Install the release build, completions, man pages and systemd units.
    Install {
        /// Where the tree begins: `/` for the machine itself, another for a package.
        #[arg(long, default_value = "/")]
        root: std::path::PathBuf,
    },
    /// Check walls, budgets and headers.
    Tidy,
    /// Measure against peers and the kernel's floor, in alternation, in one run.
    Bench(bench::Options),
    /// Build the static executable and print its size.
    Release,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
            eprintln!("error: {}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Setup { peers } => setup::run(peers),
        Task::Demo => demo::run(),
        Task::Test { filter, soak } => test::run(filter.as_deref(), soak),
        Task::Install { root } => install::run(&root),
        Task::Tidy => tidy::run(),
        Task::Bench(options) => bench::run(&options),
        Task::Release => release::run().map(drop),
    }
}
