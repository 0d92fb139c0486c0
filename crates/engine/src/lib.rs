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

mod files;
mod record;
mod signal;
mod spec;
mod supervisor;
mod tasks;

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use wadah_shim::launch::Launcher;
use wadah_store::{OpenError, Store};

use tasks::Tasks;

pub use error::{Class, EngineError};

/// How long a killed daemon may hold the data root.
const LINGERING: Duration = Duration::from_secs(1);

/// The parts of an engine.
#[derive(Debug, Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Arc<containers::Containers>,
    /// Exec sessions.
    pub execs: Arc<execs::Execs>,
    /// Images.
    pub images: Arc<images::Images>,
    /// Networks.
    pub networks: Arc<networks::Networks>,
    /// Events.
    pub events: Arc<events::Events>,
    /// Facts.
    pub system: Arc<system::System>,
    shared: Arc<containers::Shared>,
}

/// What an engine is opened with.
#[derive(Debug)]
pub struct Settings {
    /// What must survive a restart of the machine: `/var/lib/wadah`.
    pub data_root: PathBuf,
    /// What must not: `/run/wadah`, a tmpfs.
    pub exec_root: PathBuf,
    /// Starts shims.
    pub launcher: Launcher,
    /// The default bridge's interface.
    pub bridge: String,
    /// The default bridge's address and the length of its prefix; chosen if absent.
    pub bridge_address: Option<(Ipv4Addr, u8)>,
    /// The parent of every container's cgroup, below each hierarchy's root.
    pub cgroup_parent: String,
    /// Whether a reaping pid 1 goes before every command that does not say.
    pub init: bool,
}

impl Settings {
    /// The usual settings, with what differs between daemons on one machine.
    pub fn new(data_root: PathBuf, exec_root: PathBuf, launcher: Launcher) -> Self {
        Self {
            data_root,
            exec_root,
            launcher,
            bridge: wadah_net::DEFAULT_BRIDGE.to_owned(),
            bridge_address: None,
            cgroup_parent: "wadah".to_owned(),
            init: false,
        }
    }
}

impl Engine {
    /// Opens what is in the data root, and takes over the containers that run.
    ///
    /// To be called in the network namespace that containers are to be reached from.
    pub async fn open(settings: Settings) -> Result<Self, EngineError> {
        let tasks = Tasks::default();
        let events = Arc::<events::Events>::default();
        let opening = (Arc::new(settings), Arc::clone(&events), tasks.clone());
        let shared = tasks.block(move || open(opening)).await?;
        containers::Shared::recover(&shared).await?;
        Ok(Self {
            containers: Arc::new(containers::Containers::new(Arc::clone(&shared))),
            execs: Arc::new(execs::Execs::new(Arc::clone(&shared))),
            images: Arc::clone(&shared.images),
            networks: Arc::clone(&shared.networks),
            events,
            system: Arc::new(system::System::new(Arc::clone(&shared))),
            shared,
        })
    }

    /// Stops what the engine does by itself and writes down what it knows. Containers run on.
    pub async fn close(self) {
        self.shared.tasks.close().await;
        let store = Arc::clone(&self.shared.store);
        let flushed = tokio::task::spawn_blocking(move || store.database.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::error!(?flushed, "not all is written down");
        }
    }
}

fn open(
    (settings, events, tasks): (Arc<Settings>, Arc<events::Events>, Tasks),
) -> Result<Arc<containers::Shared>, EngineError> {
    prepare_exec_root(&settings)?;
    let store = open_store(&settings)?;
    for damage in store.damage() {
        tracing::error!("{damage}");
    }
    let store = Arc::new(store);
    let images = images::Images::open(Arc::clone(&store), Arc::clone(&events))?;
    let networks = Arc::new(networks::Networks::open(&settings)?);
    let registry = Arc::new(containers::Registry::default());
    networks.set_containers(&registry);
    Ok(Arc::new(containers::Shared {
        settings,
        registry,
        store,
        images: Arc::new(images),
        networks,
        events,
        tasks,
        opened: std::time::SystemTime::now(),
        users: containers::Users::default(),
        execs: execs::ExecTable::default(),
    }))
}

/// Opens the store. A daemon that was just killed may hold its lock for a moment: the kernel
/// closes its descriptors one by one, and a shim it was about to start has copies.
fn open_store(settings: &Settings) -> Result<Store, EngineError> {
    let begin = Instant::now();
    loop {
        match Store::open(&settings.data_root) {
            Ok(store) => return Ok(store),
            Err(OpenError::InUse { .. }) if begin.elapsed() < LINGERING => {
                thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(EngineError::mechanism("cannot open the data root", error)),
        }
    }
}

/// Makes the exec root and the directory of run directories, closed to everyone else.
fn prepare_exec_root(settings: &Settings) -> Result<(), EngineError> {
    let path = settings.exec_root.join("containers");
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|it| EngineError::io(format!("cannot create {}", path.display()), it))
}
