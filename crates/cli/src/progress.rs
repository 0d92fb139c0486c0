//! Progress: the lines of JSON in which the daemon tells how a long operation goes.
//!
//! An operation may fail after its answer has begun: then the failure is one of these lines.

use serde::Deserialize;

use crate::{client::Pending, failure::Failure, output};

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Stdout,
    Stderr,
}

/// One line, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Line {
    stream: Option<String>,
    status: Option<String>,
    id: Option<String>,
    progress: Option<String>,
    error: Option<String>,
    error_detail: Option<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    message: Option<String>,
}

/// Shows the lines until the operation ends; `quiet` shows none.
pub(crate) async fn show(pending: Pending, quiet: bool, to: To) -> Result<(), Failure> {
    let mut lines = Lines::new(pending);
    while let Some(line) = lines.next().await? {
        // Lines of running progress are for terminals that can overwrite them.
        if !quiet && line.progress.is_none() {
            write(&line.text(), to)?;
        }
    }
    Ok(())
}

fn write(text: &str, to: To) -> Result<(), Failure> {
    match to {
        To::Stdout => output::print(text),
        To::Stderr => {
            output::error(text);
            Ok(())
        }
    }
}

impl Line {
    fn text(&self) -> String {
        if let Some(stream) = &self.stream {
            return stream.clone();
        }
        let status = self.status.as_deref().unwrap_or_default();
        match &self.id {
            _ if status.is_empty() => String::new(),
            Some(id) => format!("{id}: {status}\n"),
            None => format!("{status}\n"),
        }
    }
}

/// Cuts an answer into its lines.
#[derive(Debug)]
struct Lines {
    pending: Pending,
    buffer: Vec<u8>,
    ended: bool,
}

impl Lines {
    fn new(pending: Pending) -> Self {
        Self { pending, buffer: Vec::new(), ended: false }
    }

    async fn next(&mut self) -> Result<Option<Line>, Failure> {
        let bytes = next_line(&mut self.pending, &mut self.buffer, &mut self.ended).await?;
        let Some(bytes) = bytes else { return Ok(None) };
        let what = || "an operation in progress".to_owned();
        let line: Line = serde_json::from_slice(&bytes)
            .map_err(|source| Failure::Answer { what: what(), source })?;
        let detail = line.error_detail.as_ref().and_then(|it| it.message.clone());
        match detail.or_else(|| line.error.clone()) {
            Some(message) => Err(Failure::Refused { message }),
            None => Ok(Some(line)),
        }
    }
}

/// The next line of an answer that is not empty, without its end; `None` at the answer's end.
pub(crate) async fn next_line(
    pending: &mut Pending,
    buffer: &mut Vec<u8>,
    ended: &mut bool,
) -> Result<Option<Vec<u8>>, Failure> {
    loop {
        if let Some(end) = buffer.iter().position(|it| *it == b'\n') {
            let mut line: Vec<u8> = buffer.drain(..=end).collect();
            line.truncate(line.trim_ascii_end().len());
            if !line.is_empty() {
                return Ok(Some(line));
            }
        } else if *ended {
            let rest = std::mem::take(buffer);
            return Ok((!rest.trim_ascii().is_empty()).then_some(rest));
        } else {
            match pending.next().await? {
                Some(bytes) => buffer.extend_from_slice(&bytes),
                None => *ended = true,
            }
        }
    }
}
