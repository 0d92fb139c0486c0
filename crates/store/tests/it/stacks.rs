//! Layers on each other, seen through overlayfs.

use std::{fs, path::Path};

use wadah_oci::ChainId;
use wadah_store::{LayerError, Store};

use crate::{
    mounts::Mount,
    raw::{Header, Tar},
    scene::{Scene, look},
};

/// Unpacks the layers on each other; returns the whole stack.
fn stack(store: &Store, layers: &[Vec<u8>]) -> ChainId {
    let mut top: Option<ChainId> = None;
    for tar in layers {
        top = Some(store.layers.unpack(&tar[..], top.as_ref(), None).unwrap().chain_id);
    }
    top.unwrap()
}

/// Shows the stack as a container would see it.
fn merged(store: &Store, top: &ChainId) -> Option<Mount> {
    let lower = store.layers.lower(top).unwrap();
    let lower: Vec<String> = lower.iter().map(|it| it.display().to_string()).collect();
    let options: Vec<(&str, &str)> = lower.iter().map(|it| ("lowerdir+", it.as_str())).collect();
    Mount::new("overlay", &options)
}

fn read(root: &Path, name: &str) -> Option<Vec<u8>> {
    fs::read(root.join(name)).ok()
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_is_below() {
    let scene = Scene::new();
    let below = Tar::new().file("a", b"1").file("d/x", b"1").file("e/x", b"1").file("f/x", b"1");
    let above = Tar::new().file(".wh.a", b"").file("d/.wh..wh..opq", b"").file("d/y", b"2");
    let above = above.file(".wh.e", b"").file("f/.wh.x", b"").file("f/y", b"2");
    let top = stack(&scene.store, &[below.end(), above.end()]);
    let Some(mount) = merged(&scene.store, &top) else { return };
    let root = mount.path();
    for hidden in ["a", "d/x", "e", "e/x", "f/x"] {
        assert!(!root.join(hidden).exists(), "{hidden} is seen");
    }
    for seen in ["d/y", "f/y"] {
        assert_eq!(read(&root, seen).unwrap(), b"2");
    }
}

#[test]
fn an_opaque_root_hides_everything_below() {
    let scene = Scene::new();
    let below = Tar::new().file("a", b"1").end();
    let above = Tar::new().file(".wh..wh..opq", b"").file("b", b"2").end();
    let top = stack(&scene.store, &[below, above, Tar::new().file("c", b"3").end()]);
    assert_eq!(scene.store.layers.lower(&top).unwrap().len(), 2);
    let Some(mount) = merged(&scene.store, &top) else { return };
    assert!(!mount.path().join("a").exists());
    assert_eq!(read(&mount.path(), "b").unwrap(), b"2");
}

#[test]
fn directories_without_an_entry_look_as_they_do_below() {
    let scene = Scene::new();
    let etc = Header::new("etc", b'5').mode(0o2751).number(108, 8, 12).number(116, 8, 34);
    let root = Header::new("./", b'5').mode(0o711);
    let below = Tar::new().header(root).header(etc).directory("var").end();
    let above = Tar::new().file("etc/a/b/motd", b"hi").file("var", b"now a file").end();
    let other = Tar::new().file("var/x", b"").end();
    let top = stack(&scene.store, &[below, above, other]);
    let lower = scene.store.layers.lower(&top).unwrap();
    let (other, above, below) = (&lower[0], &lower[1], &lower[2]);
    assert_eq!(look(&above.join("etc")), look(&below.join("etc")));
    assert_eq!(look(above).mode, 0o040_711);
    assert_eq!(look(&above.join("etc/a")).mode, 0o040_755);
    assert_eq!(look(&other.join("var")).mode, 0o040_755);
    for layer in lower {
        for path in ["", "etc", "etc/a", "var"] {
            let path = layer.join(path);
            if path.exists() {
                assert_eq!(look(&path).xattrs.len(), 0, "{}", path.display());
            }
        }
    }
}

#[test]
fn a_stack_of_120_layers_is_seen_whole() {
    let scene = Scene::new();
    let layer = |it: usize| {
        Tar::new().file(format!("f{it}"), b"x").file("last", it.to_string().as_bytes()).end()
    };
    let top = stack(&scene.store, &(0..120).map(layer).collect::<Vec<_>>());
    let Some(mount) = merged(&scene.store, &top) else { return };
    assert_eq!(fs::read_dir(mount.path()).unwrap().count(), 121);
    assert_eq!(read(&mount.path(), "last").unwrap(), b"119");
}

#[test]
fn a_layer_below_another_stays() {
    let scene = Scene::new();
    let first = scene.unpack(&Tar::new().file("a", b"1").end()).unwrap().chain_id;
    let second = Tar::new().file("b", b"2").end();
    let second = scene.store.layers.unpack(&second[..], Some(&first), None).unwrap().chain_id;
    let error = scene.store.layers.remove(&first).unwrap_err();
    assert!(matches!(error, LayerError::InUse { above, .. } if above == second));
    scene.store.layers.remove(&second).unwrap();
    scene.store.layers.remove(&first).unwrap();
    scene.store.layers.remove(&first).unwrap();
    assert!(scene.store.layers.list().is_empty());
    assert!(matches!(scene.store.layers.lower(&first), Err(LayerError::Missing { .. })));
}

#[test]
fn layers_are_known_after_reopening() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = Tar::new().file("a", b"12345").end();
    let store = Store::open(scratch.path()).unwrap();
    let layer = store.layers.unpack(&tar[..], None, None).unwrap();
    let again = store.layers.unpack(&tar[..], None, Some(&layer.diff_id)).unwrap();
    assert_eq!((layer.size, &again), (5, &layer));
    drop(store);
    let store = Store::open(scratch.path()).unwrap();
    assert_eq!(store.layers.get(&layer.chain_id), Some(layer));
    assert!(store.damage().is_empty());
}

#[test]
fn a_damaged_description_costs_its_layer_only() {
    let scratch = tempfile::tempdir().unwrap();
    let unpack = |store: &Store, name: &str| {
        store.layers.unpack(&Tar::new().file(name, b"").end()[..], None, None).unwrap()
    };
    let store = Store::open(scratch.path()).unwrap();
    let (lost, kept) = (unpack(&store, "a"), unpack(&store, "b"));
    let description = store.layers.path(&lost.chain_id).parent().unwrap().join("layer.json");
    drop(store);
    fs::write(description, "{").unwrap();
    let store = Store::open(scratch.path()).unwrap();
    assert_eq!(store.layers.list(), [kept]);
    assert_eq!(store.damage().len(), 1);
    unpack(&store, "a");
}
