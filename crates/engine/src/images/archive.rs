//! An archive of images, read as a stream: each member becomes a blob as it comes.
//!
//! **Invariant:** a member's name is a key of a table and nothing else. Links between members are
//! followed in that table.
//! **Invariant:** memory does not grow with the archive, only with the number of its members,
//! which is bounded.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
};

use wadah_oci::Digest;
use wadah_store::{
    Content, Spooled, decompressed,
    tar::{Entry, Kind, Reader, TarError},
};

use super::{ImageError, manifest::DocumentError};

const MAX_MEMBERS: usize = 20_000;
const MAX_LINKS: usize = 8;
/// No blob is longer than this; it is what an object store can hold.
const MAX_BLOB: u64 = 5 << 40;
const BUFFER: usize = 256 << 10;

/// An archive that was read to its end.
pub(super) struct Archive {
    members: BTreeMap<String, Member>,
    blobs: BTreeMap<Digest, Spooled>,
}

enum Member {
    Blob(Digest),
    Link(String),
}

impl Archive {
    /// Reads the archive, which may be compressed, into blobs that are not settled yet.
    pub(super) fn spool(content: &Content, reader: impl Read + Send) -> Result<Self, ImageError> {
        let source = |source| ImageError::Archive { source: TarError::Source { source } };
        let (_, stream) = decompressed(reader).map_err(source)?;
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, stream));
        let mut archive = Self { members: BTreeMap::new(), blobs: BTreeMap::new() };
        while let Some(entry) = reader.advance().map_err(|source| ImageError::Archive { source })? {
            archive.add(content, &entry, &mut reader)?;
        }
        Ok(archive)
    }

    fn add<R: std::io::BufRead>(
        &mut self,
        content: &Content,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), ImageError> {
        let name = normalised("", &String::from_utf8_lossy(&entry.path));
        let target = |it: &[u8]| String::from_utf8_lossy(it).into_owned();
        let member = match &entry.kind {
            Kind::File => {
                let expected = expected_digest(&name);
                let spooled = content.spool(&mut reader.data(), expected.as_ref(), MAX_BLOB)?;
                let digest = spooled.digest;
                self.blobs.entry(digest).or_insert(spooled);
                Member::Blob(digest)
            }
            Kind::HardLink(to) => Member::Link(normalised("", &target(to))),
            Kind::Symlink(to) => Member::Link(normalised(parent(&name), &target(to))),
            _ => return Ok(()),
        };
        self.members.insert(name, member);
        if self.members.len() > MAX_MEMBERS {
            return Err(ImageError::TooManyMembers { limit: MAX_MEMBERS });
        }
        Ok(())
    }

    /// The blob that a member is, through links.
    pub(super) fn member(&self, name: &str) -> Option<&Spooled> {
        let mut name = normalised("", name);
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::Blob(digest) => return self.blobs.get(digest),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// The blob with this digest.
    pub(super) fn blob(&self, digest: &Digest) -> Option<&Spooled> {
        self.blobs.get(digest)
    }

    /// Takes a blob out, to be settled.
    pub(super) fn take(&mut self, digest: &Digest) -> Option<Spooled> {
        self.blobs.remove(digest)
    }

    /// Reads a whole document.
    pub(super) fn read(spooled: &Spooled, name: &str, limit: u64) -> Result<Vec<u8>, ImageError> {
        if spooled.size > limit {
            return Err(wadah_store::ContentError::TooLong { limit }.into());
        }
        let mut bytes = Vec::new();
        let read = spooled.reopen()?.take(limit).read_to_end(&mut bytes);
        let invalid = |source| DocumentError::Json { source: serde_json::Error::io(source) };
        read.map_err(|it| ImageError::Document { name: name.into(), source: invalid(it) })?;
        Ok(bytes)
    }
}

/// What the digest of a member must be, if its name is that of a blob.
fn expected_digest(name: &str) -> Option<Digest> {
    format!("sha256:{}", name.strip_prefix("blobs/sha256/")?).parse().ok()
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// The name with `.` and `..` taken away; it cannot lead out of the table.
fn normalised(from: &str, name: &str) -> String {
    let from = if name.starts_with('/') { "" } else { from };
    let mut components: Vec<&str> = Vec::new();
    for component in from.split('/').chain(name.split('/')) {
        match component {
            "" | "." => {}
            ".." => {
                components.pop();
            }
            other => components.push(other),
        }
    }
    components.join("/")
}
