//! Output: everything that a command prints, except what streams from a container.
//!
//! A command renders its whole answer and writes it once. **Invariant:** a reader who has gone
//! away is a [`Failure::Output`], never a panic.

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes `text` to standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    write(text.as_bytes())
}

/// Writes one line to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes bytes to standard output, past any buffer.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(|source| Failure::Output { source })
}

/// Writes `text` to standard error. Nobody can be told when that fails.
pub(crate) fn error(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes one line to standard error.
pub(crate) fn note(text: &str) {
    error(&format!("{text}\n"));
}
