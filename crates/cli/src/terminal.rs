//! The terminal: whether there is one, its size, and raw mode.
//!
//! **Invariant:** raw mode ends with its guard, [`Raw`]: on success, on failure and when a panic
//! unwinds. Signals that would end the process are caught while the guard lives.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::{
    io::Errno,
    termios::{self, OptionalActions, Termios, Winsize},
};

/// Rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub rows: u16,
    pub columns: u16,
}

/// Standard input in raw mode, until dropped.
#[derive(Debug)]
#[must_use = "dropping it leaves raw mode"]
pub(crate) struct Raw {
    saved: Termios,
}

impl Raw {
    /// Puts the terminal that is standard input into raw mode.
    pub(crate) fn enter() -> Result<Self, Errno> {
        let stdin = rustix::stdio::stdin();
        let saved = termios::tcgetattr(stdin)?;
        let raw = Self { saved };
        raw.apply()?;
        Ok(raw)
    }

    /// Enters raw mode once more: a shell that continues a stopped job may have left it.
    pub(crate) fn apply(&self) -> Result<(), Errno> {
        let mut modes = self.saved.clone();
        modes.make_raw();
        termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &modes)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // The terminal may be gone, and then there is nothing to restore.
        let _ = termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.saved);
    }
}

/// Whether standard input is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    termios::isatty(rustix::stdio::stdin())
}

/// Whether standard output is a terminal.
pub(crate) fn stdout_is_terminal() -> bool {
    termios::isatty(rustix::stdio::stdout())
}

/// The size of the terminal that standard output is.
pub(crate) fn size() -> Option<Size> {
    let Winsize { ws_row: rows, ws_col: columns, .. } =
        termios::tcgetwinsize(rustix::stdio::stdout().as_fd()).ok()?;
    (rows > 0 && columns > 0).then_some(Size { rows, columns })
}

/// The columns of the terminal that standard output is.
pub(crate) fn width() -> Option<usize> {
    size().map(|it| usize::from(it.columns))
}

/// Standard input as a descriptor to read from.
pub(crate) fn stdin() -> BorrowedFd<'static> {
    rustix::stdio::stdin()
}
