//! Streams of JSON lines that tell how something goes on: load, import.
//!
//! **Invariant:** the status is 200 and gone before anything can fail: an error is the last line.
//! **Invariant:** a client that does not read loses progress bars, and nothing else.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::reply::to_json;

/// Where lines go. Its calls block, for use on a blocking thread.
#[derive(Debug)]
pub(crate) struct Lines {
    sender: mpsc::Sender<Bytes>,
}

#[derive(Debug, Serialize)]
struct Text<'a> {
    stream: &'a str,
}

#[derive(Debug, Serialize)]
struct Status<'a> {
    status: &'a str,
}

#[derive(Debug, Serialize)]
struct Bar<'a> {
    status: &'a str,
    #[serde(rename = "progressDetail")]
    detail: Detail,
    progress: String,
    id: &'a str,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Detail {
    current: u64,
    total: u64,
}

#[derive(Debug, Serialize)]
struct Failure<'a> {
    #[serde(rename = "errorDetail")]
    detail: FailureDetail<'a>,
    error: &'a str,
}

#[derive(Debug, Serialize)]
struct FailureDetail<'a> {
    message: &'a str,
}

impl Lines {
    /// Sends lines to the body that `sender` fills.
    pub(crate) fn new(sender: mpsc::Sender<Bytes>) -> Self {
        Self { sender }
    }

    /// Text to print as it is.
    pub(crate) fn text(&self, text: &str) {
        self.send(&Text { stream: text });
    }

    /// A line of its own.
    pub(crate) fn status(&self, status: &str) {
        self.send(&Status { status });
    }

    /// How far something has come. Left out where the client is slow.
    pub(crate) fn bar(&self, status: &str, id: &str, current: u64, total: u64) {
        let detail = Detail { current, total };
        let line = encode(&Bar { status, detail, progress: draw(current, total), id });
        // A full queue is a slow client; a closed one has gone.
        let _left_out = self.sender.try_send(line);
    }

    /// What went wrong: the last line.
    pub(crate) fn failure(&self, message: &str) {
        self.send(&Failure { detail: FailureDetail { message }, error: message });
    }

    fn send(&self, line: &impl Serialize) {
        let _client_gone = self.sender.blocking_send(encode(line));
    }
}

fn encode(line: &impl Serialize) -> Bytes {
    let mut bytes = to_json(line);
    bytes.extend_from_slice(b"\r\n");
    bytes.into()
}

/// The bar that clients print as it is: `[====>   ]  1.5MB/3MB`.
fn draw(current: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    let share = current.min(total) as f64 / total.max(1) as f64;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of 50 columns"
    )]
    let filled = (share * WIDTH as f64) as usize;
    let bar = match filled {
        WIDTH => "=".repeat(WIDTH),
        _ => format!("{}>", "=".repeat(filled)),
    };
    format!("[{bar:<WIDTH$}]  {}/{}", size(current), size(total))
}

/// A size in Docker's decimal units, with four digits.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = match size {
        it if it >= 100.0 || unit == 0 => 0,
        it if it >= 10.0 => 1,
        _ => 2,
    };
    format!("{size:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_grows_with_what_it_shows() {
        assert_eq!(draw(0, 10), format!("[>{}]  0B/10B", " ".repeat(49)));
        assert_eq!(
            draw(1_500_000, 3_000_000),
            format!("[{}>{}]  1.50MB/3.00MB", "=".repeat(25), " ".repeat(24))
        );
        assert_eq!(draw(5, 5), format!("[{}]  5B/5B", "=".repeat(50)));
    }

    #[test]
    fn an_error_is_told_twice_as_clients_expect() {
        let (sender, mut receiver) = mpsc::channel(1);
        std::thread::spawn(move || Lines::new(sender).failure("no")).join().unwrap();
        let line = receiver.blocking_recv().unwrap();
        assert_eq!(&line[..], b"{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n");
    }
}
