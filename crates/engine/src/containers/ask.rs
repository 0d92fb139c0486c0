//! What clients ask of containers.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use wadah_oci::ContainerId;

use crate::{
    config::{Config, EndpointConfig, HostConfig},
    filters::Filters,
};

/// A container to create.
#[derive(Debug, Clone, Default)]
pub struct Create {
    /// Its name, with or without the leading slash; a made-up one if absent.
    pub name: Option<String>,
    /// What does not depend on the host.
    pub config: Config,
    /// What does.
    pub host: HostConfig,
    /// What is asked of the networks it is connected to, by their names.
    pub endpoints: BTreeMap<String, EndpointConfig>,
    /// `os[/arch[/variant]]` of the image.
    pub platform: Option<String>,
}

/// A container that was created.
#[derive(Debug, Clone)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What was not done quite as asked.
    pub warnings: Vec<String>,
}

/// Which containers to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Not only the running ones.
    pub all: bool,
    /// Only so many, the newest, running or not.
    pub limit: Option<usize>,
    /// With the space they use.
    pub size: bool,
    /// Further conditions.
    pub filters: Filters,
}

/// How to stop a container.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// The signal; the container's own if absent.
    pub signal: Option<String>,
    /// Seconds until it is killed; the container's own if absent; negative: for ever.
    pub timeout: Option<i64>,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run: at once, if it does not.
    #[default]
    NotRunning,
    /// Its next end, even if it does not run yet.
    NextExit,
    /// That it is removed.
    Removed,
}

/// What became of a container that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waited {
    /// Its exit code.
    pub code: i32,
    /// What went wrong, beyond the exit code.
    pub error: Option<String>,
}

/// What to connect to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attach {
    /// What was logged so far comes first.
    pub logs: bool,
    /// What comes from now on.
    pub stream: bool,
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// Which part of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Not before this.
    pub since: Option<Timestamp>,
    /// Not after this.
    pub until: Option<Timestamp>,
    /// Only so many entries at the end; all if absent.
    pub tail: Option<u64>,
    /// What will be logged, too, until the container ends.
    pub follow: bool,
    /// Each entry begins with its time.
    pub timestamps: bool,
    /// Each entry begins with its attributes.
    pub details: bool,
}

/// How to remove a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remove {
    /// Kills it if it runs.
    pub force: bool,
    /// Its anonymous volumes, too.
    pub volumes: bool,
    /// Not the container but a legacy link to it; not supported.
    pub link: bool,
}

/// How long an operation waits for the one before it on the same container.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
