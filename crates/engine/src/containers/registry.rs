//! Which containers there are: by id, by name, by a prefix of an id.
//!
//! **Invariant:** the lock is held for a look or a change, never for a wait. A name belongs to
//! one container, or to one creation that is under way.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Arc, PoisonError, RwLock},
};

use wadah_oci::{ContainerId, ContainerName};

use super::container::Container;
use crate::EngineError;

/// Which containers there are.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    index: RwLock<Index>,
}

#[derive(Debug, Default)]
struct Index {
    by_id: BTreeMap<ContainerId, Arc<Container>>,
    by_name: HashMap<ContainerName, ContainerId>,
}

/// A name that is held for a container about to be added. Dropping it gives the name back.
#[derive(Debug)]
#[must_use = "dropping it gives the name back"]
pub(crate) struct NameHold {
    registry: Arc<Registry>,
    name: Option<ContainerName>,
}

impl Registry {
    /// Finds the container that `reference` means.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<Container>, EngineError> {
        let missing = || EngineError::NoSuchContainer { reference: reference.to_owned() };
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        let by_id = |id: &ContainerId| index.by_id.get(id).cloned();
        if let Some(found) = reference.parse().ok().as_ref().and_then(by_id) {
            return Ok(found);
        }
        let name = reference.strip_prefix('/').unwrap_or(reference);
        let named = name.parse().ok().and_then(|it: ContainerName| index.by_name.get(&it));
        if let Some(found) = named.and_then(by_id) {
            return Ok(found);
        }
        let mut matches = index.with_prefix(reference);
        let found = matches.next().ok_or_else(missing)?;
        match matches.next() {
            None => Ok(Arc::clone(found)),
            Some(_) => Err(EngineError::AmbiguousPrefix { prefix: reference.to_owned() }),
        }
    }

    /// Finds a container by its whole id.
    pub(crate) fn get(&self, id: &ContainerId) -> Option<Arc<Container>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).by_id.get(id).cloned()
    }

    /// All containers, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Container>> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.by_id.values().cloned().collect()
    }

    /// Takes a name for the container `id`.
    pub(crate) fn hold(
        self: &Arc<Self>,
        name: ContainerName,
        id: &ContainerId,
    ) -> Result<NameHold, EngineError> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = index.by_name.get(&name) {
            let (name, holder) = (name.to_string(), holder.to_string());
            return Err(EngineError::NameInUse { name, holder });
        }
        index.by_name.insert(name.clone(), id.clone());
        drop(index);
        Ok(NameHold { registry: Arc::clone(self), name: Some(name) })
    }

    /// Adds a container whose name is held.
    pub(crate) fn add(&self, container: Arc<Container>, mut name: NameHold) {
        name.name = None;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_id.insert(container.id().clone(), container);
    }

    /// Gives a container another name, which is held; its old one is free after.
    pub(crate) fn rename(&self, container: &Container, mut name: NameHold) {
        let Some(new) = name.name.take() else { return };
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut container.now().name, new);
        index.by_name.remove(&old);
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, container: &Container) {
        let name = container.name();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.by_id.remove(container.id());
        if index.by_name.get(&name) == Some(container.id()) {
            index.by_name.remove(&name);
        }
    }
}

impl Index {
    fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Arc<Container>> {
        let is_hex = prefix.bytes().all(|it| it.is_ascii_hexdigit() && !it.is_ascii_uppercase());
        let first = (is_hex && !prefix.is_empty() && prefix.len() < 64)
            .then(|| format!("{prefix:0<64}").parse().ok())
            .flatten();
        let range = first
            .map(|first: ContainerId| self.by_id.range((Bound::Included(first), Bound::Unbounded)));
        range
            .into_iter()
            .flatten()
            .map(|(_, it)| it)
            .take_while(move |it| it.id().as_str().starts_with(prefix))
    }
}

impl NameHold {
    /// The name.
    pub(crate) fn name(&self) -> &ContainerName {
        self.name.as_ref().expect("BUG: a hold has its name until it is used up")
    }
}

impl Drop for NameHold {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            let index = &self.registry.index;
            index.write().unwrap_or_else(PoisonError::into_inner).by_name.remove(&name);
        }
    }
}
