//! Layers: the unpacked directories that root filesystems are stacked from.
//!
//! A layer is unpacked into a directory of its own, without regard to what lies below ([`Staged`]),
//! and then put in its place on a stack ([`Layers::commit`]) as `layers/<chain-id>/`: the tree in
//! `fs`, what is known about it in `layer.json`.
//!
//! The tree is what overlayfs wants for a lower directory: a whiteout is a character device 0:0,
//! an opaque directory has `trusted.overlay.opaque`.
//!
//! **Invariant:** a layer in its place is whole and its diff id was verified. Trees are not
//! flushed one by one, they are flushed together a moment later and then marked `settled`; one
//! without that mark from before the machine last started is dropped at opening, to be unpacked
//! again from its blob.
//! **Invariant:** nothing is mounted here. [`Layers::lower`] says what to mount.

mod attributes;
mod compression;
mod implied;
mod journal;
mod path;
mod pipeline;
mod place;
mod settle;
mod space;
mod unpack;
mod walk;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use wadah_oci::{ChainId, DiffId};

use crate::{
    disk::{DiskError, make_directory},
    store::Damage,
    tree::{RemoveTreeError, remove_tree},
};
pub use compression::{Compression, decompressed};
use settle::Settler;
pub use unpack::{TreeSize, UnpackError};

/// How many layers overlayfs takes (`OVL_MAX_STACK`), less the upper one.
const MAX_STACK: usize = 499;

/// All layers.
#[derive(Debug)]
pub struct Layers {
    root: PathBuf,
    ingest: PathBuf,
    removed: PathBuf,
    sequence: AtomicU64,
    known: Mutex<BTreeMap<ChainId, Layer>>,
    settler: Settler,
}

/// A layer in its place on a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The stack that it is the top of.
    pub chain_id: ChainId,
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The stack it lies on.
    pub below: Option<ChainId>,
    /// The sum of the sizes of its files.
    pub size: u64,
    /// Whether it hides everything below.
    opaque: bool,
}

/// A layer that is unpacked and verified, but lies on nothing yet. Dropping it removes it.
#[derive(Debug)]
#[must_use = "a staged layer is removed unless it is committed"]
pub struct Staged {
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// What it holds.
    pub size: TreeSize,
    directory: PathBuf,
}

/// Why a layer was not put in its place, found, or removed.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// There is no such layer.
    #[error("no layer {chain_id}")]
    Missing {
        /// What was asked for.
        chain_id: ChainId,
    },
    /// Another layer lies on it.
    #[error("layer {chain_id} lies below layer {above}")]
    InUse {
        /// The layer.
        chain_id: ChainId,
        /// What lies on it.
        above: ChainId,
    },
    /// The stack is higher than overlayfs allows.
    #[error("a stack of more than {MAX_STACK} layers")]
    TooHigh,
    /// What was to be deleted could not be.
    #[error(transparent)]
    Remove(#[from] RemoveTreeError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// `layer.json`.
#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    diff_id: DiffId,
    below: Option<ChainId>,
    size: u64,
    opaque: bool,
    boot: String,
}

const VERSION: u32 = 1;

impl Layers {
    /// Opens the layers; drops, and reports, those that are not whole.
    pub(crate) fn open(
        root: PathBuf,
        ingest: PathBuf,
        removed: PathBuf,
    ) -> Result<(Self, Vec<Damage>), LayerError> {
        make_directory(&root, 0o700)?;
        let settler = Settler::start(&root)?;
        let layers = Self {
            known: Mutex::default(),
            sequence: AtomicU64::new(0),
            root,
            ingest,
            removed,
            settler,
        };
        let damage = layers.read_all()?;
        Ok((layers, damage))
    }

    /// Unpacks a layer, compressed or not, verifying its diff id if one is expected.
    pub fn stage(
        &self,
        reader: impl Read + Send,
        expected: Option<&DiffId>,
    ) -> Result<Staged, UnpackError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let directory = self.ingest.join(format!("layer-{number}"));
        make_directory(&directory, 0o700)?;
        let unpacked = unpack::unpack(&directory, reader, expected);
        match unpacked {
            Ok((diff_id, size)) => Ok(Staged { diff_id, size, directory }),
            Err(error) => {
                // The first error is the one that matters; the rest is swept at the next start.
                remove_tree(&directory).unwrap_or_default();
                Err(error)
            }
        }
    }

    /// Puts a staged layer on the stack `below`. If it is there already, that one stays.
    pub fn commit(&self, staged: Staged, below: Option<&ChainId>) -> Result<Layer, LayerError> {
        let lower = below.map_or(Ok(Vec::new()), |it| self.lower(it))?;
        if lower.len() >= MAX_STACK {
            return Err(LayerError::TooHigh);
        }
        let layer = Layer {
            chain_id: ChainId::new(below, &staged.diff_id),
            diff_id: staged.diff_id,
            below: below.copied(),
            size: staged.size.bytes,
            opaque: staged.size.is_opaque,
        };
        implied::settle(&staged.directory, &lower)?;
        self.describe(&layer, &staged.directory)?;
        let place = self.place(&layer.chain_id);
        let mut known = self.known();
        if known.contains_key(&layer.chain_id) {
            return Ok(layer);
        }
        fs::rename(&staged.directory, &place).map_err(DiskError::new("put in place", &place))?;
        known.insert(layer.chain_id, layer.clone());
        drop(known);
        self.settler.note(place);
        Ok(layer)
    }

    /// Unpacks a layer right onto the stack `below`.
    pub fn unpack(
        &self,
        reader: impl Read + Send,
        below: Option<&ChainId>,
        expected: Option<&DiffId>,
    ) -> Result<Layer, UnpackError> {
        let staged = self.stage(reader, expected)?;
        Ok(self.commit(staged, below)?)
    }

    /// What is known of a layer.
    pub fn get(&self, chain_id: &ChainId) -> Option<Layer> {
        self.known().get(chain_id).cloned()
    }

    /// The layer's tree.
    pub fn path(&self, chain_id: &ChainId) -> PathBuf {
        self.place(chain_id).join("fs")
    }

    /// The trees of a stack, nearest first, as overlayfs's lower directories. What lies below a
    /// layer that hides everything is left out: overlayfs does not look at that mark on a root.
    pub fn lower(&self, top: &ChainId) -> Result<Vec<PathBuf>, LayerError> {
        let known = self.known();
        let mut lower = Vec::new();
        let mut next = Some(*top);
        while let Some(chain_id) = next {
            let layer = known.get(&chain_id).ok_or(LayerError::Missing { chain_id })?;
            lower.push(self.path(&chain_id));
            next = layer.below.filter(|_| !layer.opaque);
        }
        Ok(lower)
    }

    /// All layers.
    pub fn list(&self) -> Vec<Layer> {
        self.known().values().cloned().collect()
    }

    /// Deletes a layer, unless another lies on it. One that is not there is fine.
    pub fn remove(&self, chain_id: &ChainId) -> Result<(), LayerError> {
        let away = self.take_away(chain_id)?;
        Ok(away.map_or(Ok(()), |it| remove_tree(&it))?)
    }

    /// Takes a layer away, unless another lies on it, into the path returned, which the caller
    /// deletes with [`remove_tree`] when it has time; the next start does so otherwise.
    pub fn take_away(&self, chain_id: &ChainId) -> Result<Option<PathBuf>, LayerError> {
        let mut known = self.known();
        if let Some(above) = known.values().find(|it| it.below == Some(*chain_id)) {
            let above = above.chain_id;
            return Err(LayerError::InUse { chain_id: *chain_id, above });
        }
        known.remove(chain_id);
        Ok(self.rename_away(&self.place(chain_id))?)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ChainId, Layer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, chain_id: &ChainId) -> PathBuf {
        self.root.join(chain_id.hex())
    }

    fn rename_away(&self, path: &Path) -> Result<Option<PathBuf>, DiskError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        loop {
            let number = self.sequence.fetch_add(1, Ordering::Relaxed);
            let away = self.removed.join(format!("layer-{name}-{number}"));
            match fs::rename(path, &away) {
                Ok(()) => return Ok(Some(away)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => return Err(DiskError::new("take away", path)(error)),
            }
        }
    }

    fn describe(&self, layer: &Layer, directory: &Path) -> Result<(), DiskError> {
        let description = Description {
            version: VERSION,
            diff_id: layer.diff_id,
            below: layer.below,
            size: layer.size,
            opaque: layer.opaque,
            boot: self.settler.boot.clone(),
        };
        let path = directory.join("layer.json");
        let json = serde_json::to_vec(&description)
            .map_err(|it| DiskError::new("write", &path)(it.into()))?;
        fs::write(&path, json).map_err(DiskError::new("write", &path))
    }

    /// Reads what is in the layers' directory, and drops what is no whole layer.
    fn read_all(&self) -> Result<Vec<Damage>, LayerError> {
        let error = || DiskError::new("read", &self.root);
        let mut damage = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(error())? {
            let path = entry.map_err(error())?.path();
            match self.read_one(&path) {
                Ok(layer) => {
                    self.known().insert(layer.chain_id, layer);
                }
                Err(found) => {
                    self.drop_away(&path)?;
                    damage.push(found);
                }
            }
        }
        Ok(damage)
    }

    fn read_one(&self, path: &Path) -> Result<Layer, Damage> {
        let stray = || Damage::Stray { path: path.into() };
        let name = path.file_name().and_then(|it| it.to_str()).unwrap_or_default();
        let chain_id = ChainId::from_hex(name).map_err(|_| stray())?;
        let dropped = || Damage::Layer { chain_id };
        let json = fs::read(path.join("layer.json")).map_err(|_| dropped())?;
        let found: Description = serde_json::from_slice(&json).map_err(|_| dropped())?;
        let is_named = ChainId::new(found.below.as_ref(), &found.diff_id) == chain_id;
        if found.version != VERSION || !is_named || !path.join("fs").is_dir() {
            return Err(dropped());
        }
        if !settle::is_settled(path) {
            if found.boot != self.settler.boot {
                return Err(dropped());
            }
            self.settler.note(path.into());
        }
        let Description { diff_id, below, size, opaque, .. } = found;
        Ok(Layer { chain_id, diff_id, below, size, opaque })
    }

    /// Deletes in the background: this is on the way of the daemon's start.
    fn drop_away(&self, path: &Path) -> Result<(), LayerError> {
        if let Some(away) = self.rename_away(path)? {
            let away = Arc::new(away);
            let delete = {
                let away = Arc::clone(&away);
                move || remove_tree(&away).unwrap_or_default()
            };
            let spawned = std::thread::Builder::new().name("sweep".into()).spawn(delete);
            spawned.map_err(DiskError::new("start to delete", &away))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Once committed, there is nothing at the path any more.
        remove_tree(&self.directory).unwrap_or_default();
    }
}
