//! Importing: a root filesystem's tar becomes an image of one layer.

use std::io::Read;

use jiff::Timestamp;
use serde_json::{Value, json};
use wadah_oci::{Digest, Reference};
use wadah_store::Compression;

use super::{
    Defaults, ImageConfig, ImageError, Images,
    changes::Changes,
    load::{Planned, media_type},
    platform::Platform,
    record::LayerRecord,
};

/// No root filesystem is longer than this.
const MAX_LAYER: u64 = 5 << 40;

/// How an imported image is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// The name it gets: a repository and a tag.
    pub name: Option<String>,
    /// A remark, for its history.
    pub message: String,
    /// Changes to its configuration: lines of a Dockerfile.
    pub changes: Vec<String>,
    /// What it is for, if not this machine.
    pub platform: Option<Platform>,
}

impl Images {
    /// Makes an image of a root filesystem's tar, compressed or not. Returns its id.
    pub fn import(&self, reader: impl Read + Send, import: &Import) -> Result<Digest, ImageError> {
        let mut defaults = Defaults::default();
        Changes::parse(&import.changes)?.apply(&mut defaults);
        let name = import.name.as_deref().map(super::parse_tag).transpose()?;
        let mut start = Vec::new();
        let mut reader = reader;
        let content = &self.store.content;
        let source = |source| wadah_store::ContentError::Source { source };
        reader.by_ref().take(6).read_to_end(&mut start).map_err(source)?;
        let compression = Compression::detect(&start);
        let mut whole = std::io::Cursor::new(start).chain(reader);
        let blob = content.spool(&mut whole, None, MAX_LAYER)?;
        // What the layer is, only unpacking it tells.
        let staged = self.store.layers.stage(blob.reopen()?, None);
        let staged = staged.map_err(|source| ImageError::Unpack { blob: blob.digest, source })?;
        let layer = LayerRecord {
            blob: blob.digest,
            size: blob.size,
            media_type: media_type(compression).into(),
        };
        let config = Configuration {
            platform: import.platform.clone().unwrap_or_else(Platform::host),
            created: Timestamp::now(),
            comment: import.message.clone(),
            created_by: String::new(),
            defaults,
            diff_id: staged.diff_id.to_string(),
        };
        let _hold = self.hold(&[wadah_oci::ChainId::new(None, &staged.diff_id)]);
        self.store.layers.commit(staged, None)?;
        self.keep_configured(&config, layer, vec![blob], name, false)
    }

    /// Keeps an image of one layer under a configuration of our own.
    pub(super) fn keep_configured(
        &self,
        config: &Configuration,
        layer: LayerRecord,
        mut blobs: Vec<wadah_store::Spooled>,
        name: Option<Reference>,
        builtin: bool,
    ) -> Result<Digest, ImageError> {
        let bytes = serde_json::to_vec(&config.to_json())
            .map_err(|source| ImageError::Encode { what: "the configuration", source })?;
        let spooled = self.store.content.spool(&mut &bytes[..], None, super::MAX_CONFIG)?;
        let id = spooled.digest;
        blobs.push(spooled);
        let parsed =
            ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id, source })?;
        let planned = Planned {
            id,
            config: parsed,
            manifest: None,
            layers: vec![layer],
            names: name.into_iter().collect(),
            builtin,
        };
        self.keep(planned, blobs, true, &mut |_| {})?;
        Ok(id)
    }
}

/// A configuration that we write ourselves.
pub(super) struct Configuration {
    pub(super) platform: Platform,
    pub(super) created: Timestamp,
    pub(super) comment: String,
    pub(super) created_by: String,
    pub(super) defaults: Defaults,
    pub(super) diff_id: String,
}

impl Configuration {
    fn to_json(&self) -> Value {
        let created = self.created.to_string();
        let mut history = json!({ "created": created });
        for (key, value) in [("created_by", &self.created_by), ("comment", &self.comment)] {
            if !value.is_empty() {
                history[key] = value.as_str().into();
            }
        }
        let mut config = json!({
            "architecture": self.platform.architecture,
            "config": defaults_to_json(&self.defaults),
            "created": created,
            "history": [history],
            "os": self.platform.os,
            "rootfs": { "diff_ids": [self.diff_id], "type": "layers" },
        });
        if !self.platform.variant.is_empty() {
            config["variant"] = self.platform.variant.as_str().into();
        }
        if !self.comment.is_empty() {
            config["comment"] = self.comment.as_str().into();
        }
        config
    }
}

/// Writes what is not empty, in Docker's words.
fn defaults_to_json(defaults: &Defaults) -> Value {
    let set = |keys: &[String]| -> Value {
        keys.iter().map(|it| (it.clone(), json!({}))).collect::<serde_json::Map<_, _>>().into()
    };
    let fields = [
        ("User", json!(defaults.user)),
        ("ExposedPorts", set(&defaults.exposed_ports)),
        ("Env", json!(defaults.env)),
        ("Entrypoint", json!(defaults.entrypoint)),
        ("Cmd", json!(defaults.cmd)),
        ("Volumes", set(&defaults.volumes)),
        ("WorkingDir", json!(defaults.working_dir)),
        ("Labels", json!(defaults.labels)),
        ("StopSignal", json!(defaults.stop_signal)),
        ("StopTimeout", json!(defaults.stop_timeout)),
        ("Shell", json!(defaults.shell)),
        ("OnBuild", json!(defaults.on_build)),
        ("Healthcheck", json!(defaults.healthcheck)),
    ];
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    };
    let filled = fields.into_iter().filter(|(_, value)| !is_empty(value));
    filled.map(|(key, value)| (key.to_owned(), value)).collect::<serde_json::Map<_, _>>().into()
}
