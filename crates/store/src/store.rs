//! The data root, taken by one daemon.
//!
//! **Invariant:** a data root has one [`Store`] at a time, held by a lock on `lock`; the second
//! daemon is told who has it.
//! **Invariant:** opening never fails for damage. What is damaged is set aside and told in
//! [`Store::damage`]; what is left works.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    thread,
};

use rustix::fs::FlockOperation;
use wadah_oci::ChainId;

use crate::{
    content::Content,
    database::{Database, DatabaseError},
    disk::{DiskError, make_directory, write_atomically},
    layers::{LayerError, Layers},
    tree::remove_tree,
    writable::Writable,
};

/// Everything that is kept on disk.
#[derive(Debug)]
pub struct Store {
    /// Blobs.
    pub content: Content,
    /// Unpacked layers.
    pub layers: Layers,
    /// Records.
    pub database: Database,
    /// Containers' directories.
    pub containers: Writable,
    root: PathBuf,
    damage: Vec<Damage>,
    _lock: File,
}

/// Something that was found damaged, and what was done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// The database's file could not be read and was renamed.
    File {
        /// The file.
        path: PathBuf,
        /// Where it is now.
        aside: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How many of its rows were saved.
        saved: usize,
    },
    /// The database's file is gone.
    Gone {
        /// The file.
        path: PathBuf,
        /// How many rows its copy had.
        saved: usize,
    },
    /// A row could not be read and was moved aside.
    Row {
        /// Its table.
        table: String,
        /// Its key.
        key: String,
    },
    /// A layer was not wholly on the disk when the machine went down, and was dropped. It can be
    /// unpacked again from its blob.
    Layer {
        /// The layer.
        chain_id: ChainId,
    },
    /// A directory among the layers was none, and was dropped.
    Stray {
        /// Where it was.
        path: PathBuf,
    },
}

/// Why a data root could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another daemon has it.
    #[error("another daemon{holder} already uses the data root {root}", root = .root.display())]
    InUse {
        /// The data root.
        root: PathBuf,
        /// Who has it, as in " (process 17)".
        holder: String,
    },
    /// A later release wrote it, in a way this one does not know.
    #[error("the data root {root} has layout {found}; this release knows {known}",
        root = .root.display())]
    Layout {
        /// The data root.
        root: PathBuf,
        /// The layout it has.
        found: u32,
        /// The layout this release writes.
        known: u32,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The layers could not be listed.
    #[error(transparent)]
    Layers(#[from] LayerError),
    /// The database could not be opened.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

const LAYOUT: u32 = 1;

impl Store {
    /// Opens the data root, making it if need be, and begins to sweep what a crash left.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        make_root(root)?;
        let lock = lock(root)?;
        check_layout(root)?;
        let ingest = root.join("ingest");
        let removed = root.join("removed");
        make_directory(&removed, 0o700)?;
        put_away(&ingest, &removed)?;
        make_directory(&ingest, 0o700)?;
        sweep(&removed)?;

        let (database, mut damage) = Database::open(&root.join("wadah.redb"))?;
        let (layers, damaged) = Layers::open(root.join("layers"), ingest.clone(), removed.clone())?;
        damage.extend(damaged);
        let content = Content::open(root, ingest)?;
        let containers = Writable::open(root.join("containers"), removed)?;
        let root = root.to_owned();
        Ok(Self { content, layers, database, containers, root, damage, _lock: lock })
    }

    /// The data root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was found damaged when the store was opened.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }
}

/// Makes the data root 0711: what lies in it may be reached by a path that is known (a socket, a
/// mount), and not be listed.
fn make_root(root: &Path) -> Result<(), DiskError> {
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent).map_err(DiskError::new("create directory", parent))?;
    }
    make_directory(root, 0o711)
}

fn lock(root: &Path) -> Result<File, OpenError> {
    let path = root.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(DiskError::new("open", &path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = holder(&mut file);
            return Err(OpenError::InUse { root: root.into(), holder });
        }
        Err(error) => return Err(DiskError::new("lock", &path)(error.into()).into()),
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(DiskError::new("write", &path))?;
    Ok(file)
}

/// Who wrote the lock file, if that can be read.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(32).read_to_string(&mut text);
    match (read, text.trim().parse::<u32>()) {
        (Ok(_), Ok(process)) => format!(" (process {process})"),
        _ => String::new(),
    }
}

/// Checks that the data root is laid out as this release knows.
///
/// The layout is written twice, so that a flipped bit does not look like another release.
fn check_layout(root: &Path) -> Result<(), OpenError> {
    let path = root.join("layout");
    match fs::read(&path) {
        Ok(bytes) => match layout_of(&bytes) {
            Some(found) if found != LAYOUT => {
                Err(OpenError::Layout { root: root.into(), found, known: LAYOUT })
            }
            _ => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = format!("wadah {LAYOUT} {LAYOUT}\n");
            Ok(write_atomically(&path, text.as_bytes(), 0o644)?)
        }
        Err(error) => Err(DiskError::new("read", &path)(error).into()),
    }
}

fn layout_of(bytes: &[u8]) -> Option<u32> {
    let text = str::from_utf8(bytes).ok()?.strip_prefix("wadah ")?;
    let (one, other) = text.trim_end().split_once(' ')?;
    (one == other).then(|| one.parse().ok()).flatten()
}

/// Moves what a crash left of `ingest` to where it is deleted in the background.
fn put_away(ingest: &Path, removed: &Path) -> Result<(), DiskError> {
    for number in 0_u32.. {
        match fs::rename(ingest, removed.join(format!("ingest-{number}"))) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(DiskError::new("take away", ingest)(error)),
        }
    }
    Ok(())
}

/// Deletes, in the background, what lies in `removed` now.
fn sweep(removed: &Path) -> Result<(), DiskError> {
    let entries = fs::read_dir(removed).map_err(DiskError::new("read", removed))?;
    let leftovers: Vec<PathBuf> = entries.flatten().map(|it| it.path()).collect();
    if leftovers.is_empty() {
        return Ok(());
    }
    let sweeping = move || {
        for path in leftovers {
            // What cannot be deleted is tried again at the next start.
            remove_tree(&path).unwrap_or_default();
        }
    };
    let spawned = thread::Builder::new().name("sweep".into()).spawn(sweeping);
    spawned.map(drop).map_err(DiskError::new("start to sweep", removed))
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, aside, reason, saved } => write!(
                f,
                "{} is damaged ({reason}); it was set aside as {}, and {saved} of its rows saved",
                path.display(),
                aside.display()
            ),
            Self::Gone { path, saved } => {
                write!(f, "{} is gone; a new one was made of {saved} rows saved", path.display())
            }
            Self::Row { table, key } => {
                write!(f, "row {key:?} of table {table} is damaged and was moved aside")
            }
            Self::Layer { chain_id } => write!(
                f,
                "layer {chain_id} was not wholly written when the machine went down; \
                 it is unpacked again"
            ),
            Self::Stray { path } => {
                write!(f, "{} is no layer and was removed", path.display())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_second_daemon_is_told_who_has_the_data_root() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("a/b");
        let store = Store::open(&root).unwrap();
        assert!(store.damage().is_empty());
        let error = Store::open(&root).unwrap_err().to_string();
        let (process, root_shown) = (std::process::id(), root.display());
        assert_eq!(
            error,
            format!("another daemon (process {process}) already uses the data root {root_shown}")
        );
        drop(store);
        Store::open(&root).unwrap();
        let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&root), 0o711);
        assert_eq!(mode(&root.join("wadah.redb")), 0o600);
    }

    #[test]
    fn a_deleted_database_is_reported_and_the_store_opens() {
        let scratch = tempfile::tempdir().unwrap();
        drop(Store::open(scratch.path()).unwrap());
        let path = scratch.path().join("wadah.redb");
        fs::remove_file(&path).unwrap();
        let store = Store::open(scratch.path()).unwrap();
        assert_eq!(store.damage(), [Damage::Gone { path, saved: 0 }]);
    }

    #[test]
    fn a_layout_of_a_later_release_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("layout"), "wadah 7 7\n").unwrap();
        let error = Store::open(scratch.path()).unwrap_err().to_string();
        assert!(error.ends_with("has layout 7; this release knows 1"), "{error}");
    }

    #[test]
    fn what_a_crash_left_behind_is_swept() {
        let scratch = tempfile::tempdir().unwrap();
        drop(Store::open(scratch.path()).unwrap());
        let left = scratch.path().join("ingest/unpack-0/fs/etc");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("passwd"), "x").unwrap();
        drop(Store::open(scratch.path()).unwrap());
        assert!(!left.exists());
    }
}
