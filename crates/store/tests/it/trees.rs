//! Real trees, archived by GNU tar in each of its formats, come out as they went in.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
    process::{Command, Stdio},
};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev};

use crate::{
    raw::Tar,
    scene::{Scene, looks},
};

/// Makes a tree with everything in it that a file system can have.
fn fill(root: &Path) {
    let path = |name: &str| root.join(name);
    for directory in ["bin", "etc", "deep/er/and/deeper", "empty", "sticky"] {
        fs::create_dir_all(path(directory)).unwrap();
    }
    if let Ok(busybox) = fs::read("/usr/bin/busybox") {
        fs::write(path("bin/busybox"), busybox).unwrap();
    }
    fs::write(path("bin/tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(path("bin/tool"), Permissions::from_mode(0o4755)).unwrap();
    for link in ["bin/sh", "etc/shell"] {
        fs::hard_link(path("bin/tool"), path(link)).unwrap();
    }
    symlink("/bin/tool", path("etc/absolute")).unwrap();
    symlink(format!("../{}", "x/".repeat(80)), path("etc/long-target")).unwrap();
    let long = format!("deep/er/and/deeper/{}", "n".repeat(255));
    fs::write(path(&long), "long").unwrap();
    fs::write(path("etc/ümlaut\nnewline"), "odd").unwrap();
    chown(path("etc/ümlaut\nnewline"), Some(3_000_000), Some(54_321)).unwrap();
    fs::set_permissions(path("sticky"), Permissions::from_mode(0o1777)).unwrap();
    let sparse = File::create(path("sparse")).unwrap();
    sparse.set_len(8 << 20).unwrap();
    for at in [0, 1 << 20, 5 << 20] {
        sparse.write_all_at(b"island", at).unwrap();
    }
    let node = |name: &str, kind, device| {
        rustix::fs::mknodat(CWD, path(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    node("null", FileType::CharacterDevice, makedev(1, 3));
    node("disk", FileType::BlockDevice, makedev(8, 17));
    node("pipe", FileType::Fifo, 0);
}

fn set_attributes(root: &Path) {
    let set = |name: &str, attribute: &str, value: &[u8]| {
        let path = root.join(name);
        rustix::fs::lsetxattr(path, attribute, value, XattrFlags::empty()).unwrap();
    };
    // cap_net_raw, permitted and effective (capabilities(7), revision 2).
    let capability = [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    set("bin/tool", "security.capability", &capability);
    set("etc", "user.note", b"binary\0\n=value");
}

fn archive(root: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["--create", "--numeric-owner", "--sparse", "--directory"])
        .arg(root)
        .args(arguments)
        .arg(".")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[track_caller]
fn check(arguments: &[&str], has_attributes: bool, has_nanoseconds: bool) {
    let scratch = tempfile::tempdir().unwrap();
    fill(scratch.path());
    if has_attributes {
        set_attributes(scratch.path());
    }
    let scene = Scene::new();
    let layer = scene.unpack(&archive(scratch.path(), arguments)).unwrap();
    let (mut before, mut after) =
        (looks(scratch.path()), looks(&scene.store.layers.path(&layer.chain_id)));
    if !has_nanoseconds {
        before.values_mut().chain(after.values_mut()).for_each(|it| it.mtime.1 = 0);
    }
    for (path, expected) in &before {
        assert_eq!(after.get(path), Some(expected), "{}", path.display());
    }
    assert_eq!(before.len(), after.len());
    scene.check_outside("a real tree");
}

#[test]
fn a_tree_in_gnu_format_comes_out_as_it_went_in() {
    check(&["--format=gnu"], false, false);
}

#[test]
fn a_tree_in_pax_format_comes_out_as_it_went_in() {
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        check(&["--format=pax", "--xattrs", "--xattrs-include=*", &version], true, true);
    }
}

#[test]
fn a_compressed_tree_comes_out_as_it_went_in() {
    check(&["--format=gnu", "--gzip"], false, false);
}

#[test]
fn many_small_files_take_little_memory() {
    let mut tar = Tar::new();
    for directory in 0..100 {
        tar = tar.directory(format!("d{directory}"));
        for file in 0..200 {
            tar = tar.file(format!("d{directory}/f{file}"), b"x");
        }
    }
    let scene = Scene::new();
    let layer = scene.unpack(&tar.end()).unwrap();
    assert_eq!(layer.size, 20_000);
    let found = looks(&scene.store.layers.path(&layer.chain_id));
    assert_eq!(found.len(), 20_101);
    assert_eq!(found[Path::new("d7")].mtime, (1_000_000, 0));
}
