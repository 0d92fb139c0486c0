//! Mounts in the long form of `--mount`.

use std::{fmt, str::FromStr};

use crate::EngineError;

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where: an absolute path inside.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// What.
    pub kind: MountKind,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// An absolute path.
        source: String,
        /// How.
        options: BindOptions,
    },
    /// Memory.
    Tmpfs(TmpfsOptions),
    /// A volume; not supported yet.
    Volume {
        /// Its name; an anonymous one if empty.
        source: String,
    },
    /// Anything else, by its name; not supported yet.
    Other(String),
}

/// How a path of the host is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// How mounts below it are shared with the host.
    pub propagation: Propagation,
    /// Without the mounts below the source.
    pub non_recursive: bool,
    /// Creates the source, a directory, if it does not exist.
    pub create_mountpoint: bool,
    /// Read-only only at the top, even where the mounts below could be too.
    pub read_only_non_recursive: bool,
    /// An error if the mounts below cannot be read-only too.
    pub read_only_force_recursive: bool,
}

/// How memory is mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TmpfsOptions {
    /// Bytes; no limit if absent.
    pub size: Option<i64>,
    /// The mode of its root directory; 1777 if absent.
    pub mode: Option<u32>,
    /// More of mount(8)'s options: name, or name and value.
    pub options: Vec<Vec<String>>,
}

/// How mounts below a bind mount are shared with the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Propagation {
    /// Recursively private, the default.
    #[default]
    RPrivate,
    /// Private.
    Private,
    /// Recursively shared.
    RShared,
    /// Shared.
    Shared,
    /// Recursively slave.
    RSlave,
    /// Slave.
    Slave,
}

impl Propagation {
    /// As mount(8) and Docker write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RPrivate => "rprivate",
            Self::Private => "private",
            Self::RShared => "rshared",
            Self::Shared => "shared",
            Self::RSlave => "rslave",
            Self::Slave => "slave",
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Propagation {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, EngineError> {
        Ok(match text {
            "" | "rprivate" => Self::RPrivate,
            "private" => Self::Private,
            "rshared" => Self::RShared,
            "shared" => Self::Shared,
            "rslave" => Self::RSlave,
            "slave" => Self::Slave,
            _ => return Err(EngineError::invalid(format!("invalid propagation mode: {text}"))),
        })
    }
}
