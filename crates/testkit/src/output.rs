//! What a command printed and how it ended.

use std::{fmt, process};

/// The end of a command. Either assert on it or call [`Output::ok`].
#[must_use = "check how the command ended"]
pub struct Output {
    command: String,
    /// The exit code; 128 + the signal when one killed it.
    pub code: i32,
    /// All of standard output, bytes that are not UTF-8 replaced.
    pub stdout: String,
    /// All of standard error, likewise.
    pub stderr: String,
}

impl Output {
    pub(crate) fn new(command: String, output: &process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let status = output.status;
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { command, code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Asserts success and gives standard output without the last newline.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout.trim_end_matches('\n').to_owned()
    }

    /// Asserts the exit code `code` and gives standard error.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self}");
        self.stderr
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(f, "$ {command}\nexit code {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}
