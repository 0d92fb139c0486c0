//! What the operations on containers work with.
//!
//! The operations are in files of their own, each an `impl` of [`Shared`].

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::SystemTime};

use wadah_oci::{ChainId, ContainerId};
use wadah_store::{DatabaseError, Store};

use super::{State, container::Container, launch::Users, registry::Registry};
use crate::{
    EngineError, Settings,
    events::{Events, Kind},
    execs::ExecTable,
    images::Images,
    networks::Networks,
    record::{Record, RecordForm},
    supervisor::RunDirectory,
    tasks::Tasks,
};

/// What the operations on containers work with.
#[derive(Debug)]
pub(crate) struct Shared {
    /// How the engine was opened.
    pub(crate) settings: Arc<Settings>,
    /// Which containers there are.
    pub(crate) registry: Arc<Registry>,
    /// What is on disk.
    pub(crate) store: Arc<Store>,
    /// Where containers come from.
    pub(crate) images: Arc<Images>,
    /// Where they are connected.
    pub(crate) networks: Arc<Networks>,
    /// What happened.
    pub(crate) events: Arc<Events>,
    /// What is being done.
    pub(crate) tasks: Tasks,
    /// When this daemon began.
    pub(crate) opened: SystemTime,
    /// Who runs what, as far as it has been found out.
    pub(crate) users: Users,
    /// Further processes.
    pub(crate) execs: ExecTable,
}

impl wadah_store::Record for RecordForm {
    const TABLE: &'static str = "containers";
    const VERSION: u32 = 1;
}

impl Shared {
    /// The run directory of a container.
    pub(crate) fn run_directory(&self, id: &ContainerId) -> RunDirectory {
        RunDirectory::of(&self.settings.exec_root, id)
    }

    /// The read-only directories of a container's root, the nearest first.
    pub(crate) fn lower(&self, layers: &[ChainId]) -> Vec<PathBuf> {
        let lower = layers.last().map(|top| self.store.layers.lower(top));
        // What is held is there: a layer that is missing fails the start, by its path.
        let by_name = || layers.iter().rev().map(|it| self.store.layers.path(it)).collect();
        lower.map_or_else(Vec::new, |it| it.unwrap_or_else(|_| by_name()))
    }

    /// Does something about one container, to its end, whoever goes away meanwhile.
    pub(crate) async fn finish<T, F>(
        self: &Arc<Self>,
        operation: impl FnOnce(Arc<Self>) -> F,
    ) -> Result<T, EngineError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, EngineError>> + Send + 'static,
    {
        self.tasks.finish(operation(Arc::clone(self))).await
    }

    /// Tells that something happened to a container.
    pub(crate) fn tell(&self, container: &Container, action: &str, more: &[(&str, String)]) {
        let config = &container.definition.config;
        let mut attributes: BTreeMap<String, String> = config.labels.clone();
        attributes.insert("image".to_owned(), config.image.clone());
        attributes.insert("name".to_owned(), container.name().to_string());
        for (name, value) in more {
            attributes.insert((*name).to_owned(), value.clone());
        }
        self.events.publish(Kind::Container, action, container.id().as_str(), attributes);
    }

    /// Writes down what is known of a container, durably; into its run directory, if it is one
    /// that is removed when it ends.
    pub(crate) async fn write_down(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<(), EngineError> {
        let (shared, container) = (Arc::clone(self), Arc::clone(container));
        self.tasks
            .block(move || {
                let _writing = container.writing();
                match container.state() {
                    // What is being removed must not come back.
                    State::Removing(_) => Ok(()),
                    _ => shared.put(&container.record()),
                }
            })
            .await
    }

    /// Writes down, soon and without waiting for the disk, that a container runs: for the next
    /// start of the machine. Until then the run directory tells.
    pub(crate) fn write_down_lazily(self: &Arc<Self>, container: &Arc<Container>) {
        if container.definition.host.auto_remove {
            return;
        }
        let (shared, container) = (Arc::clone(self), Arc::clone(container));
        let _task = self.tasks.spawn(async move {
            let tasks = shared.tasks.clone();
            let written = tasks.block(move || {
                let _writing = container.writing();
                if matches!(container.state(), State::Removing(_)) {
                    return Ok(());
                }
                let (id, form) = (container.id(), container.record().to_form());
                let put = shared.store.database.table::<RecordForm>().put_lazy(id.as_str(), &form);
                put.map_err(|it| not_written(id, it))
            });
            if let Err(error) = written.await {
                tracing::warn!(error = error.report(), "a start is not written down");
            }
        });
    }

    /// Writes a record, durably. Blocks.
    pub(crate) fn put(&self, record: &Record) -> Result<(), EngineError> {
        let id = &record.definition.id;
        if record.definition.host.auto_remove {
            let directory = self.run_directory(id);
            directory.create()?;
            return record.write(&directory.record());
        }
        let put = self.store.database.table::<RecordForm>().put(id.as_str(), &record.to_form());
        put.map_err(|it| not_written(id, it))
    }
}

fn not_written(id: &ContainerId, error: DatabaseError) -> EngineError {
    EngineError::mechanism(format!("cannot write down container {id}"), error)
}
