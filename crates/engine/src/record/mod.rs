//! Records: what the engine writes down about a container.
//!
//! The shapes on disk are [`Form`]s, apart from the domain's types, so that neither binds the
//! other. A kept container's record is a row of the store's database; that of a container which
//! is removed when it ends is a file in its run directory.
//!
//! **Invariant:** a form only ever gains fields, with a default. What cannot be read is an error
//! about that one container.

mod config;
mod form;
mod stamp;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wadah_oci::{ChainId, ContainerId, ContainerName, Digest};

use crate::{
    EngineError,
    config::{Config, EndpointConfig, HostConfig},
    containers::Exited,
};

use config::{ConfigForm, EndpointForm, HostForm};
use form::Form as _;
use stamp::Stamp;

/// The version of the shape.
const VERSION: u32 = 1;

/// What never changes about a container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    /// Its id.
    pub(crate) id: ContainerId,
    /// When it was created.
    pub(crate) created: Timestamp,
    /// The image's configuration.
    pub(crate) image: Digest,
    /// The image's layers, the lowest first.
    pub(crate) layers: Vec<ChainId>,
    /// What it was asked to be, the image's defaults merged in.
    pub(crate) config: Arc<Config>,
    /// Likewise.
    pub(crate) host: Arc<HostConfig>,
    /// What was asked of networks.
    pub(crate) endpoints: BTreeMap<String, EndpointConfig>,
    /// What is executed: entrypoint and command.
    pub(crate) command: Vec<String>,
}

/// All that is written down.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    /// What never changes.
    pub(crate) definition: Arc<Definition>,
    /// What it is called.
    pub(crate) name: ContainerName,
    /// How it ended the last time.
    pub(crate) last: Option<LastRun>,
    /// Since when it runs, if it does.
    pub(crate) running_since: Option<Timestamp>,
    /// Whether someone stopped it, so that `unless-stopped` leaves it so.
    pub(crate) stopped: bool,
    /// How often its restart policy has started it.
    pub(crate) restarts: u32,
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LastRun {
    /// How.
    pub(crate) exited: Exited,
    /// In which way.
    pub(crate) end: End,
}

/// In which way a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// By itself, or by a signal.
    Exited,
    /// It could not be started.
    Failed,
    /// With its supervisor.
    Dead,
}

/// The shape of a record on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RecordForm {
    version: u32,
    id: ContainerId,
    name: ContainerName,
    created: Stamp,
    image: Digest,
    layers: Vec<ChainId>,
    command: Vec<String>,
    config: ConfigForm,
    host: HostForm,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    endpoints: BTreeMap<String, EndpointForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<LastForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    running_since: Option<Stamp>,
    #[serde(default)]
    stopped: bool,
    #[serde(default)]
    restarts: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct LastForm {
    code: i32,
    end: End,
    finished_at: Stamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_at: Option<Stamp>,
    #[serde(default)]
    oom_killed: bool,
    #[serde(default)]
    error: String,
}

impl Record {
    /// Takes the shape for the disk.
    pub(crate) fn to_form(&self) -> RecordForm {
        let definition = &*self.definition;
        RecordForm {
            version: VERSION,
            id: definition.id.clone(),
            name: self.name.clone(),
            created: Stamp(definition.created),
            image: definition.image,
            layers: definition.layers.clone(),
            command: definition.command.clone(),
            config: definition.config.to_form(),
            host: definition.host.to_form(),
            endpoints: definition.endpoints.to_form(),
            last: self.last.as_ref().map(LastForm::of),
            running_since: self.running_since.map(Stamp),
            stopped: self.stopped,
            restarts: self.restarts,
        }
    }

    /// Reads the shape on disk.
    pub(crate) fn from_form(form: RecordForm) -> Result<Self, EngineError> {
        let definition = Definition {
            id: form.id,
            created: form.created.0,
            image: form.image,
            layers: form.layers,
            config: Arc::new(Config::from_form(form.config)?),
            host: Arc::new(HostConfig::from_form(form.host)?),
            endpoints: BTreeMap::from_form(form.endpoints)?,
            command: form.command,
        };
        Ok(Self {
            definition: Arc::new(definition),
            name: form.name,
            last: form.last.map(LastForm::into_domain),
            running_since: form.running_since.map(|it| it.0),
            stopped: form.stopped,
            restarts: form.restarts,
        })
    }

    /// Writes the record as a file. Whole or not at all; not flushed: the run directory does not
    /// outlive the machine's memory anyway.
    pub(crate) fn write(&self, path: &Path) -> Result<(), EngineError> {
        let error = || format!("cannot write {}", path.display());
        let bytes = serde_json::to_vec(&self.to_form())
            .map_err(|source| EngineError::mechanism(error(), source))?;
        crate::files::replace(path, &bytes, 0o600)
    }

    /// Reads the record from a file.
    pub(crate) fn read(path: &Path) -> Result<Self, EngineError> {
        let error = || format!("cannot read {}", path.display());
        let bytes = std::fs::read(path).map_err(|source| EngineError::io(error(), source))?;
        let form = serde_json::from_slice(&bytes)
            .map_err(|source| EngineError::mechanism(error(), source))?;
        Self::from_form(form)
    }
}

impl LastForm {
    fn of(last: &LastRun) -> Self {
        let exited = &last.exited;
        Self {
            code: exited.code,
            end: last.end,
            finished_at: Stamp(exited.finished_at),
            started_at: exited.started_at.map(Stamp),
            oom_killed: exited.oom_killed,
            error: exited.error.clone(),
        }
    }

    fn into_domain(self) -> LastRun {
        LastRun {
            end: self.end,
            exited: Exited {
                code: self.code,
                oom_killed: self.oom_killed,
                error: self.error,
                started_at: self.started_at.map(|it| it.0),
                finished_at: self.finished_at.0,
            },
        }
    }
}
