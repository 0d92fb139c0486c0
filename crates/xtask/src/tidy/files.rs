//! Files: a header that says what their noun is, and a budget of lines.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::functions;
use crate::shell;

/// Lines of a file without its tests. Flat tables may be longer if they say so with [`TABLE`].
const BUDGET: usize = 500;

/// What a file that is one flat table says in its header.
const TABLE: &str = "A flat table";

/// Lists what is wrong with the Rust files that git knows.
pub(crate) fn check() -> Result<Vec<String>> {
    let top = shell::top();
    let list = shell::read(Command::new("git").current_dir(&top).args([
        "ls-files",
        "-co",
        "--exclude-standard",
        "*.rs",
    ]))?;
    let mut problems = Vec::new();
    let mut sizes = functions::Sizes::default();
    for path in list.lines().filter(|it| top.join(it).exists()) {
        let text = fs::read_to_string(top.join(path)).with_context(|| path.to_owned())?;
        problems.extend(check_file(path, &text));
        problems.extend(sizes.add(Path::new(path), &text)?);
    }
    problems.extend(sizes.check());
    Ok(problems)
}

fn check_file(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") && !text.starts_with("#![no_std]") {
        problems.push(format!("{path}: does not begin with //! and what it is about"));
    }
    let header = text.lines().take_while(|it| it.starts_with("//!")).collect::<String>();
    let lines = production(text).lines().count();
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs");
    if lines > BUDGET && !is_test && !header.contains(TABLE) {
        problems.push(format!("{path}: {lines} lines, the budget is {BUDGET}"));
    }
    problems
}

/// The file without the tests at its end.
fn production(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod tests {").map_or(text, |at| &text[..at])
}
