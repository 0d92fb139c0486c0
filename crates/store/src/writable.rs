//! The directories of containers: what they write, and what the daemon keeps about each.
//!
//! `containers/<id>/` is open to root only; in it lie `upper` and `work` of the overlay, and
//! whatever files the engine puts beside them. The mode and owner of `upper` are what the
//! container sees as those of `/`.
//!
//! **Invariant:** a container's directory is there whole or not at all. Removal renames it away
//! at once and deletes it after; what a crash leaves in `removed/` is swept at the next start.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use wadah_oci::ContainerId;

use crate::{
    disk::{DiskError, make_directory},
    tree::{RemoveTreeError, remove_tree},
};

/// All containers' directories.
#[derive(Debug)]
pub struct Writable {
    root: PathBuf,
    removed: PathBuf,
    sequence: AtomicU64,
}

/// The directories of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDirectories {
    /// The directory that holds everything of the container.
    pub root: PathBuf,
    /// The overlay's upper directory.
    pub upper: PathBuf,
    /// The overlay's work directory.
    pub work: PathBuf,
}

/// Why a container's directories could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum WritableError {
    /// The container has directories already.
    #[error("container {id} has directories already")]
    Exists {
        /// The container.
        id: ContainerId,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What was renamed away could not be deleted.
    #[error(transparent)]
    Remove(#[from] RemoveTreeError),
}

impl Writable {
    pub(crate) fn open(root: PathBuf, removed: PathBuf) -> Result<Self, DiskError> {
        make_directory(&root, 0o711)?;
        make_directory(&removed, 0o700)?;
        Ok(Self { root, removed, sequence: AtomicU64::new(0) })
    }

    /// Where a container's directories are, or would be.
    pub fn directories(&self, id: &ContainerId) -> ContainerDirectories {
        let root = self.root.join(id.as_str());
        ContainerDirectories { upper: root.join("upper"), work: root.join("work"), root }
    }

    /// Makes a container's directories. Nothing is flushed to the disk: the record that the
    /// engine commits next is what makes a container durable, and one without its directories
    /// is whole again after calling this.
    pub fn create(&self, id: &ContainerId) -> Result<ContainerDirectories, WritableError> {
        let directories = self.directories(id);
        match fs::create_dir(&directories.root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(WritableError::Exists { id: id.clone() });
            }
            other => other.map_err(DiskError::new("create directory", &directories.root))?,
        }
        make_directory(&directories.root, 0o700)?;
        make_directory(&directories.upper, 0o755)?;
        make_directory(&directories.work, 0o700)?;
        Ok(directories)
    }

    /// The ids of all containers that have a directory.
    pub fn list(&self) -> Result<Vec<ContainerId>, WritableError> {
        let error = || DiskError::new("read", &self.root);
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(error())? {
            let name = entry.map_err(error())?.file_name();
            ids.extend(name.to_str().and_then(|it| it.parse::<ContainerId>().ok()));
        }
        Ok(ids)
    }

    /// Takes a container's directories away at once, and then deletes them. One without any is
    /// fine.
    pub fn remove(&self, id: &ContainerId) -> Result<(), WritableError> {
        match self.take_away(id)? {
            Some(away) => Ok(remove_tree(&away)?),
            None => Ok(()),
        }
    }

    /// Renames a container's directories away, into the path returned, which the caller deletes
    /// with [`remove_tree`] when it has time; the next start does so otherwise.
    pub fn take_away(&self, id: &ContainerId) -> Result<Option<PathBuf>, WritableError> {
        let path = self.root.join(id.as_str());
        loop {
            let number = self.sequence.fetch_add(1, Ordering::Relaxed);
            let away = self.removed.join(format!("{id}-{number}"));
            match fs::rename(&path, &away) {
                Ok(()) => return Ok(Some(away)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => return Err(DiskError::new("take away", &path)(error).into()),
            }
        }
    }
}

impl ContainerDirectories {
    /// Gives `upper` the mode and owner of the directory `top`, the root of the image's topmost
    /// layer: an overlay's root looks like its upper directory.
    pub fn match_root(&self, top: &Path) -> Result<(), WritableError> {
        let like = fs::metadata(top).map_err(DiskError::new("look at", top))?;
        let upper = &self.upper;
        std::os::unix::fs::chown(upper, Some(like.uid()), Some(like.gid()))
            .map_err(DiskError::new("set the owner of", upper))?;
        fs::set_permissions(upper, fs::Permissions::from_mode(like.mode() & 0o7777))
            .map_err(DiskError::new("set the mode of", upper))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_directories_until_it_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let containers = Writable::open(path("containers"), path("removed")).unwrap();
        let id = ContainerId::from_bytes([7; 32]);
        let made = containers.create(&id).unwrap();
        assert_eq!(fs::metadata(&made.root).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::metadata(&made.upper).unwrap().mode() & 0o7777, 0o755);
        let again = containers.create(&id).unwrap_err();
        assert_eq!(again.to_string(), format!("container {id} has directories already"));
        assert_eq!(containers.list().unwrap(), std::slice::from_ref(&id));
        containers.remove(&id).unwrap();
        containers.remove(&id).unwrap();
        assert!(!made.root.exists());
        assert_eq!(fs::read_dir(path("removed")).unwrap().count(), 0);
    }

    #[test]
    fn the_root_a_container_sees_looks_like_its_image() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let containers = Writable::open(path("containers"), path("removed")).unwrap();
        let made = containers.create(&ContainerId::from_bytes([1; 32])).unwrap();
        fs::create_dir(path("top")).unwrap();
        fs::set_permissions(path("top"), fs::Permissions::from_mode(0o1751)).unwrap();
        std::os::unix::fs::chown(path("top"), Some(12), Some(34)).unwrap();
        made.match_root(&path("top")).unwrap();
        let upper = fs::metadata(&made.upper).unwrap();
        assert_eq!((upper.mode() & 0o7777, upper.uid(), upper.gid()), (0o1751, 12, 34));
    }
}
