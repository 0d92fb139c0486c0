//! What becomes of a container's output: the log configuration, understood.

use crate::{EngineError, config::LogConfig};

/// Ten megabytes, as Docker counts them in options: 10 MiB.
const MAX_SIZE: u64 = 10 << 20;

/// How many files there are at most, by default.
const MAX_FILES: u32 = 3;

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LogTarget {
    /// Into files, rotated.
    File {
        /// A file is rotated before it grows beyond this many bytes; never if 0.
        max_size: u64,
        /// How many files there are at most.
        max_files: u32,
        /// The labels (by name) that go into each entry.
        labels: Vec<String>,
        /// The environment variables (by name) that go into each entry.
        env: Vec<String>,
        /// The tag that goes into each entry.
        tag: Option<String>,
    },
    /// Nowhere.
    None,
}

/// Understands a log configuration.
pub(crate) fn parse(log: &LogConfig) -> Result<LogTarget, EngineError> {
    match log.driver.as_str() {
        "" | "json-file" => file(log),
        "none" => Ok(LogTarget::None),
        driver @ ("local" | "journald" | "syslog" | "gelf" | "fluentd" | "awslogs" | "splunk"
        | "etwlogs" | "gcplogs") => {
            Err(EngineError::unsupported(format!("the log driver {driver}")))
        }
        driver => Err(EngineError::invalid(format!(
            "logger: no log driver named '{driver}' is registered"
        ))),
    }
}

fn file(log: &LogConfig) -> Result<LogTarget, EngineError> {
    let (mut max_size, mut max_files) = (MAX_SIZE, MAX_FILES);
    let (mut labels, mut env, mut tag) = (Vec::new(), Vec::new(), None);
    let list = |text: &str| text.split(',').map(|it| it.trim().to_owned()).collect();
    for (name, value) in &log.options {
        let invalid = || EngineError::invalid(format!("invalid value for {name}: \"{value}\""));
        match name.as_str() {
            "max-size" if value == "-1" => max_size = 0,
            "max-size" => max_size = size(value).ok_or_else(invalid)?,
            "max-file" => {
                max_files = value.parse().ok().filter(|it| *it > 0).ok_or_else(invalid)?;
            }
            "labels" => labels = list(value),
            "env" => env = list(value),
            "tag" if !value.contains("{{") => tag = Some(value.clone()),
            "mode" if value == "blocking" => {}
            "compress" if value == "false" => {}
            "mode" | "compress" | "tag" | "max-buffer-size" | "labels-regex" | "env-regex" => {
                return Err(EngineError::unsupported(format!("--log-opt {name}={value}")));
            }
            _ => {
                return Err(EngineError::invalid(format!(
                    "unknown log opt '{name}' for json-file log driver"
                )));
            }
        }
    }
    Ok(LogTarget::File { max_size, max_files, labels, env, tag })
}

/// Reads `10m`, `512k`, `1GiB`.
fn size(text: &str) -> Option<u64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.bytes().take_while(|it| it.is_ascii_digit() || *it == b'.').count();
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim_start().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|it| *it > 0)?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        assert_eq!(size("10m"), Some(10 << 20));
        assert_eq!(size("1GiB"), Some(1 << 30));
        assert_eq!(size("512"), Some(512));
        for text in ["", "m", "-1", "0", "10x", "99999999999t"] {
            assert_eq!(size(text), None, "{text} passed");
        }
    }

    #[test]
    fn logs_rotate_by_default() {
        let LogTarget::File { max_size, max_files, .. } = parse(&LogConfig::default()).unwrap()
        else {
            panic!("no file");
        };
        assert_eq!((max_size, max_files), (10 << 20, 3));
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let log = |driver: &str, options: &[(&str, &str)]| {
            let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
            let options = options.iter().map(owned).collect();
            parse(&LogConfig { driver: driver.to_owned(), options }).map_err(|it| it.to_string())
        };
        assert!(log("pigeon", &[]).unwrap_err().contains("'pigeon'"));
        assert!(log("", &[("colour", "red")]).unwrap_err().contains("'colour'"));
        assert!(log("", &[("max-size", "ten")]).unwrap_err().contains("ten"));
    }
}
