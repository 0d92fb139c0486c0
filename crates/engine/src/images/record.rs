//! What is written down about images, and reading it back.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wadah_oci::{ChainId, Digest, Reference};
use wadah_store::Record;

use super::{ImageConfig, ImageError, Images, Known, MAX_CONFIG, layering::Source};

/// An image, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImageRecord {
    /// The manifest that it came with, kept as a blob.
    pub(super) manifest: Option<Digest>,
    /// Its layers' blobs, the lowest first.
    pub(super) layers: Vec<LayerRecord>,
    /// The sum of the sizes of its layers' files.
    pub(super) size: u64,
    /// The image it was built on.
    pub(super) parent: Option<Digest>,
    /// Whether we made it ourselves, so that a newer release may replace it.
    #[serde(default)]
    pub(super) builtin: bool,
}

/// A layer's blob, as a manifest would describe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) blob: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

/// A name, under itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReferenceRecord {
    /// The image that has it.
    pub(super) image: Digest,
    /// Since when, in microseconds from the epoch.
    #[serde(with = "microseconds")]
    pub(super) since: Timestamp,
}

mod microseconds {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(
        moment: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(moment.as_microsecond())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        let microseconds = i64::deserialize(deserializer)?;
        Timestamp::from_microsecond(microseconds).map_err(D::Error::custom)
    }
}

impl Record for ImageRecord {
    const TABLE: &'static str = "images";
    const VERSION: u32 = 1;
}

impl Record for ReferenceRecord {
    const TABLE: &'static str = "references";
    const VERSION: u32 = 1;
}

impl Images {
    /// Reads all records; leaves out, with a word in the log, what cannot be made whole.
    pub(super) fn read_records(&self) -> Result<(), ImageError> {
        let images = self.store.database.table::<ImageRecord>().iter()?;
        let references = self.store.database.table::<ReferenceRecord>().iter()?;
        for damage in images.damaged.iter().chain(&references.damaged) {
            tracing::error!("{damage}");
        }
        for (id, record) in images.good {
            let restored = id.parse::<Digest>().map(|it| self.restore(&it, record));
            match restored {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(id, error = &error as &dyn std::error::Error, "image left out");
                }
                Err(error) => {
                    tracing::error!(id, error = &error as &dyn std::error::Error, "image left out");
                }
            }
        }
        let mut state = self.state_mut();
        for (name, record) in references.good {
            match name.parse::<Reference>() {
                Ok(name) if state.images.contains_key(&record.image) => {
                    state.references.insert(name, record);
                }
                _ => tracing::error!(name, image = %record.image, "name of no image left out"),
            }
        }
        Ok(())
    }

    fn restore(&self, id: &Digest, record: ImageRecord) -> Result<(), ImageError> {
        let bytes = self.store.content.read(id, MAX_CONFIG)?;
        let config =
            ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id: *id, source })?;
        let layers = ChainId::chain(&config.diff_ids);
        if layers.iter().any(|it| self.store.layers.get(it).is_none()) {
            tracing::warn!(%id, "layers are missing; they are unpacked again");
            let sources = record.layers.iter().map(|it| Source::Blob(it.blob)).collect();
            self.stack(&config, sources, &|_| {})?;
        }
        let known = Known { record, config: Arc::new(config), layers };
        self.state_mut().images.insert(*id, known);
        Ok(())
    }
}
