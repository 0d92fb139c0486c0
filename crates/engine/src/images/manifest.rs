//! Manifests and indexes (OCI image spec, `manifest.md`, `image-index.md`; Docker's schema 2) and
//! the `manifest.json` of `docker save`.
//!
//! **Invariant:** a document is at most [`MAX_DOCUMENT`] long before it is parsed, and says one
//! thing: one that has both layers and manifests is neither a manifest nor an index.

use std::collections::BTreeMap;

use serde::Deserialize;
use wadah_oci::Digest;

use super::{
    Platform,
    config::{object, or_default},
};

/// The longest manifest: what registries accept.
pub(super) const MAX_DOCUMENT: u64 = 4 << 20;

/// Why a document cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is not the JSON that it should be.
    #[error("it is not the JSON that it should be")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// It has both layers and manifests.
    #[error("it has both layers and manifests")]
    Both,
    /// It has neither.
    #[error("it has neither layers nor manifests")]
    Neither,
    /// A kind that is not an image.
    #[error("it has media type {media_type:?}, which is no image")]
    MediaType {
        /// The kind.
        media_type: String,
    },
    /// A blob has another size than is said.
    #[error("it says that {digest} has {said} bytes, which has {found}")]
    Size {
        /// The blob.
        digest: Digest,
        /// What is said.
        said: u64,
        /// What is.
        found: u64,
    },
    /// A layer that has to be fetched from elsewhere.
    #[error("its layer {digest} is foreign, which is not supported")]
    Foreign {
        /// The layer.
        digest: Digest,
    },
}

/// A manifest or an index.
#[derive(Debug)]
pub(super) enum Document {
    Manifest(Manifest),
    Index(Vec<Descriptor>),
}

/// What an image consists of.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// A blob, and what it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    platform: Option<RawPlatform>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct RawPlatform {
    #[serde(deserialize_with = "or_default")]
    os: String,
    #[serde(deserialize_with = "or_default")]
    architecture: String,
    #[serde(deserialize_with = "or_default")]
    variant: String,
}

/// One image of a `docker save`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    pub(super) config: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) layers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    #[serde(rename = "fsLayers")]
    fs_layers: Option<serde::de::IgnoredAny>,
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        let raw: Raw = object(bytes).map_err(|source| DocumentError::Json { source })?;
        let is_index = raw.media_type.contains("index") || raw.media_type.contains("list");
        if raw.fs_layers.is_some() {
            return Err(DocumentError::MediaType { media_type: "schema 1".into() });
        }
        match (raw.config, raw.layers, raw.manifests) {
            (None, None, Some(manifests)) if is_index || raw.media_type.is_empty() => {
                Ok(Self::Index(manifests))
            }
            (Some(config), Some(layers), None) if !is_index => {
                Manifest { config, layers }.checked().map(Self::Manifest)
            }
            (None, None, None) => Err(DocumentError::Neither),
            (_, Some(_), Some(_)) | (Some(_), _, Some(_)) => Err(DocumentError::Both),
            _ => Err(DocumentError::MediaType { media_type: raw.media_type }),
        }
    }
}

impl Manifest {
    fn checked(self) -> Result<Self, DocumentError> {
        let is_foreign = |it: &&Descriptor| {
            it.media_type.contains(".foreign.") || it.media_type.contains(".nondistributable.")
        };
        match self.layers.iter().find(is_foreign) {
            None => Ok(self),
            Some(layer) => Err(DocumentError::Foreign { digest: layer.digest }),
        }
    }
}

impl Descriptor {
    /// Whether what it describes may be an image, or an index of images.
    pub(super) fn may_be_image(&self) -> bool {
        let is_attestation =
            self.annotations.get("vnd.docker.reference.type").is_some_and(|it| !it.is_empty());
        !is_attestation
            && (self.media_type.is_empty()
                || self.media_type.contains("manifest")
                || self.media_type.contains("index"))
    }

    /// The platform, if it is said.
    pub(super) fn platform(&self) -> Option<Platform> {
        let raw = self.platform.clone()?;
        let RawPlatform { os, architecture, variant } = raw;
        (!os.is_empty() && os != "unknown").then_some(Platform { os, architecture, variant })
    }

    /// Demands that the blob is as long as is said.
    pub(super) fn check_size(&self, found: u64) -> Result<(), DocumentError> {
        let Self { digest, size: said, .. } = *self;
        if said == found { Ok(()) } else { Err(DocumentError::Size { digest, said, found }) }
    }
}

/// Reads `manifest.json`.
pub(super) fn parse_saved(bytes: &[u8]) -> Result<Vec<SavedImage>, DocumentError> {
    serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_says_two_things_is_refused() {
        let blob = r#"{"mediaType":"x","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;
        let manifest = format!(r#"{{"config":{blob},"layers":[{blob}]}}"#);
        assert!(matches!(Document::parse(manifest.as_bytes()), Ok(Document::Manifest(_))));
        let index = format!(r#"{{"manifests":[{blob}]}}"#);
        assert!(matches!(Document::parse(index.as_bytes()), Ok(Document::Index(_))));
        let negative = manifest.replace("\"size\":0", "\"size\":-1");
        let foreign = manifest
            .replace("\"x\"", "\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"");
        let confused =
            manifest.replacen('{', r#"{"mediaType":"application/vnd.oci.image.index.v1+json","#, 1);
        let both = format!(r#"{{"config":{blob},"layers":[{blob}],"manifests":[{blob}]}}"#);
        let deep = "[".repeat(1 << 20);
        let html = "<html><body>Not found</body></html>";
        for json in [&negative, &foreign, &confused, &both, &deep, html, "{}", "", "null"] {
            assert!(Document::parse(json.as_bytes()).is_err(), "{json:.80}");
        }
    }
}
