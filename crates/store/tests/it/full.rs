//! A full disk is a clean error that gives the space back; what was there stays.

use std::io;

use serde::{Deserialize, Serialize};
use wadah_store::{ContentError, Record, Store};

use crate::{mounts::Mount, raw::Tar};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note(String);

impl Record for Note {
    const TABLE: &'static str = "notes";
    const VERSION: u32 = 1;
}

fn free(store: &Store) -> u64 {
    let disk = rustix::fs::statvfs(store.root()).unwrap();
    disk.f_bavail * disk.f_frsize
}

#[test]
fn a_layer_that_does_not_fit_gives_its_space_back() {
    let Some(mount) = Mount::new("tmpfs", &[("size", "32m")]) else { return };
    let store = Store::open(&mount.path().join("root")).unwrap();
    let kept = Tar::new().file("kept", b"kept").end();
    store.layers.unpack(&kept[..], None, None).unwrap();
    let before = free(&store);
    let large = Tar::new().file("a", &[1; 1 << 20]).file("large", &vec![1; 40 << 20]).end();
    let error = store.layers.unpack(&large[..], None, None).unwrap_err().to_string();
    assert!(error.contains("large") || error.contains("no space left"), "{error}");
    assert!(free(&store) + (1 << 20) >= before, "{} of {before} are free", free(&store));
    assert_eq!(store.layers.list().len(), 1);
    let small = Tar::new().file("small", &vec![1; 8 << 20]).end();
    store.layers.unpack(&small[..], None, None).unwrap();
}

#[test]
fn a_blob_that_does_not_fit_gives_its_space_back() {
    let Some(mount) = Mount::new("tmpfs", &[("size", "16m")]) else { return };
    let store = Store::open(&mount.path().join("root")).unwrap();
    let before = free(&store);
    let error = store.content.ingest(io::repeat(7), None, u64::MAX).unwrap_err();
    assert!(matches!(&error, ContentError::Disk(disk) if disk.is_full()), "{error:?}");
    assert!(free(&store) + (1 << 20) >= before);
}

#[test]
fn records_outlive_a_full_disk() {
    let Some(mount) = Mount::new("tmpfs", &[("size", "16m")]) else { return };
    let root = mount.path().join("root");
    let store = Store::open(&root).unwrap();
    store.database.table::<Note>().put("kept", &Note("kept".into())).unwrap();
    let filler = root.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    let full = io::copy(&mut io::repeat(1), &mut file).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let large = Note("x".repeat(4 << 20));
    let error = store.database.table::<Note>().put("large", &large).unwrap_err();
    assert!(error.is_full(), "{error:?}");
    assert_eq!(store.database.table::<Note>().get("kept").unwrap(), Some(Note("kept".into())));
    drop(file);
    std::fs::remove_file(&filler).unwrap();
    store.database.table::<Note>().put("after", &Note("after".into())).unwrap();
    drop(store);
    let store = Store::open(&root).unwrap();
    assert!(store.damage().is_empty(), "{:?}", store.damage());
    let keys = store.database.table::<Note>().iter().unwrap().good.into_iter().map(|it| it.0);
    assert_eq!(keys.collect::<Vec<_>>(), ["after", "kept"]);
}
