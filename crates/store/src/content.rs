//! Content: blobs named by the digest of their bytes, laid out as in an OCI image layout.
//!
//! A blob is written under `ingest/` while it is hashed ([`Ingest`]), checked against what it
//! should be ([`Spooled`]), then flushed and renamed to `blobs/sha256/<hex>`.
//!
//! **Invariant:** what lies in `blobs/` was whole, verified and flushed when it was put there. It
//! is never written again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    os::{fd::AsFd as _, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use wadah_oci::{Digest, Hasher};
use wadah_sys::writeback::start_writeback;

use crate::disk::{DiskError, make_directory, sync_directory};

const COPY_BUFFER: usize = 256 << 10;
/// How much is written before the kernel is asked to begin writing it to the disk, so that the
/// flush at the end finds little left to do.
const WRITEBACK_STEP: u64 = 8 << 20;

/// All blobs.
#[derive(Debug)]
pub struct Content {
    blobs: PathBuf,
    ingest: PathBuf,
    sequence: Arc<AtomicU64>,
}

/// A blob being written. Dropping it removes what was written.
#[must_use = "an unfinished blob is removed"]
pub struct Ingest {
    file: File,
    path: TemporaryPath,
    hasher: Hasher,
    length: u64,
    limit: u64,
}

/// A blob that is whole and verified, but not yet in its place. Dropping it removes it.
#[derive(Debug)]
#[must_use = "a spooled blob is removed unless it is settled"]
pub struct Spooled {
    /// The digest of its bytes.
    pub digest: Digest,
    /// The number of its bytes.
    pub size: u64,
    file: TemporaryPath,
}

/// Why a blob was not kept, or not given.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The bytes are not those asked for.
    #[error("content has digest {found}, not {expected}")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// There are more bytes than allowed.
    #[error("content is longer than {limit} bytes")]
    TooLong {
        /// How many are allowed.
        limit: u64,
    },
    /// There is no such blob.
    #[error("no content {digest}")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// Where the bytes come from failed.
    #[error("cannot read the content")]
    Source {
        /// Why.
        source: io::Error,
    },
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A file that is removed when this is dropped, unless it was renamed away.
#[derive(Debug)]
struct TemporaryPath {
    path: PathBuf,
    kept: bool,
}

impl Content {
    pub(crate) fn open(root: &Path, ingest: PathBuf) -> Result<Self, DiskError> {
        let blobs = root.join("blobs");
        make_directory(&blobs, 0o700)?;
        let blobs = blobs.join("sha256");
        make_directory(&blobs, 0o700)?;
        Ok(Self { blobs, ingest, sequence: Arc::default() })
    }

    /// Begins a blob of at most `limit` bytes.
    pub fn begin(&self, limit: u64) -> Result<Ingest, ContentError> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed);
        let path = self.ingest.join(format!("blob-{number}"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(DiskError::new("create", &path))?;
        let path = TemporaryPath { path, kept: false };
        Ok(Ingest { file, path, hasher: Hasher::default(), length: 0, limit })
    }

    /// Keeps everything that `reader` gives, up to `limit` bytes, as a blob. It must have the
    /// digest expected, if one is.
    pub fn ingest(
        &self,
        mut reader: impl Read,
        expected: Option<&Digest>,
        limit: u64,
    ) -> Result<(Digest, u64), ContentError> {
        let spooled = self.spool(&mut reader, expected, limit)?;
        let (digest, size) = (spooled.digest, spooled.size);
        self.settle(vec![spooled])?;
        Ok((digest, size))
    }

    /// Reads a blob like [`Content::ingest`], but leaves it to be settled with others.
    pub fn spool(
        &self,
        reader: &mut dyn Read,
        expected: Option<&Digest>,
        limit: u64,
    ) -> Result<Spooled, ContentError> {
        let mut ingest = self.begin(limit)?;
        let mut buffer = vec![0; COPY_BUFFER];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return ingest.finish(expected),
                Ok(length) => ingest.append(&buffer[..length])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ContentError::Source { source }),
            }
        }
    }

    /// Flushes blobs and puts them in their places; when this returns they survive a power cut.
    pub fn settle(&self, mut blobs: Vec<Spooled>) -> Result<(), ContentError> {
        flush_all(&blobs)?;
        for blob in &mut blobs {
            let place = self.path(&blob.digest);
            fs::rename(&blob.file.path, &place).map_err(DiskError::new("put in place", &place))?;
            blob.file.kept = true;
        }
        Ok(sync_directory(&self.blobs)?)
    }

    /// Opens a blob for reading.
    pub fn get(&self, digest: &Digest) -> Result<File, ContentError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ContentError::Missing { digest: *digest })
            }
            Err(error) => Err(DiskError::new("open", &path)(error).into()),
        }
    }

    /// Reads a whole blob of at most `limit` bytes and verifies it.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut bytes = Vec::new();
        let path = self.path(digest);
        let read = self.get(digest)?.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        let length = read.map_err(DiskError::new("read", &path))?;
        if length as u64 > limit {
            return Err(ContentError::TooLong { limit });
        }
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(ContentError::Mismatch { expected: *digest, found });
        }
        Ok(bytes)
    }

    /// The number of bytes of a blob, if it is there.
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|it| it.len())
    }

    /// Whether the blob is there.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.size(digest).is_some()
    }

    /// Removes a blob. One that is not there is fine.
    pub fn remove(&self, digest: &Digest) -> Result<(), ContentError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(DiskError::new("remove", &path)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// All blobs with their sizes.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>, ContentError> {
        let error = || DiskError::new("read", &self.blobs);
        let mut blobs = Vec::new();
        for entry in fs::read_dir(&self.blobs).map_err(error())? {
            let entry = entry.map_err(error())?;
            let digest = entry.file_name().to_str().map(|it| format!("sha256:{it}").parse());
            if let (Some(Ok(digest)), Ok(metadata)) = (digest, entry.metadata()) {
                blobs.push((digest, metadata.len()));
            }
        }
        Ok(blobs)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }
}

/// Flushes the files, several at a time: the disk orders the writes better than we could.
fn flush_all(blobs: &[Spooled]) -> Result<(), ContentError> {
    const THREADS: usize = 4;
    let flush = |blobs: &[Spooled]| -> Result<(), ContentError> {
        for blob in blobs {
            let path = &blob.file.path;
            let flushed = File::open(path).and_then(|it| it.sync_all());
            flushed.map_err(DiskError::new("flush", path))?;
        }
        Ok(())
    };
    if blobs.len() < 2 {
        return flush(blobs);
    }
    thread::scope(|scope| {
        let share = blobs.len().div_ceil(THREADS);
        let threads: Vec<_> =
            blobs.chunks(share).map(|it| scope.spawn(move || flush(it))).collect();
        let join = |it: thread::ScopedJoinHandle<'_, Result<(), ContentError>>| {
            it.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().try_for_each(join)
    })
}

impl Ingest {
    /// Adds bytes to the blob.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        let before = self.length;
        self.length += bytes.len() as u64;
        if self.length > self.limit {
            return Err(ContentError::TooLong { limit: self.limit });
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(DiskError::new("write", &self.path.path))?;
        if before / WRITEBACK_STEP != self.length / WRITEBACK_STEP {
            let from = before - before % WRITEBACK_STEP;
            // Only a hint: the flush at the end is what counts.
            start_writeback(self.file.as_fd(), from, self.length - from).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends the blob, and checks that it is the one expected, if one is.
    pub fn finish(self, expected: Option<&Digest>) -> Result<Spooled, ContentError> {
        let found = self.hasher.finish();
        match expected {
            Some(expected) if *expected != found => {
                Err(ContentError::Mismatch { expected: *expected, found })
            }
            _ => Ok(Spooled { digest: found, size: self.length, file: self.path }),
        }
    }
}

impl Spooled {
    /// Where the bytes are until the blob is settled.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Opens the bytes for reading, from their beginning.
    pub fn reopen(&self) -> Result<File, ContentError> {
        Ok(File::open(&self.file.path).map_err(DiskError::new("open", &self.file.path))?)
    }
}

impl Drop for TemporaryPath {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be removed now is swept at the next start.
            fs::remove_file(&self.path).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(root: &Path) -> Content {
        let ingest = root.join("ingest");
        make_directory(&ingest, 0o700).unwrap();
        Content::open(root, ingest).unwrap()
    }

    fn leftovers(root: &Path) -> usize {
        fs::read_dir(root.join("ingest")).unwrap().count()
    }

    #[test]
    fn a_blob_comes_back_by_its_digest() {
        let scratch = tempfile::tempdir().unwrap();
        let content = content(scratch.path());
        let digest = Digest::of(b"some bytes");
        assert!(matches!(content.get(&digest), Err(ContentError::Missing { .. })));
        let kept = content.ingest(&b"some bytes"[..], Some(&digest), 10).unwrap();
        assert_eq!(kept, (digest, 10));
        assert_eq!(content.read(&digest, 10).unwrap(), b"some bytes");
        assert_eq!(content.list().unwrap(), [(digest, 10)]);
        content.ingest(&b"some bytes"[..], None, 10).unwrap();
        content.remove(&digest).unwrap();
        content.remove(&digest).unwrap();
        assert!(!content.contains(&digest));
        assert_eq!(leftovers(scratch.path()), 0);
    }

    #[test]
    fn bytes_that_are_not_those_expected_leave_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let content = content(scratch.path());
        let expected = Digest::of(b"right");
        let error = content.ingest(&b"wrong"[..], Some(&expected), 10).unwrap_err();
        let found = Digest::of(b"wrong");
        assert_eq!(error.to_string(), format!("content has digest {found}, not {expected}"));
        let error = content.ingest(io::repeat(0), None, 1 << 20).unwrap_err();
        assert_eq!(error.to_string(), "content is longer than 1048576 bytes");
        assert_eq!(content.list().unwrap(), []);
        assert_eq!(leftovers(scratch.path()), 0);
    }

    #[test]
    fn a_blob_that_rotted_is_not_given_out() {
        let scratch = tempfile::tempdir().unwrap();
        let content = content(scratch.path());
        let (digest, _) = content.ingest(&b"some bytes"[..], None, 10).unwrap();
        fs::write(content.path(&digest), b"some bites").unwrap();
        assert!(matches!(content.read(&digest, 10), Err(ContentError::Mismatch { .. })));
    }

    #[test]
    fn several_blobs_settle_together() {
        let scratch = tempfile::tempdir().unwrap();
        let content = content(scratch.path());
        let spool = |it: u8| content.spool(&mut &[it; 9][..], None, 9).unwrap();
        content.settle((0..9).map(spool).collect()).unwrap();
        assert_eq!(content.list().unwrap().len(), 9);
        assert_eq!(leftovers(scratch.path()), 0);
    }
}
