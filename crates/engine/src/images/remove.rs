//! Removing images, with Docker's meaning: a name is taken away first, and the image goes with
//! its last one, unless something needs it.

use std::path::PathBuf;

use wadah_oci::{ChainId, Digest, Reference};
use wadah_store::{Batch, remove_tree};

use super::{
    ImageError, Images, Known,
    record::{ImageRecord, ReferenceRecord},
};

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUse {
    /// The container's id.
    pub container: String,
    /// Whether it runs, or may at any moment.
    pub running: bool,
}

/// What a removal did, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(String),
    /// An image or a layer was deleted.
    Deleted(String),
}

/// What speaks against deleting an image.
#[derive(Clone, Copy)]
struct Conflicts {
    children: bool,
    running: bool,
    names: bool,
    stopped: bool,
}

impl Conflicts {
    /// What force does not overcome.
    const HARD: Self = Self { children: true, running: true, names: false, stopped: false };
    const ALL: Self = Self { children: true, running: true, names: true, stopped: true };
    /// All but names: those are about to be taken away.
    const NOT_NAMES: Self = Self { names: false, ..Self::ALL };
}

type InUse<'a> = &'a dyn Fn(&Digest) -> Option<ImageUse>;

impl Images {
    /// Removes a name, or an image with all its names. `in_use` says which container uses an
    /// image, running ones first. Unless `noprune`, images without names that it was built on go
    /// too.
    pub fn remove(
        &self,
        reference: &str,
        force: bool,
        noprune: bool,
        in_use: InUse<'_>,
    ) -> Result<Vec<Removed>, ImageError> {
        let _changing = self.changing();
        let id = self.state().find(reference)?;
        let mut removal = Removal { images: self, in_use, records: Vec::new(), away: Vec::new() };
        removal.run(&id, reference, force, noprune)?;
        let Removal { records, away, .. } = removal;
        delete(away)?;
        Ok(records)
    }

    /// Takes layers away that nothing else wants; returns where they are now. Layers that others
    /// lie on stay, and so do those below them.
    pub(super) fn take_away(&self, mut layers: Vec<ChainId>) -> Result<Vec<PathBuf>, ImageError> {
        let mut away = Vec::new();
        // From the top of the stacks downwards; each round frees what lay below the last one's.
        loop {
            let before = layers.len();
            let mut left = Vec::new();
            for layer in layers {
                match self.store.layers.take_away(&layer) {
                    Ok(path) => away.extend(path),
                    Err(wadah_store::LayerError::InUse { .. }) => left.push(layer),
                    Err(error) => return Err(error.into()),
                }
            }
            if left.is_empty() || left.len() == before {
                return Ok(away);
            }
            layers = left;
        }
    }
}

/// Deletes what was taken away. What cannot be deleted now is swept at the next start, but said.
pub(super) fn delete(away: Vec<PathBuf>) -> Result<(), ImageError> {
    let mut first = Ok(());
    for path in away {
        let removed = remove_tree(&path).map_err(ImageError::from);
        first = first.and(removed);
    }
    first
}

struct Removal<'a> {
    images: &'a Images,
    in_use: InUse<'a>,
    records: Vec<Removed>,
    away: Vec<PathBuf>,
}

impl Removal<'_> {
    fn run(
        &mut self,
        id: &Digest,
        reference: &str,
        force: bool,
        noprune: bool,
    ) -> Result<(), ImageError> {
        let names = self.names(id);
        if is_id_prefix(id, reference) {
            if is_single(&names) {
                // The names are about to go; everything else counts.
                self.check(id, if force { Conflicts::HARD } else { Conflicts::NOT_NAMES })?;
                self.untag(id, &names)?;
            }
        } else if self.remove_name(id, reference, &names, force)? {
            return Ok(());
        }
        self.check(id, if force { Conflicts::HARD } else { Conflicts::ALL })?;
        let parent = self.images.state().images.get(id).and_then(|it| it.record.parent);
        self.delete(id)?;
        if noprune { Ok(()) } else { self.delete_parents(parent) }
    }

    /// Takes a name away; says whether others are left, so that the image stays.
    fn remove_name(
        &mut self,
        id: &Digest,
        reference: &str,
        names: &[Reference],
        force: bool,
    ) -> Result<bool, ImageError> {
        let name: Reference =
            reference.parse().map_err(|source| ImageError::Reference { source })?;
        let is_name = |it: &&Reference| {
            **it == name
                || (it.name() == name.name()
                    && it.digest().is_some_and(|it| Some(it) == name.digest()))
        };
        let Some(name) = names.iter().find(is_name).cloned() else {
            return Err(super::missing(reference));
        };
        if !force
            && is_single(names)
            && let Some(user) = (self.in_use)(id)
        {
            return Err(ImageError::ReferenceInUse {
                reference: reference.into(),
                container: short(&user.container).into(),
                id: short(&id.hex()).into(),
            });
        }
        let mut taken = vec![name.clone()];
        let others = |it: &&Reference| **it != name;
        let same = |it: &&Reference| others(it) && it.name() == name.name();
        if name.digest().is_none() && !names.iter().filter(same).any(|it| it.digest().is_none()) {
            // With the last tag of a repository go the digests it was pulled by.
            taken.extend(names.iter().filter(same).cloned());
        }
        self.untag(id, &taken)?;
        Ok(taken.len() < names.len())
    }

    fn names(&self, id: &Digest) -> Vec<Reference> {
        let state = self.images.state();
        let names = state.references.iter().filter(|(_, it)| it.image == *id);
        names.map(|(name, _)| name.clone()).collect()
    }

    fn untag(&mut self, id: &Digest, names: &[Reference]) -> Result<(), ImageError> {
        let mut batch = Batch::default();
        for name in names {
            batch.remove::<ReferenceRecord>(&name.to_string());
        }
        self.images.store.database.commit(batch)?;
        for name in names {
            self.images.state_mut().references.remove(name);
            self.images.tell("untag", id, &name.familiar());
            self.records.push(Removed::Untagged(name.familiar()));
        }
        Ok(())
    }

    fn check(&self, id: &Digest, conflicts: Conflicts) -> Result<(), ImageError> {
        let conflict = |force, reason: String| {
            Err(ImageError::InUse { id: short(&id.hex()).into(), force, reason })
        };
        let (hard, soft) = ("cannot be forced", "must be forced");
        if conflicts.children && self.has_children(id) {
            return conflict(hard, "image has dependent child images".into());
        }
        let user = (self.in_use)(id);
        let used = |user: &ImageUse, state| {
            format!("image is being used by {state} container {}", short(&user.container))
        };
        match &user {
            Some(user) if user.running && conflicts.running => {
                return conflict(hard, used(user, "running"));
            }
            _ => {}
        }
        if conflicts.names && !self.names(id).is_empty() {
            return conflict(soft, "image is referenced in multiple repositories".into());
        }
        match &user {
            Some(user) if conflicts.stopped => conflict(soft, used(user, "stopped")),
            _ => Ok(()),
        }
    }

    fn has_children(&self, id: &Digest) -> bool {
        self.images.state().images.values().any(|it| it.record.parent == Some(*id))
    }

    /// Removes the image's names and record, then what only it wanted.
    fn delete(&mut self, id: &Digest) -> Result<(), ImageError> {
        let names = self.names(id);
        self.untag(id, &names)?;
        let mut batch = Batch::default();
        batch.remove::<ImageRecord>(&id.to_string());
        self.images.store.database.commit(batch)?;
        self.images.tell("delete", id, &id.to_string());
        let known = self.images.state_mut().images.remove(id);
        self.records.push(Removed::Deleted(id.to_string()));
        if let Some(known) = known {
            let is_used = (self.in_use)(id).is_some();
            self.collect(id, &known, is_used)?;
        }
        Ok(())
    }

    /// Deletes the blobs and layers of a removed image that nothing else wants. While a container
    /// uses it, its layers stay; they are swept once it is gone.
    fn collect(&mut self, id: &Digest, known: &Known, is_used: bool) -> Result<(), ImageError> {
        let images = self.images;
        let (deleted, away) = images.holds.while_nothing_new(|held| -> Result<_, ImageError> {
            let wanted = images.state().wanted();
            let layers = known.record.layers.iter().map(|it| it.blob);
            for blob in layers.chain(known.record.manifest).chain([*id]) {
                if !wanted.blobs.contains(&blob) && !held.has_blob(&blob) {
                    images.store.content.remove(&blob)?;
                }
            }
            let is_unwanted =
                |it: &&ChainId| !is_used && !wanted.layers.contains(it) && !held.has_layer(it);
            let unwanted: Vec<ChainId> =
                known.layers.iter().rev().take_while(is_unwanted).copied().collect();
            let away = images.take_away(unwanted.clone())?;
            let is_gone = |it: &ChainId| images.store.layers.get(it).is_none();
            Ok((unwanted.into_iter().filter(is_gone).collect::<Vec<_>>(), away))
        })?;
        self.records.extend(deleted.iter().map(|it| Removed::Deleted(it.to_string())));
        self.away.extend(away);
        Ok(())
    }

    /// Deletes the nameless images that it was built on, as far as nothing needs them.
    fn delete_parents(&mut self, mut parent: Option<Digest>) -> Result<(), ImageError> {
        while let Some(id) = parent {
            let known = self.images.state().images.get(&id).cloned();
            let Some(known) = known else { return Ok(()) };
            if !self.names(&id).is_empty() || self.check(&id, Conflicts::ALL).is_err() {
                return Ok(());
            }
            self.delete(&id)?;
            parent = known.record.parent;
        }
        Ok(())
    }
}

/// Whether somebody means the image itself, and not a name of it.
fn is_id_prefix(id: &Digest, reference: &str) -> bool {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    id.hex().starts_with(digits)
}

/// Whether all names are of one repository, with at most one tag among them.
fn is_single(names: &[Reference]) -> bool {
    let Some(first) = names.first() else { return true };
    names.iter().filter(|it| it.tag().is_some()).count() <= 1
        && names.iter().all(|it| it.name() == first.name())
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}
