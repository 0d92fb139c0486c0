//! What the command line has to say: to standard error, and to a file that an engine reads.

use std::{
    error::Error,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    time::SystemTime,
};

use clap::ValueEnum;

use super::{clock::rfc3339, error::CommandError};

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// `time="…" level=error msg="…"`.
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

/// Where it goes.
#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    format: Format,
}

impl Log {
    pub(super) fn open(path: Option<&Path>, format: Format) -> Result<Self, CommandError> {
        let open = |path: &Path| {
            let file = OpenOptions::new().append(true).create(true).open(path);
            file.map_err(|source| CommandError::Write { path: path.to_owned(), source })
        };
        let path = path.filter(|it| !it.as_os_str().is_empty());
        Ok(Self { file: path.map(open).transpose()?, format })
    }

    pub(super) fn to_standard_error() -> Self {
        Self { file: None, format: Format::Text }
    }

    /// Says why the command failed: the whole chain of causes, on one line.
    pub(super) fn error(&self, err: &CommandError) {
        let mut text = err.to_string();
        let mut cause = err.source();
        while let Some(it) = cause {
            text = format!("{text}: {it}");
            cause = it.source();
        }
        self.write("error", &text);
        if self.file.is_some() {
            // Engines read the file, people this.
            write_to(&mut std::io::stderr(), &format!("{text}\n"));
        }
    }

    /// Says what was gone on without.
    pub(super) fn warnings(&self, warnings: &[String]) {
        for text in warnings {
            self.write("warning", text);
        }
    }

    fn write(&self, level: &str, text: &str) {
        let time = rfc3339(SystemTime::now());
        let line = match self.format {
            Format::Json => {
                format!("{}\n", serde_json::json!({ "level": level, "msg": text, "time": time }))
            }
            Format::Text => format!("time=\"{time}\" level={level} msg={text:?}\n"),
        };
        match &self.file {
            Some(file) => write_to(&mut &*file, &line),
            None => write_to(&mut std::io::stderr(), &line),
        }
    }
}

/// Nobody is left to tell when the log itself cannot be written.
fn write_to(to: &mut dyn Write, line: &str) {
    let _told = to.write_all(line.as_bytes());
}
