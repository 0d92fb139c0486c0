//! The static executable that is shipped.

use std::{fs, path::PathBuf};

use anyhow::Result;

use crate::shell;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Static, so that it runs on any distribution; not position-independent, so that no relocation
/// dirties a page and all shims share one image (docs/decisions/0004).
const FLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";

/// Builds it, prints where it is and how large, and gives its path.
pub(crate) fn run() -> Result<PathBuf> {
    let mut command = shell::cargo();
    command
        .args(["build", "--release", "--package", "wadah", "--target", TARGET])
        .env("RUSTFLAGS", FLAGS);
    shell::run(&mut command)?;
    let path = shell::target_directory().join(TARGET).join("release/wadah");
    let bytes = fs::metadata(&path)?.len();
    println!("{} ({}.{} MB)", path.display(), bytes / 1_000_000, bytes / 100_000 % 10);
    Ok(path)
}
