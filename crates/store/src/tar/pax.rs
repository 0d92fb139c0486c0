//! Pax records, and the other entries that change the one that follows.

use super::{
    Entry, Kind, Problem, Time,
    header::Header,
    sparse::{Extent, MAX_EXTENTS},
};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What precedes an entry and overrides its header.
#[derive(Debug, Default)]
pub(super) struct Overrides {
    pub(super) pax: Records,
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

/// The records of one pax header that matter here.
#[derive(Debug, Default)]
pub(super) struct Records {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<i64>,
    gid: Option<i64>,
    mtime: Option<Time>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: Sparse,
}

/// GNU tar's three ways to say it in pax records (GNU tar's manual, "PAX Format, Version 0.0"…).
#[derive(Debug, Default)]
struct Sparse {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    map: Option<Vec<u64>>,
    major: Option<u64>,
    minor: Option<u64>,
}

impl Overrides {
    /// The entry that follows, and the size of its data.
    pub(super) fn apply(&self, header: &Header, size: u64) -> Result<(Entry, u64), Problem> {
        let pax = &self.pax;
        let gnu_then_pax =
            |gnu: &Option<Vec<u8>>, pax: &Option<Vec<u8>>| gnu.clone().or_else(|| pax.clone());
        let link = gnu_then_pax(&self.link, &pax.link).unwrap_or_else(|| header.link());
        let path = gnu_then_pax(&self.path, &pax.path).unwrap_or_else(|| header.path());
        let path = pax.sparse.name.clone().unwrap_or(path);
        let seconds = |it| Time { seconds: it, nanoseconds: 0 };
        let entry = Entry {
            kind: header.entry_kind(&path, link)?,
            path,
            mode: header.mode()?,
            uid: id(pax.uid.map_or_else(|| header.uid(), Ok)?, "the owner")?,
            gid: id(pax.gid.map_or_else(|| header.gid(), Ok)?, "the group")?,
            mtime: pax.mtime.map_or_else(|| header.mtime().map(seconds), Ok)?,
            size: 0,
            sparse: None,
            xattrs: pax.xattrs.clone(),
        };
        if entry.path.contains(&0) || matches!(&entry.kind, Kind::Symlink(it) if it.contains(&0)) {
            return Err(Problem::Pax);
        }
        Ok((entry, pax.size.unwrap_or(size)))
    }
}

/// All bits set means "no change" to `chown(2)`, so that it cannot be an owner.
fn id(value: i64, what: &'static str) -> Result<u32, Problem> {
    u32::try_from(value).ok().filter(|it| *it != u32::MAX).ok_or(Problem::Number(what))
}

impl Records {
    /// The map of sparse formats 0.0 and 0.1.
    pub(super) fn sparse_map(&self) -> Result<Option<(Vec<Extent>, u64)>, Problem> {
        let (Some(map), Some(size)) = (&self.sparse.map, self.sparse.size) else {
            return Ok(None);
        };
        if self.sparse.major.is_some_and(|it| it != 0) {
            return Ok(None);
        }
        Ok(Some((super::sparse::pairs(map)?, size)))
    }

    /// The size of a file in sparse format 1.0, whose map comes before its data.
    pub(super) fn sparse_map_in_data(&self) -> Result<Option<u64>, Problem> {
        match (self.sparse.major, self.sparse.minor) {
            (Some(1), Some(0)) => self.sparse.size.map(Some).ok_or(Problem::Sparse),
            (Some(0) | None, _) => Ok(None),
            _ => Err(Problem::Sparse),
        }
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Problem> {
        let owned = || (!value.is_empty()).then(|| value.to_vec());
        match key {
            b"path" => self.path = owned(),
            b"linkpath" => self.link = owned(),
            b"size" => self.size = optional(value)?,
            b"uid" => self.uid = signed(value)?,
            b"gid" => self.gid = signed(value)?,
            b"mtime" => self.mtime = time(value)?,
            b"GNU.sparse.name" => self.sparse.name = owned(),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.size = optional(value)?,
            b"GNU.sparse.major" => self.sparse.major = optional(value)?,
            b"GNU.sparse.minor" => self.sparse.minor = optional(value)?,
            b"GNU.sparse.map" => self.sparse.map = Some(list(value)?),
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => self.add_to_map(unsigned(value)?)?,
            _ => self.set_xattr(key, value),
        }
        Ok(())
    }

    fn add_to_map(&mut self, number: u64) -> Result<(), Problem> {
        let map = self.sparse.map.get_or_insert_default();
        if map.len() >= MAX_EXTENTS * 2 {
            return Err(Problem::TooLong("a sparse map"));
        }
        map.push(number);
        Ok(())
    }

    fn set_xattr(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(XATTR) {
            self.xattrs.retain(|(it, _)| it != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
        }
    }
}

/// Reads a whole pax header: `LENGTH KEY=VALUE\n`, again and again.
pub(super) fn parse(mut bytes: &[u8]) -> Result<Records, Problem> {
    let mut records = Records::default();
    while !bytes.is_empty() {
        let (key, value, rest) = record(bytes).ok_or(Problem::Pax)?;
        let is_binary = key.starts_with(XATTR);
        if key.is_empty() || key.contains(&0) || (!is_binary && value.contains(&0)) {
            return Err(Problem::Pax);
        }
        records.set(key, value)?;
        bytes = rest;
    }
    Ok(records)
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(21).position(|it| *it == b' ')?;
    let length = usize::try_from(unsigned(&bytes[..space]).ok()?).ok()?;
    if length > bytes.len() || length <= space + 1 {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|it| *it == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

pub(super) fn unsigned(text: &[u8]) -> Result<u64, Problem> {
    let digits = str::from_utf8(text).ok().filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let value = digits.and_then(|it| it.parse().ok());
    // What is beyond cannot be a size or an offset.
    value.filter(|it| i64::try_from(*it).is_ok()).ok_or(Problem::Pax)
}

/// An empty value takes the record back.
fn optional(text: &[u8]) -> Result<Option<u64>, Problem> {
    if text.is_empty() { Ok(None) } else { unsigned(text).map(Some) }
}

fn signed(text: &[u8]) -> Result<Option<i64>, Problem> {
    match text.strip_prefix(b"-") {
        Some(digits) => Ok(Some(-unsigned(digits)?.cast_signed())),
        None => Ok(optional(text)?.map(u64::cast_signed)),
    }
}

fn list(text: &[u8]) -> Result<Vec<u64>, Problem> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let numbers = text.split(|it| *it == b',').take(MAX_EXTENTS * 2 + 1);
    let numbers: Vec<u64> = numbers.map(unsigned).collect::<Result<_, _>>()?;
    if numbers.len() > MAX_EXTENTS * 2 {
        return Err(Problem::TooLong("a sparse map"));
    }
    Ok(numbers)
}

/// Seconds with an optional fraction, of which nanoseconds are kept.
fn time(text: &[u8]) -> Result<Option<Time>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let (is_negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut parts = digits.splitn(2, |it| *it == b'.');
    let seconds = unsigned(parts.next().unwrap_or_default())?.cast_signed();
    let mut fraction = parts.next().unwrap_or_default().to_vec();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(Problem::Pax);
    }
    fraction.resize(9, b'0');
    let nanoseconds = u32::try_from(unsigned(&fraction)?).map_err(|_| Problem::Pax)?;
    Ok(Some(match (is_negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    }))
}
