//! What no compiler checks: the walls between crates, the budgets of files and functions, a
//! header on every file, the number of dependencies.

mod files;
mod functions;
mod walls;

use anyhow::{Result, bail};

/// Checks everything and lists all that is wrong, not only the first.
pub(crate) fn run() -> Result<()> {
    let mut problems = walls::check()?;
    problems.extend(files::check()?);
    if problems.is_empty() {
        println!("tidy");
        return Ok(());
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    bail!("{} things to tidy", problems.len())
}
