//! Layers that try to get out, to lie, or to take everything: each ends in a clean error or in a
//! harmless tree, and nothing outside is touched.

use std::{
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};

use crate::{
    raw::{Header, Tar},
    scene::{Scene, look, looks},
};

/// What has to come of a layer.
enum Expected {
    /// An error that says this.
    Refused(&'static str),
    /// A tree that this holds of.
    Tree(fn(&Path)),
}
use Expected::{Refused, Tree};

#[track_caller]
fn check(what: &str, make: impl Fn(&Path) -> Vec<u8>, expected: Expected) {
    let scene = Scene::new();
    let tar = make(&scene.canary());
    match (scene.unpack(&tar), expected) {
        (Ok(layer), Tree(holds)) => holds(&scene.store.layers.path(&layer.chain_id)),
        (Err(error), Refused(words)) => {
            let text = report(&error);
            assert!(text.contains(words), "{what}: {text:?} does not say {words:?}");
            assert!(scene.store.layers.list().is_empty());
        }
        (Ok(_), Refused(words)) => panic!("{what}: unpacked, but should be refused: {words}"),
        (Err(error), Tree(_)) => panic!("{what}: {}", report(&error)),
    }
    scene.check_outside(what);
}

fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[track_caller]
fn check_tar(what: &str, tar: Tar, expected: Expected) {
    check(what, |_| tar.clone().end(), expected);
}

fn inside(canary: &Path) -> Vec<u8> {
    canary.as_os_str().as_bytes().to_vec()
}

#[test]
fn names_do_not_lead_out() {
    check_tar("..", Tar::new().file("../../canary/x", b"x"), Refused("component \"..\""));
    check_tar("inner ..", Tar::new().file("a/../b", b"x"), Refused("component \"..\""));
    check_tar("a directory ..", Tar::new().directory(".."), Refused("component \"..\""));
    check(
        "an absolute name",
        |canary| Tar::new().file([&inside(canary)[..], b"/kept"].concat(), b"lost").end(),
        Tree(|fs| assert!(fs.join("tmp").is_dir() || fs.read_dir().unwrap().count() == 1)),
    );
    check_tar(
        "control characters",
        Tar::new().file("a\nb\x1b[2J", b"x"),
        Tree(|fs| {
            assert!(fs.join("a\nb\x1b[2J").is_file());
        }),
    );
    check_tar(
        "bytes that are no UTF-8",
        Tar::new().file(b"\xff\xfe", b"x"),
        Tree(|fs| {
            assert_eq!(fs::read_dir(fs).unwrap().count(), 1);
        }),
    );
    let zero = Tar::new().pax(&[("path", b"a\0b")]).file("c", b"x");
    check_tar("a zero byte", zero, Refused("pax record"));
    let long = Tar::new().entry(Header::new("././@LongLink", b'L'), &[b'a'; 5000]).file("c", b"");
    check_tar("a long component", long, Refused("more than 255 bytes"));
    let deep = Tar::new().pax(&[("path", &b"d/".repeat(10_000))]).file("c", b"");
    check_tar("a path 10,000 deep", deep, Refused("longer than 4095 bytes"));
}

#[test]
fn links_do_not_lead_out() {
    let through = |target: &[u8]| Tar::new().symlink("l", target).file("l/x", b"x").end();
    check("an absolute link", |it| through(&inside(it)), Refused("not a directory"));
    check("a relative link", |_| through(b"../../../../canary"), Refused("not a directory"));
    check(
        "a link to the host's root",
        |_| through(b"/"),
        Tree(|fs| {
            assert_eq!(fs::read(fs.join("x")).unwrap(), b"x");
        }),
    );
    check(
        "a chain of links",
        |canary| {
            let links = Tar::new().symlink("a", "b").symlink("b", "c").symlink("c", inside(canary));
            links.file("a/x", b"x").end()
        },
        Refused("not a directory"),
    );
    let circle = Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", b"x");
    check_tar("a circle of links", circle, Refused("too many symbolic links"));
    check(
        "a link, then a file of its name",
        |canary| {
            let kept = [&inside(canary)[..], b"/kept"].concat();
            Tar::new().symlink("l", kept).file("l", b"mine").end()
        },
        Tree(|fs| assert!(look(&fs.join("l")).content.is_some())),
    );
    check(
        "a link, then a directory of its name",
        |canary| {
            let directory = Header::new("l/", b'5').mode(0o777);
            Tar::new().symlink("l", inside(canary)).header(directory).file("l/x", b"x").end()
        },
        Tree(|fs| assert!(fs.join("l/x").is_file() && !fs.join("l").is_symlink())),
    );
    check(
        "a directory that becomes a link",
        |canary| {
            let tar = Tar::new().directory("d").file("d/x", b"x").symlink("d", inside(canary));
            tar.file("d/y", b"y").end()
        },
        Refused("not a directory"),
    );
    check_tar("an empty target", Tar::new().symlink("l", ""), Refused("empty or too long"));
    let long = Tar::new().pax(&[("linkpath", &[b'a'; 5000])]).symlink("l", "x");
    check_tar("a long target", long, Refused("empty or too long"));
}

#[test]
fn hard_links_stay_inside() {
    check(
        "an absolute target",
        |canary| Tar::new().hard_link("h", [&inside(canary)[..], b"/kept"].concat()).end(),
        Refused("hard link to something that the layer does not have"),
    );
    let parent = Tar::new().hard_link("h", "../../canary/kept");
    check_tar("a target with ..", parent, Refused("component \"..\""));
    check(
        "a target behind a link",
        |canary| Tar::new().symlink("l", inside(canary)).hard_link("h", "l/kept").end(),
        Refused("hard link to something"),
    );
    check(
        "a hard link to a link, then a file of its name",
        |canary| {
            let kept = [&inside(canary)[..], b"/kept"].concat();
            Tar::new().symlink("l", kept).hard_link("h", "l").file("h", b"mine").end()
        },
        Tree(|fs| {
            assert!(fs.join("l").is_symlink());
            assert_eq!(fs::read(fs.join("h")).unwrap(), b"mine");
        }),
    );
    let directory = Tar::new().directory("d").hard_link("h", "d");
    check_tar("a directory", directory, Refused("hard link to something"));
    let itself = Tar::new().file("a", b"x").hard_link("a", "./a");
    check_tar("itself", itself, Tree(|fs| assert_eq!(fs::read(fs.join("a")).unwrap(), b"x")));
    let nothing = Tar::new().hard_link("a", "nothing");
    check_tar("nothing", nothing, Refused("hard link to something"));
    let beneath = Tar::new().file("d/x", b"x").hard_link("d", "d/x");
    check_tar("what it replaces", beneath, Refused("hard link to something"));
    let root = Tar::new().hard_link("a", "/");
    check_tar("the root", root, Refused("hard link to something"));
}

#[test]
fn whiteouts_hide_only_what_is_theirs() {
    for name in [".wh.", "a/.wh.", ".wh..", ".wh...", "a/.wh..."] {
        check_tar(name, Tar::new().file(name, b""), Refused("whiteout of no name"));
    }
    let parent = Tar::new().file("../.wh.canary", b"");
    check_tar("a whiteout with ..", parent, Refused("component \"..\""));
    for name in ["l/.wh.kept", "l/.wh..wh..opq"] {
        check(
            name,
            |canary| Tar::new().symlink("l", inside(canary)).file(name, b"").end(),
            Refused("not a directory"),
        );
    }
    let own = Tar::new().file("d/x", b"x").file(".wh.d", b"").file("f", b"f").file(".wh.f", b"");
    check_tar(
        "a whiteout of what the layer has",
        own,
        Tree(|fs| {
            assert_eq!(look(&fs.join("d")).xattrs[&b"trusted.overlay.opaque"[..]], b"y");
            assert!(fs.join("d/x").is_file() && fs.join("f").is_file());
        }),
    );
    let again = Tar::new().file(".wh.d", b"").file("d/x", b"x");
    check_tar(
        "something in what was hidden",
        again,
        Tree(|fs| {
            assert_eq!(look(&fs.join("d")).xattrs[&b"trusted.overlay.opaque"[..]], b"y");
        }),
    );
    let aufs = Tar::new().file(".wh..wh.plnk/1.2", b"").directory(".wh..wh.orph");
    check_tar(
        "bookkeeping of aufs",
        aufs,
        Tree(|fs| {
            assert!(!fs.join(".wh..wh.orph").exists());
        }),
    );
}

#[test]
fn attributes_do_not_speak_to_the_host() {
    let names = [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.wadah.implied",
        "user.overlay.opaque",
        "security.selinux",
        "security.ima",
        "user.kept",
    ];
    let keys: Vec<String> = names.iter().map(|it| format!("SCHILY.xattr.{it}")).collect();
    let records: Vec<(&str, &[u8])> = keys.iter().map(|it| (it.as_str(), &b"y"[..])).collect();
    let tar = Tar::new().pax(&records).directory("d").pax(&records).file("f", b"x");
    check_tar(
        "attributes",
        tar,
        Tree(|fs| {
            for name in ["d", "f"] {
                let xattrs = look(&fs.join(name)).xattrs;
                let names: Vec<_> = xattrs.keys().map(|it| String::from_utf8_lossy(it)).collect();
                assert_eq!(names, ["user.kept"], "{name}");
            }
        }),
    );
    let large = vec![b'x'; 2 << 20];
    let tar = Tar::new().pax(&[("SCHILY.xattr.user.large", &large)]).file("f", b"x");
    check_tar("an attribute of 2 MB", tar, Refused("a pax header is longer than"));
}

#[test]
fn devices_are_made_as_they_are_described() {
    let null = Header::new("null", b'3').device(1, 3).mode(0o666);
    let whiteout = Header::new("hidden", b'3').device(0, 0);
    let disk = Header::new("disk", b'4').device(8, 1).mode(0o600);
    let tar = Tar::new().header(null).header(whiteout).header(disk).header(Header::new("p", b'6'));
    check_tar(
        "devices",
        tar,
        Tree(|fs| {
            let null = look(&fs.join("null"));
            assert_eq!((null.mode, null.device), (0o020_666, rustix::fs::makedev(1, 3)));
            assert_eq!(look(&fs.join("hidden")).device, 0);
            assert_eq!(look(&fs.join("disk")).mode, 0o060_600);
            assert_eq!(look(&fs.join("p")).mode, 0o010_644);
        }),
    );
    let tar = Tar::new().header(Header::new("x", b'3').field(329, &[0xff; 8]));
    check_tar("a negative device", tar, Refused("the device is not a number in range"));
}

#[test]
fn headers_that_lie_about_sizes_hide_nothing() {
    let inner = Tar::new().file("hidden", b"x").cut();
    let length = inner.len().to_string();
    // The header says nothing follows; the pax header says that a whole archive does.
    let tar = Tar::new().pax(&[("size", length.as_bytes())]).header(Header::new("f", b'0'));
    let tar = tar.data(&inner).file("last", b"y");
    check_tar(
        "pax says more than the header",
        tar,
        Tree(|fs| {
            assert_eq!(fs::metadata(fs.join("f")).unwrap().len(), 1024);
            assert!(!fs.join("hidden").exists() && fs.join("last").exists());
        }),
    );
    let header = Header::new("f", b'0').size(inner.len() as u64);
    let tar = Tar::new().pax(&[("size", b"0")]).header(header).file("last", b"y");
    check_tar(
        "pax says less than the header",
        tar,
        Tree(|fs| {
            assert_eq!(fs::metadata(fs.join("f")).unwrap().len(), 0);
            assert!(fs.join("last").exists());
        }),
    );
    let header = Header::new("d", b'5').size(512);
    let tar = Tar::new().header(header).file("inner", b"x");
    check_tar("a directory with a size", tar, Tree(|fs| assert!(fs.join("inner").is_file())));
    let negative = Header::new("f", b'0').field(124, &[0xff; 12]);
    let tar = Tar::new().header(negative);
    check_tar("a negative size", tar, Refused("the size is not a number in range"));
    let huge = Header::new("f", b'0')
        .field(124, &[0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    check_tar("2⁶³−1 bytes", Tar::new().header(huge).data(b"x"), Refused("truncated"));
    let beyond = Header::new("f", b'0')
        .field(124, &[0x80, 1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
    check_tar("more than 2⁶³ bytes", Tar::new().header(beyond), Refused("not a number in range"));
    let tar = Tar::new().pax(&[("size", b"-1")]).file("f", b"x");
    check_tar("a negative pax size", tar, Refused("pax record"));
}

#[test]
fn pax_records_that_lie_are_refused() {
    for body in [
        &b"999999999999999999999 path=x\n"[..],
        b"5 path=x\n",
        b"11 path=xyz",
        b"0 \n",
        b"path=x\n",
        b"\0\0\0\0",
        b"9 =value\n",
    ] {
        let tar = Tar::new().entry(Header::new("pax", b'x'), body).file("f", b"x");
        check_tar(&String::from_utf8_lossy(body), tar, Refused("pax record"));
    }
    for (key, value) in [("uid", "-1"), ("uid", "4294967295"), ("gid", "4294967296")] {
        let tar = Tar::new().pax(&[(key, value.as_bytes())]).file("f", b"x");
        check_tar(&format!("{key} {value}"), tar, Refused("is not a number in range"));
    }
    let tar = Tar::new().header(Header::new("f", b'0').field(108, &[0x80, 0, 0, 1, 0, 0, 0, 0]));
    check_tar("an owner that would wrap to 0", tar, Refused("the owner is not a number in range"));
    let tar = Tar::new().entry(Header::new("g", b'g'), b"18 path=../canary\n").file("f", b"x");
    check_tar("a global header", tar, Tree(|fs| assert!(fs.join("f").is_file())));
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let map = |offset: u64, length: u64| {
        Header::new("f", b'S')
            .field(257, b"ustar  \0")
            .number(386, 12, offset)
            .number(398, 12, length)
    };
    let gnu = |header: Header, size: u64| header.number(483, 12, size);
    let tar = Tar::new().entry(gnu(map(1 << 20, 3), (1 << 20) + 10), b"abc");
    check_tar(
        "a sparse file",
        tar,
        Tree(|fs| {
            let file = fs::metadata(fs.join("f")).unwrap();
            assert_eq!(file.len(), (1 << 20) + 10);
            assert!(file.blocks() < 100);
            assert_eq!(fs::read(fs.join("f")).unwrap()[1 << 20..][..4], *b"abc\0");
        }),
    );
    for (what, header) in [
        ("beyond its end", gnu(map(100, 3), 50)),
        ("more than its data", gnu(map(0, 4), 50)),
        ("less than its data", gnu(map(0, 2), 50)),
    ] {
        check_tar(what, Tar::new().entry(header, b"abc"), Refused("sparse map is inconsistent"));
    }
    let overlapping = gnu(map(0, 2), 50).number(410, 12, 1).number(422, 12, 1);
    check_tar("overlapping", Tar::new().entry(overlapping, b"abc"), Refused("inconsistent"));
    let records: &[(&str, &[u8])] = &[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"s"),
        ("GNU.sparse.realsize", b"5000"),
    ];
    let mut data = b"1\n4000\n3\n".to_vec();
    data.resize(512, 0);
    data.extend(b"abc");
    let tar = Tar::new().pax(records).file("GNUSparseFile/s", &data);
    check_tar(
        "format 1.0",
        tar,
        Tree(|fs| {
            assert_eq!(fs::read(fs.join("s")).unwrap()[3999..4004], *b"\0abc\0");
            assert_eq!(fs::metadata(fs.join("s")).unwrap().len(), 5000);
        }),
    );
    let tar = Tar::new().pax(records).file("s", b"99999999999\n");
    check_tar("a map of 10¹¹ extents", tar, Refused("sparse map is"));
    let endless = b"1\n".repeat(600_000);
    let tar = Tar::new().pax(records).file("s", &[b"65000\n", &endless[..]].concat());
    check_tar("an endless map", tar, Refused("sparse map"));
    let records: &[(&str, &[u8])] =
        &[("GNU.sparse.map", b"0,1,2"), ("GNU.sparse.size", b"9"), ("GNU.sparse.name", b"s")];
    let tar = Tar::new().pax(records).file("s", b"a");
    check_tar("an odd map", tar, Refused("inconsistent"));
    let huge: &[(&str, &[u8])] = &[
        ("GNU.sparse.map", b"0,1"),
        ("GNU.sparse.size", b"9223372036854775807"),
        ("GNU.sparse.name", b"s"),
    ];
    check_tar("a sparse file of 8 EiB", Tar::new().pax(huge).file("s", b"a"), Refused("extend"));
}

#[test]
fn archives_that_end_early_are_refused() {
    let whole = Tar::new().file("a", &[b'x'; 2000]).file("b", b"y").end();
    let scene = Scene::new();
    for length in [1, 511, 513, 1000, 2047, 2561, 3000] {
        let error = scene.unpack(&whole[..length]).unwrap_err();
        assert!(report(&error).contains("truncated"), "{length}: {error}");
        scene.check_outside("a truncated archive");
    }
    scene.unpack(&whole[..512 + 2048]).unwrap();
    check("noise", |_| b"no archive".repeat(100), Refused("checksum"));
    let lone = Tar::new().file("a", b"").raw(&[0; 512]).file("b", b"").end();
    check("a lone block of zeros", |_| lone.clone(), Refused("lone block of zeros"));
    check_tar(
        "an unknown type",
        Tar::new().file("a", b"").header(Header::new("x", b'~')),
        Refused("unknown type 0x7e"),
    );
    check("nothing", |_| Vec::new(), Tree(|fs| assert_eq!(looks(fs).len(), 1)));
}

#[test]
fn the_root_is_a_directory() {
    for (what, header) in [
        ("a file", Header::new("./", b'0')),
        ("a link", Header::new(".", b'2').link("/etc")),
        ("a hard link", Header::new("/", b'1').link("a")),
        ("a device", Header::new("", b'3')),
    ] {
        check_tar(what, Tar::new().header(header), Refused("is the root"));
    }
    check_tar(
        "a directory",
        Tar::new().header(Header::new("./", b'5').mode(0o711)),
        Tree(|fs| {
            assert_eq!(look(fs).mode, 0o040_711);
        }),
    );
}

#[test]
fn later_entries_win() {
    let tar = Tar::new().file("a", b"1").directory("b").file("b/x", b"x").file("c", b"1");
    let tar = tar.file("a", b"22").file("b", b"2").directory("c").symlink("d", "a");
    let tar = tar.directory("d").file("d/x", b"x");
    check_tar(
        "entries that repeat",
        tar,
        Tree(|fs| {
            assert_eq!(fs::read(fs.join("a")).unwrap(), b"22");
            assert_eq!(fs::read(fs.join("b")).unwrap(), b"2");
            assert!(fs.join("c").is_dir() && fs.join("d/x").is_file());
        }),
    );
    let tar = Tar::new().file("f", b"x").file("f/x", b"x");
    check_tar("a file as a parent", tar, Refused("not a directory"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn wrappings_that_lie_are_refused() {
    let tar = Tar::new().file("a", b"x").end();
    check("gzip", |_| gzip(&tar), Tree(|fs| assert!(fs.join("a").is_file())));
    let members: Vec<u8> = tar.chunks(7).flat_map(gzip).collect();
    check("many members", |_| members.clone(), Tree(|fs| assert!(fs.join("a").is_file())));
    let mut broken = gzip(&tar);
    let length = broken.len();
    broken[length - 6] ^= 1;
    check("a wrong checksum", |_| broken.clone(), Refused("cannot read the archive"));
    let cut = gzip(&tar)[..length / 2].to_vec();
    check("half a stream", |_| cut.clone(), Refused("cannot read the archive"));
    check("xz", |_| b"\xfd7zXZ\0rest".to_vec(), Refused("xz compression is not supported"));
    let zstd = zstd::encode_all(&tar[..], 3).unwrap();
    check("zstd", |_| zstd.clone(), Tree(|fs| assert!(fs.join("a").is_file())));
    // A frame header that asks for a window of 2 GiB (RFC 8878, 3.1.1.1.2), and one empty block.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    check("a window of 2 GiB", |_| window.to_vec(), Refused("cannot read the archive"));
    let trailer = [&tar[..], &vec![0; 65 << 20]].concat();
    check("65 MB after the end", |_| gzip(&trailer), Refused("follow the archive's end"));
}
