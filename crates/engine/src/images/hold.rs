//! What must not be deleted although no record reaches it: what a load is putting together, what
//! a container stands on.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wadah_oci::{ChainId, Digest};

/// Who holds what, counted.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: Mutex<Held>,
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Held {
    blobs: BTreeMap<Digest, usize>,
    layers: BTreeMap<ChainId, usize>,
}

/// Keeps blobs and layers from being deleted until it is dropped.
#[derive(Debug)]
#[must_use = "what is not held may be deleted"]
pub struct Hold {
    holds: Arc<Holds>,
    blobs: Vec<Digest>,
    layers: Vec<ChainId>,
}

impl Holds {
    pub(super) fn hold(
        this: &Arc<Self>,
        blobs: impl IntoIterator<Item = Digest>,
        layers: impl IntoIterator<Item = ChainId>,
    ) -> Hold {
        let mut hold = Hold { holds: Arc::clone(this), blobs: Vec::new(), layers: Vec::new() };
        hold.add(blobs, layers);
        hold
    }

    /// Does something while no new hold can be taken.
    pub(super) fn while_nothing_new<T>(&self, act: impl FnOnce(&Held) -> T) -> T {
        act(&self.held())
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blobs.contains_key(digest)
    }

    pub(super) fn has_layer(&self, chain_id: &ChainId) -> bool {
        self.layers.contains_key(chain_id)
    }
}

impl Hold {
    /// Holds more.
    pub(super) fn add(
        &mut self,
        blobs: impl IntoIterator<Item = Digest>,
        layers: impl IntoIterator<Item = ChainId>,
    ) {
        let mut held = self.holds.held();
        for blob in blobs {
            *held.blobs.entry(blob).or_default() += 1;
            self.blobs.push(blob);
        }
        for layer in layers {
            *held.layers.entry(layer).or_default() += 1;
            self.layers.push(layer);
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.held();
        for blob in &self.blobs {
            release(&mut held.blobs, blob);
        }
        for layer in &self.layers {
            release(&mut held.layers, layer);
        }
    }
}

fn release<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    let count = counts.get_mut(key).expect("BUG: what is released was held");
    *count -= 1;
    if *count == 0 {
        counts.remove(key);
    }
}
