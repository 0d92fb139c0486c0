//! Containers, images, networks, events: what a container engine is, without a wire.
//!
//! [`Engine`] is only a struct of parts. Each part owns its state and names what it needs in its
//! constructor; an edge takes the parts it may touch.
//!
//! **Invariant:** nothing here knows HTTP or a quirk of Docker's wire. Types given out are plain
//! data; none is serialised.
//! **Invariant:** the engine owns no process's life. It may be killed at any moment, and opened
//! again: what it had acknowledged is there.

#![forbid(unsafe_code)]

pub mod config;
pub mod containers;
pub mod error;
pub mod events;
pub mod execs;
pub mod filters;
pub mod images;
pub mod networks;
pub mod stream;
pub mod system;

use std::{ffi::OsString, net::Ipv4Addr, path::PathBuf, sync::Arc};

pub use error::{Class, EngineError};

/// The parts of an engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Arc<containers::Containers>,
    /// Exec sessions.
    pub execs: Arc<execs::Execs>,
    /// Networks.
    pub networks: Arc<networks::Networks>,
    /// Events.
    pub events: Arc<events::Events>,
    /// Facts.
    pub system: Arc<system::System>,
}

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What must survive a restart of the machine: `/var/lib/wadah`.
    pub data_root: PathBuf,
    /// What must not: `/run/wadah`, a tmpfs.
    pub exec_root: PathBuf,
    /// The executable that is a shim when started with `shim_arguments` and a run directory.
    pub shim: PathBuf,
    /// The arguments before the run directory, as in `["shim"]`.
    pub shim_arguments: Vec<OsString>,
    /// The default bridge's interface.
    pub bridge: String,
    /// The default bridge's address and the length of its prefix.
    pub bridge_address: (Ipv4Addr, u8),
    /// The parent of every container's cgroup, below each hierarchy's root.
    pub cgroup_parent: String,
    /// Whether a reaping pid 1 goes before every command that does not say.
    pub init: bool,
}

impl Settings {
    /// The usual settings, with what differs between daemons on one machine.
    pub fn new(data_root: PathBuf, exec_root: PathBuf) -> Self {
        Self {
            data_root,
            exec_root,
            shim: PathBuf::from("/proc/self/exe"),
            shim_arguments: vec!["shim".into()],
            bridge: "wadah0".to_owned(),
            bridge_address: (Ipv4Addr::new(172, 31, 0, 1), 16),
            cgroup_parent: "wadah".to_owned(),
            init: false,
        }
    }
}

impl Engine {
    /// Opens what is in the data root, and takes over the containers that run.
    pub async fn open(settings: Settings) -> Result<Self, EngineError> {
        tracing::debug!(?settings, "opening the engine");
        Ok(Self {
            containers: Arc::new(containers::Containers {}),
            execs: Arc::new(execs::Execs {}),
            networks: Arc::new(networks::Networks {}),
            events: Arc::default(),
            system: Arc::new(system::System {}),
        })
    }

    /// Stops what the engine does by itself and writes down what it knows. Containers run on.
    pub async fn close(self) {
        tracing::debug!("closed");
    }
}
