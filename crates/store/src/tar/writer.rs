//! Writing tar streams: ustar, with a pax header before an entry that does not fit.

use std::io::{self, Read, Write};

use super::{Entry, Kind, Time, header::BLOCK};

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes one archive.
#[derive(Debug)]
pub struct Writer<W> {
    sink: W,
}

impl<W: Write> Writer<W> {
    /// Writes an archive into `sink`.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// Adds an entry; a regular file's data are as many bytes of `data` as its size says.
    pub fn append(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        let records = pax_records(entry);
        if !records.is_empty() {
            let size = records.len() as u64;
            self.header(b"PaxHeaders/entry", b'x', size, None)?;
            self.data(&records[..], size)?;
        }
        let (kind, _) = kind_and_link(&entry.kind);
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.header(&entry.path, kind, size, Some(entry))?;
        self.data(data, size)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&ZEROS)?;
        self.sink.write_all(&ZEROS)?;
        Ok(self.sink)
    }

    fn data(&mut self, data: impl Read, size: u64) -> io::Result<()> {
        if io::copy(&mut data.take(size), &mut self.sink)? < size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padding = size.wrapping_neg() % BLOCK as u64;
        self.sink.write_all(&ZEROS[..usize::try_from(padding).unwrap_or_default()])
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: u8,
        size: u64,
        entry: Option<&Entry>,
    ) -> io::Result<()> {
        let mut block = ZEROS;
        let (prefix, name) = split(path).unwrap_or((b"", &path[..path.len().min(100)]));
        put(&mut block[..100], name);
        put(&mut block[345..500], prefix);
        octal(&mut block[100..108], entry.map_or(0o644, |it| it.mode.into()));
        octal(&mut block[108..116], entry.map_or(0, |it| it.uid.into()));
        octal(&mut block[116..124], entry.map_or(0, |it| it.gid.into()));
        octal(&mut block[124..136], size);
        let seconds = entry.map_or(0, |it| it.mtime.seconds);
        octal(&mut block[136..148], seconds.try_into().unwrap_or_default());
        block[148..156].fill(b' ');
        block[156] = kind;
        put(&mut block[257..265], b"ustar\x0000");
        if let Some(entry) = entry {
            let (_, link) = kind_and_link(&entry.kind);
            put(&mut block[157..257], &link[..link.len().min(100)]);
            if let Kind::Character { major, minor } | Kind::Block { major, minor } = entry.kind {
                octal(&mut block[329..337], major.into());
                octal(&mut block[337..345], minor.into());
            }
        }
        let sum: u64 = block.iter().map(|it| u64::from(*it)).sum();
        octal(&mut block[148..155], sum);
        self.sink.write_all(&block)
    }
}

fn kind_and_link(kind: &Kind) -> (u8, &[u8]) {
    match kind {
        Kind::File => (b'0', b""),
        Kind::HardLink(target) => (b'1', target),
        Kind::Symlink(target) => (b'2', target),
        Kind::Character { .. } => (b'3', b""),
        Kind::Block { .. } => (b'4', b""),
        Kind::Directory => (b'5', b""),
        Kind::Fifo => (b'6', b""),
    }
}

/// Divides a path into ustar's prefix and name, if it fits them.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let fits = |at: &usize| *at <= 155 && path.len() - at - 1 <= 100 && at + 1 < path.len();
    let mut slashes = (1..path.len()).filter(|it| path[*it] == b'/');
    slashes.find(fits).map(|at| (&path[..at], &path[at + 1..]))
}

fn put(field: &mut [u8], value: &[u8]) {
    field[..value.len()].copy_from_slice(value);
}

/// Writes as many digits as fit; what does not is in the pax header.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let digits = format!("{value:0width$o}");
    field[..width].copy_from_slice(&digits.as_bytes()[digits.len() - width..]);
    field[width] = 0;
}

/// What the header cannot say.
fn pax_records(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let (_, link) = kind_and_link(&entry.kind);
    if split(&entry.path).is_none() || !entry.path.is_ascii() {
        record(&mut records, b"path", &entry.path);
    }
    if link.len() > 100 || !link.is_ascii() {
        record(&mut records, b"linkpath", link);
    }
    let number = |it: u64| it.to_string().into_bytes();
    if entry.size >= 1 << 33 {
        record(&mut records, b"size", &number(entry.size));
    }
    for (key, value) in [(b"uid", entry.uid), (b"gid", entry.gid)] {
        if value >= 1 << 21 {
            record(&mut records, key, &number(value.into()));
        }
    }
    if entry.mtime.nanoseconds != 0 || !(0..1 << 33).contains(&entry.mtime.seconds) {
        record(&mut records, b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// Adds `LENGTH KEY=VALUE\n`, whose length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    for part in [b" ", key, b"=", value, b"\n"] {
        records.extend_from_slice(part);
    }
}

fn time(time: Time) -> String {
    let Time { seconds, nanoseconds } = time;
    let (sign, seconds, nanoseconds) = match (seconds < 0, nanoseconds) {
        (true, 0) => ("-", -seconds, 0),
        (true, rest) => ("-", -(seconds + 1), 1_000_000_000 - rest),
        (false, rest) => ("", seconds, rest),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    let digits = format!("{nanoseconds:09}");
    format!("{sign}{seconds}.{}", digits.trim_end_matches('0'))
}
