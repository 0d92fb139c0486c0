//! What can go wrong with images.

use std::io;

use wadah_oci::{Digest, ParseReferenceError};
use wadah_store::{ContentError, DatabaseError, LayerError, RemoveTreeError, UnpackError, tar};

use super::{config::ConfigError, manifest::DocumentError};
use crate::error::Class;

/// Why something about images failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is no such image.
    #[error("No such image: {reference}")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
    /// Several images have ids that begin so.
    #[error("Multiple IDs found with provided prefix: {prefix}")]
    Ambiguous {
        /// What was given.
        prefix: String,
    },
    /// A name is none.
    #[error(transparent)]
    Reference {
        /// What is wrong with it.
        source: ParseReferenceError,
    },
    /// A digest names what it is the digest of, and nothing else.
    #[error("refusing to create a tag with a digest reference")]
    DigestAsTag,
    /// The image cannot be removed.
    #[error("conflict: unable to delete {id} ({force}) - {reason}")]
    InUse {
        /// The image, short.
        id: String,
        /// Whether force would help: "must be forced" or "cannot be forced".
        force: &'static str,
        /// What uses it.
        reason: String,
    },
    /// The name cannot be taken from the image.
    #[error(
        "conflict: unable to remove repository reference \"{reference}\" (must force) - \
         container {container} is using its referenced image {id}"
    )]
    ReferenceInUse {
        /// The name.
        reference: String,
        /// The container, short.
        container: String,
        /// The image, short.
        id: String,
    },
    /// A filter has a value that it cannot have.
    #[error("invalid filter '{filter}={value}'")]
    Filter {
        /// The filter.
        filter: String,
        /// The value.
        value: String,
    },
    /// An archive cannot be read.
    #[error("invalid archive")]
    Archive {
        /// Why.
        source: tar::TarError,
    },
    /// Neither `manifest.json` nor `index.json` is in the archive.
    #[error("the archive has neither manifest.json nor index.json: it is no image")]
    NotAnImage,
    /// The archive has more members than any image.
    #[error("the archive has more than {limit} members")]
    TooManyMembers {
        /// How many are read.
        limit: usize,
    },
    /// Something that the archive refers to is not in it.
    #[error("the archive has no {name:?}")]
    NotInArchive {
        /// What is missing.
        name: String,
    },
    /// A document in the archive is not what it should be.
    #[error("invalid {name}")]
    Document {
        /// Which.
        name: String,
        /// Why.
        source: DocumentError,
    },
    /// The configuration is not what it should be.
    #[error("invalid image configuration {id}")]
    Config {
        /// Its digest.
        id: Digest,
        /// Why.
        source: ConfigError,
    },
    /// The configuration and the manifest disagree.
    #[error("invalid manifest, layers length mismatch: expected {expected}, got {found}")]
    LayerCount {
        /// The configuration's layers.
        expected: usize,
        /// The manifest's.
        found: usize,
    },
    /// No image in the index is for this machine.
    #[error("no image for the platform {platform}; the index has {available}")]
    NoPlatform {
        /// The platform asked for.
        platform: String,
        /// Those in the index.
        available: String,
    },
    /// A platform is none.
    #[error("invalid platform {value:?}: it is os/architecture or os/architecture/variant")]
    Platform {
        /// What was given.
        value: String,
    },
    /// A change to an imported image's configuration is none.
    #[error("{message}")]
    Change {
        /// What is wrong with it, in Docker's words.
        message: String,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {blob}")]
    Unpack {
        /// Its blob.
        blob: Digest,
        /// Why.
        source: UnpackError,
    },
    /// A blob cannot be kept or read.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A layer cannot be put in its place.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A record cannot be read or written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Something removed cannot be deleted.
    #[error(transparent)]
    Delete(#[from] RemoveTreeError),
    /// A document cannot be written.
    #[error("cannot write {what}")]
    Encode {
        /// Which.
        what: &'static str,
        /// Why.
        source: serde_json::Error,
    },
    /// A thread could not be started.
    #[error("cannot start to unpack")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

impl ImageError {
    /// Whose fault it is.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
            Self::InUse { .. } | Self::ReferenceInUse { .. } => Class::Conflict,
            Self::Content(error) => match error {
                ContentError::Missing { .. } => Class::NotFound,
                ContentError::Disk(_) => Class::Internal,
                ContentError::Mismatch { .. }
                | ContentError::TooLong { .. }
                | ContentError::Source { .. } => Class::InvalidArgument,
            },
            Self::Unpack { source, .. } => class_of_unpack(source),
            Self::Layer(_)
            | Self::Database(_)
            | Self::Delete(_)
            | Self::Encode { .. }
            | Self::Thread { .. } => Class::Internal,
            Self::Ambiguous { .. }
            | Self::Reference { .. }
            | Self::DigestAsTag
            | Self::Filter { .. }
            | Self::Archive { .. }
            | Self::NotAnImage
            | Self::TooManyMembers { .. }
            | Self::NotInArchive { .. }
            | Self::Document { .. }
            | Self::Config { .. }
            | Self::LayerCount { .. }
            | Self::NoPlatform { .. }
            | Self::Platform { .. }
            | Self::Change { .. } => Class::InvalidArgument,
        }
    }
}

fn class_of_unpack(error: &UnpackError) -> Class {
    match error {
        UnpackError::NoSpace { .. } | UnpackError::Disk(_) | UnpackError::Layer(_) => {
            Class::Internal
        }
        _ => Class::InvalidArgument,
    }
}
