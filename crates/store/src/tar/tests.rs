//! Reading back what other writers and our own have written.

use super::*;

fn entry(path: &[u8], kind: Kind) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o4755,
        uid: 0,
        gid: 12,
        mtime: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        size: 0,
        sparse: None,
        xattrs: Vec::new(),
    }
}

/// Writes the entries and demands that they are read back as they were.
#[track_caller]
fn check(entries: &[(Entry, &[u8])]) {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, *data).unwrap();
    }
    let archive = writer.finish().unwrap();
    let mut reader = Reader::new(&archive[..]);
    for (expected, data) in entries {
        let found = reader.advance().unwrap().unwrap();
        assert_eq!(&found, expected);
        let mut read = Vec::new();
        reader.data().read_to_end(&mut read).unwrap();
        assert_eq!(read, *data);
    }
    assert_eq!(reader.advance().unwrap(), None);
}

#[test]
fn what_is_written_is_read_back() {
    let file = |path: &[u8], size| Entry { size, ..entry(path, Kind::File) };
    let long = [b"d/".repeat(100), b"n".repeat(200)].concat();
    check(&[
        (entry(b"d/", Kind::Directory), b""),
        (file(b"d/f", 5), b"12345"),
        (file(&b"p/".repeat(90), 512).with_path_end(b"f"), &[7; 512]),
        (file(&long, 1), b"x"),
        (file("ümlaut\n".as_bytes(), 0), b""),
        (entry(b"l", Kind::Symlink(long.clone())), b""),
        (entry(b"h", Kind::HardLink(b"d/f".to_vec())), b""),
        (entry(b"c", Kind::Character { major: 1, minor: 3 }), b""),
        (entry(b"b", Kind::Block { major: 259, minor: 65_536 }), b""),
        (entry(b"p", Kind::Fifo), b""),
    ]);
}

impl Entry {
    fn with_path_end(mut self, end: &[u8]) -> Self {
        self.path.extend_from_slice(end);
        self
    }
}

#[test]
fn numbers_and_times_that_fit_no_header_are_read_back() {
    let mut odd = entry(b"f", Kind::File);
    (odd.uid, odd.gid) = (u32::MAX - 1, 1 << 21);
    odd.xattrs = vec![(b"user.a".to_vec(), b"\0=\n".to_vec()), (b"user.b".to_vec(), vec![])];
    for (seconds, nanoseconds) in [(-1, 500_000_000), (-2, 0), (0, 1), (1 << 34, 999_999_999)] {
        odd.mtime = Time { seconds, nanoseconds };
        check(&[(odd.clone(), b"")]);
    }
}

#[test]
fn data_that_end_early_are_an_error() {
    let short = Entry { size: 10, ..entry(b"f", Kind::File) };
    let error = Writer::new(Vec::new()).append(&short, &b"12345"[..]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
