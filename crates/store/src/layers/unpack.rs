//! Unpacking one layer's tar into a directory.
//!
//! **Invariant:** nothing outside the directory is touched, whatever the archive says: names are
//! taken apart by [`EntryPath`], walked by [`Tree`], and what is at the end of a path is never
//! followed.
//! **Invariant:** the tree is that of the archive, also where entries repeat or contradict each
//! other: the later one wins, as with `tar`.

use std::{
    ffi::OsStr,
    io::{self, BufRead, Read},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev},
    io::Errno,
};
use wadah_oci::DiffId;

use super::{
    LayerError,
    attributes::{dress, times},
    compression::decompressed,
    journal::{Journal, Record, Records},
    path::{EntryPath, PathProblem, Whiteout},
    pipeline::{CHUNKS, ChunkReader, pump},
    place::{Place, shown},
    space::Space,
    walk::{self, IMPLIED, OPAQUE, Tree, WalkError, open_child, unmark},
};
use crate::{
    disk::{DiskError, make_directory},
    tar::{Entry, Kind, Reader, TarError, Time},
};

pub(super) const JOURNAL: &str = "journal";
/// How much may follow the archive's end in its stream. Writers pad to some kilobytes.
const MAX_TRAILER: u64 = 64 << 20;

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TreeSize {
    /// The sum of the sizes of its files.
    pub bytes: u64,
    /// The number of entries.
    pub entries: u64,
    /// Whether its root hides everything below.
    pub is_opaque: bool,
}

/// Why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive, or what it is wrapped in, cannot be read.
    #[error(transparent)]
    Archive(#[from] TarError),
    /// The stream cannot be unwrapped.
    #[error("cannot decompress the layer")]
    Decompress {
        /// Why.
        source: io::Error,
    },
    /// A name in the archive is refused.
    #[error("the layer's entry {path:?} {problem}")]
    Path {
        /// The name.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// The file system refused.
    #[error("cannot {act} {path:?} of the layer")]
    Entry {
        /// What was tried, as a verb.
        act: &'static str,
        /// The name in the archive.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The layer is not the one that its image names.
    #[error("the layer has diff id {found}, not {expected}")]
    Mismatch {
        /// What the image names.
        expected: DiffId,
        /// What came.
        found: DiffId,
    },
    /// The layer would fill the disk.
    #[error("no space left for the layer: {left} {unit} are free on the disk")]
    NoSpace {
        /// How much is left.
        left: u64,
        /// Of what: bytes or files.
        unit: &'static str,
    },
    /// Too much follows the archive.
    #[error("more than {MAX_TRAILER} bytes follow the archive's end")]
    Trailer,
    /// The data root failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The layer could not be put in its place.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// Unpacks the stream into `directory/fs`, and leaves in `directory/journal` what is to be done
/// once it is known what lies below.
pub(super) fn unpack(
    directory: &Path,
    reader: impl Read + Send,
    expected: Option<&DiffId>,
) -> Result<(DiffId, TreeSize), UnpackError> {
    let (_, stream) = decompressed(reader).map_err(|source| UnpackError::Decompress { source })?;
    let (send_full, full) = mpsc::sync_channel(CHUNKS);
    let (send_empty, empty) = mpsc::sync_channel(CHUNKS);
    let (digest, size) = thread::scope(|scope| {
        let pumping = scope.spawn(move || pump(stream, &send_full, &empty));
        let size = unpack_tree(directory, ChunkReader::new(full, send_empty));
        let digest = pumping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (digest, size)
    });
    let size = size?;
    // Everything was read to its end, so there is a digest.
    let found = DiffId::new(digest.ok_or(UnpackError::Trailer)?);
    match expected {
        Some(expected) if *expected != found => {
            Err(UnpackError::Mismatch { expected: *expected, found })
        }
        _ => Ok((found, size)),
    }
}

fn unpack_tree(directory: &Path, stream: ChunkReader) -> Result<TreeSize, UnpackError> {
    let root = directory.join("fs");
    make_directory(&root, 0o755)?;
    let journal_path = directory.join(JOURNAL);
    let create = Journal::create(&journal_path);
    let opened = open_child(CWD, &root).map_err(|it| DiskError::new("open", &root)(it.into()))?;
    walk::mark(&opened, IMPLIED).map_err(|it| DiskError::new("mark", &root)(it.into()))?;
    let mut unpacker = Unpacker {
        space: Space::new(&root),
        tree: Tree::new(opened),
        journal: create.map_err(DiskError::new("create", &journal_path))?,
        journal_path,
        size: TreeSize::default(),
    };
    unpacker.journal(&Record::Implied(EntryPath::default()))?;
    let mut reader = Reader::new(stream);
    while let Some(entry) = reader.advance()? {
        unpacker.apply(&entry, &mut reader)?;
    }
    drain(reader.into_inner())?;
    unpacker.finish()
}

/// Reads what follows the archive: it belongs to the diff id.
fn drain(mut stream: ChunkReader) -> Result<(), UnpackError> {
    let mut drained = 0;
    loop {
        let length = stream.fill_buf().map_err(|source| TarError::Source { source })?.len();
        if length == 0 {
            return Ok(());
        }
        stream.consume(length);
        drained += length as u64;
        if drained > MAX_TRAILER {
            return Err(UnpackError::Trailer);
        }
    }
}

struct Unpacker {
    tree: Tree,
    journal: Journal,
    journal_path: PathBuf,
    size: TreeSize,
    space: Space,
}

impl Unpacker {
    fn apply<R: BufRead>(
        &mut self,
        entry: &Entry,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let refused = |problem| UnpackError::Path { path: shown(&entry.path), problem };
        self.size.entries += 1;
        self.space.spend(4096)?;
        let path = EntryPath::parse(&entry.path).map_err(refused)?;
        let Some((parent, name)) = path.split() else {
            return self.apply_root(entry);
        };
        let place = Place { parent, name, shown: &entry.path };
        match Whiteout::of(name).map_err(refused)? {
            Whiteout::None => self.create(entry, &path, &place, reader)?,
            Whiteout::Opaque => self.make_opaque(&place)?,
            Whiteout::Name(hidden) => self.hide(&Place { name: hidden, ..place })?,
            Whiteout::Bookkeeping => {}
        }
        for path in self.tree.take_implied() {
            self.journal(&Record::Implied(path))?;
        }
        Ok(())
    }

    fn apply_root(&mut self, entry: &Entry) -> Result<(), UnpackError> {
        let place = Place { parent: b"", name: OsStr::new(""), shown: &entry.path };
        if entry.kind != Kind::Directory {
            return Err(place.failed("make")(WalkError::Path(PathProblem::Root)));
        }
        let root = self.tree.root().try_clone_to_owned();
        let root = root.map_err(DiskError::new("open", &self.journal_path))?;
        self.dress_directory(&root, entry, &EntryPath::default(), &place)
    }

    fn create<R: BufRead>(
        &mut self,
        entry: &Entry,
        path: &EntryPath,
        place: &Place<'_>,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        match &entry.kind {
            Kind::File => self.create_file(entry, place, reader),
            Kind::Directory => self.create_directory(entry, path, place),
            Kind::Symlink(target) => self.create_symlink(entry, target, place),
            Kind::HardLink(target) => self.create_hard_link(target, place),
            Kind::Character { major, minor } => {
                self.create_node(entry, FileType::CharacterDevice, (*major, *minor), place)
            }
            Kind::Block { major, minor } => {
                self.create_node(entry, FileType::BlockDevice, (*major, *minor), place)
            }
            Kind::Fifo => self.create_node(entry, FileType::Fifo, (0, 0), place),
        }
    }

    /// Makes something where nothing may be, removing what an earlier entry left there.
    fn make<T>(
        &mut self,
        place: &Place<'_>,
        act: &'static str,
        make: impl Fn(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        match make(parent) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(place.failed(act)),
        }
        self.tree.remove(place.parent, place.name).map_err(place.failed("replace"))?;
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        make(parent).map_err(place.failed(act))
    }

    fn create_file<R: BufRead>(
        &mut self,
        entry: &Entry,
        place: &Place<'_>,
        reader: &mut Reader<R>,
    ) -> Result<(), UnpackError> {
        let flags =
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = self.make(place, "create", |parent| {
            rustix::fs::openat(parent, place.name, flags, Mode::from_raw_mode(0o600))
        })?;
        let space = &mut self.space;
        reader.pieces::<UnpackError>(entry, |offset, piece| {
            space.spend(piece.len() as u64)?;
            write_at(&file, offset, piece).map_err(place.failed("write"))
        })?;
        if entry.sparse.is_some() {
            rustix::fs::ftruncate(&file, entry.size).map_err(place.failed("extend"))?;
        }
        self.size.bytes = self.size.bytes.saturating_add(entry.size);
        dress(&file, entry, place)?;
        rustix::fs::futimens(&file, &times(entry.mtime)).map_err(place.failed("set the time of"))
    }

    fn create_directory(
        &mut self,
        entry: &Entry,
        path: &EntryPath,
        place: &Place<'_>,
    ) -> Result<(), UnpackError> {
        let failed = |error: Errno| place.failed("create")(error);
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        let mut was_hidden = false;
        match rustix::fs::mkdirat(parent, place.name, Mode::from_raw_mode(0o700)) {
            Err(Errno::EXIST) => {
                let existing = walk::stat(parent, place.name).map_err(failed)?;
                was_hidden = walk::is_whiteout(&existing);
                if !walk::is_directory(&existing) {
                    self.make(place, "create", |parent| {
                        rustix::fs::mkdirat(parent, place.name, Mode::from_raw_mode(0o700))
                    })?;
                }
            }
            other => other.map_err(failed)?,
        }
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        let directory = open_child(parent, place.name).map_err(failed)?;
        if was_hidden {
            // What was hidden stays hidden: this directory does not merge with the one below.
            walk::mark(&directory, OPAQUE).map_err(failed)?;
        }
        self.dress_directory(&directory, entry, path, place)
    }

    fn dress_directory(
        &mut self,
        directory: &OwnedFd,
        entry: &Entry,
        path: &EntryPath,
        place: &Place<'_>,
    ) -> Result<(), UnpackError> {
        unmark(directory, IMPLIED).map_err(place.failed("describe"))?;
        dress(directory, entry, place)?;
        // Its time is set last: whatever is put into it changes it.
        self.journal(&Record::Time(path.clone(), entry.mtime))
    }

    fn create_symlink(
        &mut self,
        entry: &Entry,
        target: &[u8],
        place: &Place<'_>,
    ) -> Result<(), UnpackError> {
        if target.is_empty() || target.len() > 4095 {
            return Err(place.failed("link")(WalkError::Path(PathProblem::SymlinkTarget)));
        }
        self.make(place, "link", |parent| rustix::fs::symlinkat(target, parent, place.name))?;
        self.dress_name(entry, place)
    }

    fn create_hard_link(&mut self, target: &[u8], place: &Place<'_>) -> Result<(), UnpackError> {
        let refused = |problem| UnpackError::Path { path: shown(place.shown), problem };
        let target = EntryPath::parse(target).map_err(refused)?;
        let missing = || refused(PathProblem::LinkTarget);
        let (from, from_name) = target.split().ok_or_else(missing)?;
        if from == place.parent && from_name == place.name {
            return Ok(());
        }
        let from = self.tree.existing(from).map_err(place.failed("link"))?.ok_or_else(missing)?;
        let target = walk::stat(from.as_fd(), from_name).map_err(|_| missing())?;
        if walk::is_directory(&target) || walk::is_whiteout(&target) {
            return Err(missing());
        }
        let linked = self.make(place, "link", |parent| {
            rustix::fs::linkat(&from, from_name, parent, place.name, AtFlags::empty())
        });
        match linked {
            // Making room for the link may have removed what it links to.
            Err(UnpackError::Entry { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(missing())
            }
            other => other,
        }
    }

    fn create_node(
        &mut self,
        entry: &Entry,
        kind: FileType,
        (major, minor): (u32, u32),
        place: &Place<'_>,
    ) -> Result<(), UnpackError> {
        let mode = Mode::from_raw_mode(entry.mode);
        let device = makedev(major, minor);
        self.make(place, "make the device", |parent| {
            rustix::fs::mknodat(parent, place.name, kind, mode, device)
        })?;
        self.dress_name(entry, place)
    }

    /// Gives what was just made by name its owner, mode, attributes and time.
    fn dress_name(&mut self, entry: &Entry, place: &Place<'_>) -> Result<(), UnpackError> {
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        let no_follow = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(parent, place.name, Some(uid), Some(gid), no_follow)
            .map_err(place.failed("set the owner of"))?;
        if !matches!(entry.kind, Kind::Symlink(_)) {
            // Not a link: it was made two calls ago, in a directory that only we can reach.
            let mode = Mode::from_raw_mode(entry.mode);
            rustix::fs::chmodat(parent, place.name, mode, AtFlags::empty())
                .map_err(place.failed("set the mode of"))?;
        }
        rustix::fs::utimensat(parent, place.name, &times(entry.mtime), no_follow)
            .map_err(place.failed("set the time of"))
    }

    fn make_opaque(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        self.tree.parent(place.parent).map_err(place.failed("hide what is below"))?;
        let directory = self.tree.existing(place.parent).map_err(place.failed("open"))?;
        if let Some(directory) = directory {
            walk::mark(&directory, OPAQUE).map_err(place.failed("hide what is below"))?;
        }
        self.size.is_opaque |= place.parent.is_empty();
        Ok(())
    }

    /// Hides what the layers below have under a name. What this layer itself has there stays: a
    /// whiteout speaks of what is below only.
    fn hide(&mut self, place: &Place<'_>) -> Result<(), UnpackError> {
        let failed = |error: Errno| place.failed("hide")(error);
        let parent = self.tree.parent(place.parent).map_err(place.failed("open the parent of"))?;
        let mode = Mode::empty();
        match rustix::fs::mknodat(parent, place.name, FileType::CharacterDevice, mode, 0) {
            Err(Errno::EXIST) => {}
            other => return other.map_err(failed),
        }
        match open_child(parent, place.name) {
            Ok(directory) => walk::mark(&directory, OPAQUE).map_err(failed),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn journal(&mut self, record: &Record) -> Result<(), UnpackError> {
        let written = self.journal.write(record);
        Ok(written.map_err(DiskError::new("write", &self.journal_path))?)
    }

    /// Sets the times of the directories, now that nothing more is put into them.
    fn finish(self) -> Result<TreeSize, UnpackError> {
        let path = self.journal_path;
        let failed = || DiskError::new("replay", &path);
        self.journal.finish().map_err(DiskError::new("write", &path))?;
        for record in Records::open(&path).map_err(failed())? {
            if let Record::Time(path, time) = record.map_err(failed())? {
                set_time(&self.tree, &path, time).map_err(failed())?;
            }
        }
        Ok(self.size)
    }
}

/// A directory that an entry described may have been replaced by a later one.
fn set_time(tree: &Tree, path: &EntryPath, time: Time) -> io::Result<()> {
    let Some((parent, name)) = path.split() else {
        return Ok(rustix::fs::futimens(tree.root(), &times(time))?);
    };
    let Ok(Some(parent)) = tree.existing(parent) else { return Ok(()) };
    match rustix::fs::utimensat(&parent, name, &times(time), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

fn write_at(file: &OwnedFd, mut offset: u64, mut piece: &[u8]) -> Result<(), Errno> {
    while !piece.is_empty() {
        match rustix::io::pwrite(file, piece, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                piece = &piece[length..];
                offset += length as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
