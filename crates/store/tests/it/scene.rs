//! A data root with something beside it that must not be touched.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use wadah_oci::Digest;
use wadah_store::{Layer, Store, UnpackError};

pub(crate) struct Scene {
    scratch: TempDir,
    pub(crate) store: Store,
    before: BTreeMap<PathBuf, Looks>,
}

/// Everything about a file that matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Looks {
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) size: u64,
    pub(crate) links: u64,
    pub(crate) device: u64,
    pub(crate) content: Option<Digest>,
    pub(crate) target: Option<PathBuf>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let canary = scratch.path().join("canary");
        fs::create_dir(&canary).unwrap();
        fs::write(canary.join("kept"), "untouched").unwrap();
        let store = Store::open(&scratch.path().join("root")).unwrap();
        let before = looks(&canary);
        Self { scratch, store, before }
    }

    /// A directory outside of the data root, with a file `kept`.
    pub(crate) fn canary(&self) -> PathBuf {
        self.scratch.path().join("canary")
    }

    pub(crate) fn unpack(&self, tar: &[u8]) -> Result<Layer, UnpackError> {
        self.store.layers.unpack(tar, None, None)
    }

    /// Demands that nothing outside was touched, and nothing unfinished is left inside.
    #[track_caller]
    pub(crate) fn check_outside(&self, what: &str) {
        assert_eq!(looks(&self.canary()), self.before, "{what}: the canary was touched");
        let left = fs::read_dir(self.store.root().join("ingest")).unwrap().count();
        assert_eq!(left, 0, "{what}: something was left in ingest/");
        let beside = fs::read_dir(self.scratch.path()).unwrap().count();
        assert_eq!(beside, 2, "{what}: something appeared beside the data root");
    }
}

/// Looks at a whole tree; the root is the empty path.
pub(crate) fn looks(root: &Path) -> BTreeMap<PathBuf, Looks> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let one = look(&path);
        if one.mode & 0o170_000 == 0o040_000 {
            left.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
        }
        found.insert(path.strip_prefix(root).unwrap().to_owned(), one);
    }
    found
}

pub(crate) fn look(path: &Path) -> Looks {
    let metadata = fs::symlink_metadata(path).unwrap();
    let is_directory = metadata.is_dir();
    Looks {
        mode: metadata.mode(),
        uid: metadata.uid(),
        gid: metadata.gid(),
        mtime: (metadata.mtime(), metadata.mtime_nsec()),
        size: if is_directory { 0 } else { metadata.size() },
        links: if is_directory { 0 } else { metadata.nlink() },
        device: metadata.rdev(),
        content: metadata.is_file().then(|| Digest::of(&fs::read(path).unwrap())),
        target: metadata.is_symlink().then(|| fs::read_link(path).unwrap()),
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 65_536];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length].split(|it| *it == 0).filter(|it| !it.is_empty());
    let value = |name: &[u8]| {
        let mut value = vec![0; 65_536];
        let name = std::ffi::OsStr::from_bytes(name);
        let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
        value.truncate(length);
        value
    };
    names.map(|it| (it.to_vec(), value(it))).collect()
}
