//! Images: what containers are made from.
//!
//! An image is a configuration (its id is the digest of those bytes) and a stack of layers. Here
//! are its names, too: tags, and digests of manifests. Blobs and layers lie in the store; this
//! part says which of them are wanted.
//!
//! **Invariant:** image bytes are hostile. Archives are read as streams into blobs; no name in
//! them ever becomes a path on the host; every document is bounded before it is parsed.
//! **Invariant:** the bytes of configurations, manifests and layers are kept as they came.
//! **Invariant:** what a record, or a [`Hold`], reaches is not deleted.
//!
//! Everything here blocks; callers in async code use a blocking pool.

mod archive;
mod builtin;
mod changes;
mod config;
mod error;
mod hold;
mod import;
mod layering;
mod list;
mod load;
mod manifest;
mod pattern;
mod platform;
mod record;
mod remove;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use jiff::Timestamp;
use wadah_oci::{ChainId, DiffId, Digest, Reference};
use wadah_store::{Batch, Store};

use crate::events::{Events, Kind};

pub use builtin::Builtin;
pub use config::{ConfigError, Defaults, Healthcheck, HistoryEntry, ImageConfig};
pub use error::ImageError;
pub use hold::Hold;
pub use import::Import;
pub use list::{Listing, Summary};
pub use load::Progress;
pub use manifest::DocumentError;
pub use platform::Platform;
pub use remove::{ImageUse, Removed};

use hold::Holds;
use record::{ImageRecord, ReferenceRecord};

/// The longest configuration that is read.
const MAX_CONFIG: u64 = 8 << 20;

/// All images.
#[derive(Debug)]
pub struct Images {
    store: Arc<Store>,
    events: Arc<Events>,
    state: RwLock<State>,
    holds: Arc<Holds>,
    /// Taken by whoever changes names or removes; readers use `state` only.
    changing: Mutex<()>,
}

/// An image, as it was when asked for.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration.
    pub id: Digest,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its stacks of layers, the lowest first: the last one is the whole image.
    pub layers: Vec<ChainId>,
    /// Its tags as Docker shows them: `busybox:latest`.
    pub repo_tags: Vec<String>,
    /// Its manifests' digests as Docker shows them: `busybox@sha256:…`.
    pub repo_digests: Vec<String>,
    /// The sum of the sizes of its layers' files.
    pub size: u64,
    /// The image it was built on, if it was built here.
    pub parent: Option<Digest>,
    /// The manifest it came with.
    pub manifest: Option<Digest>,
    /// When it was last given a tag.
    pub last_tagged: Option<Timestamp>,
}

/// One line of an image's history, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image, where it is known: the newest line's.
    pub id: Option<Digest>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// By which command.
    pub created_by: String,
    /// The image's tags.
    pub tags: Vec<String>,
    /// The size of the layer that it made.
    pub size: u64,
    /// What was remarked.
    pub comment: String,
}

/// What is known of all images, in memory.
#[derive(Debug, Default)]
struct State {
    images: BTreeMap<Digest, Known>,
    references: BTreeMap<Reference, ReferenceRecord>,
}

#[derive(Debug, Clone)]
struct Known {
    record: ImageRecord,
    config: Arc<ImageConfig>,
    layers: Vec<ChainId>,
}

impl Images {
    /// Opens the images of a store. Layers that were lost are unpacked again; images that cannot
    /// be made whole are reported and left out.
    pub fn open(store: Arc<Store>, events: Arc<Events>) -> Result<Self, ImageError> {
        let images = Self {
            store,
            events,
            state: RwLock::default(),
            holds: Arc::default(),
            changing: Mutex::new(()),
        };
        images.read_records()?;
        Ok(images)
    }

    /// Finds the image that somebody calls so: by id, a unique prefix of one (with or without
    /// `sha256:`), tag or digest.
    pub fn resolve(&self, reference: &str) -> Result<Image, ImageError> {
        let state = self.state();
        let id = state.find(reference)?;
        Ok(state.image(&id).expect("BUG: only what is known is found"))
    }

    /// The image with this id.
    pub fn get(&self, id: &Digest) -> Option<Image> {
        self.state().image(id)
    }

    /// How many images there are.
    pub fn count(&self) -> usize {
        self.state().images.len()
    }

    /// The trees of an image, nearest first: the lower directories of a container's overlay.
    pub fn lower(&self, image: &Image) -> Result<Vec<PathBuf>, ImageError> {
        match image.layers.last() {
            Some(top) => Ok(self.store.layers.lower(top)?),
            None => Ok(Vec::new()),
        }
    }

    /// Keeps a stack of layers from being deleted, also after its image is. A container holds
    /// what it stands on.
    pub fn hold(&self, layers: &[ChainId]) -> Hold {
        Holds::hold(&self.holds, [], layers.iter().copied())
    }

    /// The bytes of an image's configuration.
    pub fn raw_config(&self, id: &Digest) -> Result<Vec<u8>, ImageError> {
        Ok(self.store.content.read(id, MAX_CONFIG)?)
    }

    /// What an image was made by, the newest first.
    pub fn history(&self, reference: &str) -> Result<Vec<HistoryLine>, ImageError> {
        let image = self.resolve(reference)?;
        let mut sizes = image.layers.iter().map(|it| self.store.layers.get(it));
        let line = |entry: &HistoryEntry| HistoryLine {
            id: None,
            created: entry.created,
            created_by: entry.created_by.clone(),
            tags: Vec::new(),
            size: match entry.empty_layer {
                true => 0,
                false => sizes.next().flatten().map_or(0, |it| it.size),
            },
            comment: entry.comment.clone(),
        };
        let mut lines: Vec<HistoryLine> = image.config.history.iter().map(line).collect();
        lines.reverse();
        if let Some(newest) = lines.first_mut() {
            newest.id = Some(image.id);
            newest.tags = image.repo_tags;
        }
        Ok(lines)
    }

    /// Gives an image a further name, taking it from the image that had it.
    pub fn tag(&self, reference: &str, name: &str) -> Result<(), ImageError> {
        let _changing = self.changing();
        let id = self.state().find(reference)?;
        let name = parse_tag(name)?;
        self.put_references(&id, std::slice::from_ref(&name))?;
        self.tell("tag", &id, &name.familiar());
        Ok(())
    }

    /// Deletes blobs and layers that nothing wants: what a crash, or a forced removal, left. To
    /// be called once all containers hold what they stand on.
    pub fn sweep(&self) -> Result<(), ImageError> {
        let _changing = self.changing();
        let away = self.holds.while_nothing_new(|held| -> Result<_, ImageError> {
            let wanted = self.state().wanted();
            let blobs = self.store.content.list()?.into_iter().map(|(digest, _)| digest);
            for blob in blobs.filter(|it| !wanted.blobs.contains(it) && !held.has_blob(it)) {
                self.store.content.remove(&blob)?;
            }
            let unwanted = |it: &ChainId| !wanted.layers.contains(it) && !held.has_layer(it);
            let layers = self.store.layers.list().into_iter().map(|it| it.chain_id);
            self.take_away(layers.filter(unwanted).collect())
        })?;
        remove::delete(away)
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records names for an image that is there, durably.
    fn put_references(&self, id: &Digest, names: &[Reference]) -> Result<(), ImageError> {
        let record = ReferenceRecord { image: *id, since: Timestamp::now() };
        let mut batch = Batch::default();
        for name in names {
            batch.put(&name.to_string(), &record)?;
        }
        self.store.database.commit(batch)?;
        let mut state = self.state_mut();
        state.references.extend(names.iter().map(|it| (it.clone(), record.clone())));
        Ok(())
    }

    fn tell(&self, action: &str, id: &Digest, name: &str) {
        let mut attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
        if let Some(known) = self.state().images.get(id) {
            let labels = known.config.defaults.labels.iter();
            attributes.extend(labels.map(|(key, value)| (key.clone(), value.clone())));
        }
        self.events.publish(Kind::Image, action, id.to_string(), attributes);
    }
}

/// What records want kept.
#[derive(Debug, Default)]
struct Wanted {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<ChainId>,
}

impl State {
    fn image(&self, id: &Digest) -> Option<Image> {
        let known = self.images.get(id)?;
        let names = || self.references.iter().filter(|(_, it)| it.image == *id);
        let familiar = |is_digest: bool| {
            let names = names().filter(move |(name, _)| name.digest().is_some() == is_digest);
            names.map(|(name, _)| name.familiar()).collect()
        };
        Some(Image {
            id: *id,
            config: Arc::clone(&known.config),
            layers: known.layers.clone(),
            repo_tags: familiar(false),
            repo_digests: familiar(true),
            size: known.record.size,
            parent: known.record.parent,
            manifest: known.record.manifest,
            last_tagged: names().map(|(_, it)| it.since).max(),
        })
    }

    /// The order is Docker's: a whole id, a name, the beginning of an id.
    fn find(&self, reference: &str) -> Result<Digest, ImageError> {
        let whole = whole_id(reference);
        if let Some(id) = whole {
            return self.images.contains_key(&id).then_some(id).ok_or_else(|| missing(reference));
        }
        let name = reference.parse::<Reference>();
        if let Some(id) = name.as_ref().ok().and_then(|it| self.find_named(it)) {
            return Ok(id);
        }
        self.find_prefix(reference)?.ok_or_else(|| match name {
            Ok(name) => ImageError::NotFound { reference: name.familiar() },
            Err(source) => ImageError::Reference { source },
        })
    }

    fn find_named(&self, name: &Reference) -> Option<Digest> {
        if let Some(found) = self.references.get(name) {
            return Some(found.image);
        }
        // Of a name with tag and digest, the digest decides.
        let digest = name.digest()?;
        let same = |it: &&Reference| it.name() == name.name() && it.digest() == Some(digest);
        self.references.keys().find(same).map(|it| self.references[it].image)
    }

    fn find_prefix(&self, prefix: &str) -> Result<Option<Digest>, ImageError> {
        let digits = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        let is_prefix = !digits.is_empty()
            && digits.len() < 64
            && digits.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
        if !is_prefix {
            return Ok(None);
        }
        let mut matching = self.images.keys().filter(|it| it.hex().starts_with(digits));
        match (matching.next(), matching.next()) {
            (Some(_), Some(_)) => Err(ImageError::Ambiguous { prefix: prefix.into() }),
            (found, _) => Ok(found.copied()),
        }
    }

    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for (id, known) in &self.images {
            wanted.blobs.insert(*id);
            wanted.blobs.extend(known.record.manifest);
            wanted.blobs.extend(known.record.layers.iter().map(|it| it.blob));
            wanted.layers.extend(&known.layers);
        }
        wanted
    }
}

fn whole_id(reference: &str) -> Option<Digest> {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    format!("sha256:{digits}").parse().ok()
}

fn missing(reference: &str) -> ImageError {
    ImageError::NotFound { reference: reference.into() }
}

/// Reads a name that an image can be given: a repository and a tag, without a digest.
fn parse_tag(name: &str) -> Result<Reference, ImageError> {
    let name: Reference = name.parse().map_err(|source| ImageError::Reference { source })?;
    match name.digest() {
        None => Ok(name),
        Some(_) => Err(ImageError::DigestAsTag),
    }
}

/// Whether the configuration's layers are those, in order.
fn check_diff_ids(config: &ImageConfig, found: usize) -> Result<&[DiffId], ImageError> {
    let expected = config.diff_ids.len();
    if found == expected {
        return Ok(&config.diff_ids);
    }
    Err(ImageError::LayerCount { expected, found })
}
