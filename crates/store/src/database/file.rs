//! The database's file: opening it, saving what can be saved of a damaged one, and opening it
//! again after an error of the disk.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{ReadableDatabase as _, ReadableTable as _, TableHandle as _};

use super::{ASIDE, DatabaseError, definition, mirror, row, writer::Change};
use crate::store::Damage;

/// Which commit the file is at.
const STEPS: &str = "commits";
const SEQUENCE: &str = "last";
/// The page cache. Records are read once, at start; more would only be memory.
const CACHE: usize = 2 << 20;

/// The open file. After an error of the disk `redb` refuses all work until it is opened again,
/// which [`Shared::reopen`] does.
#[derive(Debug)]
pub(super) struct Shared {
    path: PathBuf,
    file: RwLock<Option<redb::Database>>,
}

/// A row as it lies in the file.
struct RawRow {
    table: String,
    key: String,
    value: Vec<u8>,
}

/// What opening the file, and its copy, came to.
pub(super) struct Opened {
    pub(super) shared: Shared,
    /// The copy, if it is in step.
    pub(super) copy: Option<redb::Database>,
    pub(super) damage: Vec<Damage>,
}

impl Shared {
    /// Opens the file. A damaged one is renamed aside; its rows that are whole, and those of its
    /// copy, start anew.
    pub(super) fn open(path: &Path) -> Result<Opened, DatabaseError> {
        let copy_path = mirror::path_of(path);
        let is_gone = !path.exists() && copy_path.exists();
        if !path.exists() && !is_gone {
            drop(make_of(path, &[])?);
        }
        let inspected = if is_gone { Inspection::Gone } else { inspect(path, true)? };
        let (copy, mut damage) = inspect_copy(&copy_path)?;
        let file = match inspected {
            Inspection::Sound(file) => file,
            Inspection::Damaged { rows, reason } => {
                let (file, found) = start_anew(path, rows, copy.as_ref(), reason)?;
                damage.push(found);
                file
            }
            Inspection::Gone => {
                let rows = merge(Vec::new(), copy.as_ref());
                damage.push(Damage::Gone { path: path.into(), saved: rows.len() });
                make_of(path, &rows)?
            }
        };
        let step = sequence(&file).map_err(DatabaseError::file("read"))?;
        let copy = copy.filter(|it| sequence(it).is_ok_and(|it| it == step));
        let shared = Self { path: path.into(), file: RwLock::new(Some(file)) };
        Ok(Opened { shared, copy, damage })
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Does something with the open file.
    pub(super) fn read<T>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, DatabaseError> {
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let file = file.as_ref().ok_or(DatabaseError::Closed)?;
        act(file).map_err(DatabaseError::file("read"))
    }

    /// Writes with the open file; opens it again first if the last write failed.
    pub(super) fn write<T>(
        &self,
        act: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, Arc<redb::Error>> {
        {
            let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(file) = file.as_ref() {
                return act(file).map_err(Arc::new);
            }
        }
        self.reopen()?;
        let file = self.file.read().unwrap_or_else(PoisonError::into_inner);
        let closed = redb::Error::DatabaseAlreadyOpen;
        act(file.as_ref().ok_or_else(|| Arc::new(closed))?).map_err(Arc::new)
    }

    /// Closes the file and opens it again.
    pub(super) fn reopen(&self) -> Result<(), Arc<redb::Error>> {
        let mut file = self.file.write().unwrap_or_else(PoisonError::into_inner);
        *file = None;
        *file = Some(builder().open(&self.path).map_err(|it| Arc::new(it.into()))?);
        Ok(())
    }
}

/// Opens or makes a database that only we can read: records have environments in them.
fn create(path: &Path) -> Result<redb::Database, redb::DatabaseError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    builder().create_file(file)
}

fn builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

enum Inspection {
    Sound(redb::Database),
    Damaged { rows: Vec<RawRow>, reason: String },
    Gone,
}

/// Opens the copy, if there is one that can be used. A damaged one is set aside and told.
fn inspect_copy(path: &Path) -> Result<(Option<redb::Database>, Vec<Damage>), DatabaseError> {
    if !path.exists() {
        return Ok((None, Vec::new()));
    }
    Ok(match inspect(path, false)? {
        Inspection::Sound(file) => (Some(file), Vec::new()),
        Inspection::Damaged { reason, .. } => {
            let aside = set_aside(path)?;
            (None, vec![Damage::File { path: path.into(), aside, reason, saved: 0 }])
        }
        Inspection::Gone => (None, Vec::new()),
    })
}

/// Opens the file and checks all of it, reading its rows first if `rows_matter`, since a check that
/// fails may take some of them away. An error of the disk is an error; anything else that is
/// wrong is damage. `redb` may panic on pages that lie, hence the catching.
fn inspect(path: &Path, rows_matter: bool) -> Result<Inspection, DatabaseError> {
    let damaged = |rows, reason: String| Ok(Inspection::Damaged { rows, reason });
    if fs::metadata(path).is_ok_and(|it| it.len() == 0) {
        // redb takes an empty file for a new one; ours is never empty, so it was truncated.
        return damaged(Vec::new(), "the file is empty".into());
    }
    let opened = catch_unwind(|| create(path));
    let mut file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(error)) if is_disk_error(&error) => {
            return Err(DatabaseError::file("open")(error));
        }
        Ok(Err(error)) => return damaged(Vec::new(), error.to_string()),
        Err(_) => return damaged(Vec::new(), "its pages are inconsistent".into()),
    };
    let (rows, all_read) = if rows_matter { salvage(&file) } else { (Vec::new(), true) };
    let checked = catch_unwind(AssertUnwindSafe(|| file.check_integrity()));
    match checked {
        Ok(Ok(true)) if all_read => Ok(Inspection::Sound(file)),
        Ok(Ok(_)) => damaged(rows, "its checksums do not match".into()),
        Ok(Err(error)) => damaged(rows, error.to_string()),
        Err(_) => damaged(rows, "its pages are inconsistent".into()),
    }
}

fn is_disk_error(error: &redb::DatabaseError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::DatabaseError::Storage(redb::StorageError::Io(io)) => {
            !matches!(io.kind(), InvalidData | UnexpectedEof)
        }
        redb::DatabaseError::DatabaseAlreadyOpen => true,
        _ => false,
    }
}

/// Reads all rows that can be read; says whether those were all.
fn salvage(file: &redb::Database) -> (Vec<RawRow>, bool) {
    let mut rows = Vec::new();
    let read = catch_unwind(AssertUnwindSafe(|| read_all(file, &mut rows)));
    (rows, matches!(read, Ok(Ok(()))))
}

fn read_all(file: &redb::Database, rows: &mut Vec<RawRow>) -> Result<(), redb::Error> {
    let transaction = file.begin_read()?;
    for handle in transaction.list_tables()? {
        let name = handle.name().to_owned();
        for row in transaction.open_table(definition(&name))?.iter()? {
            let (key, value) = row?;
            let (key, value) = (key.value().to_owned(), value.value().to_vec());
            rows.push(RawRow { table: name.clone(), key, value });
        }
    }
    Ok(())
}

/// Renames the damaged file aside and makes a new one of the rows saved.
fn start_anew(
    path: &Path,
    rows: Vec<RawRow>,
    copy: Option<&redb::Database>,
    reason: String,
) -> Result<(redb::Database, Damage), DatabaseError> {
    let rows = merge(rows, copy);
    let aside = set_aside(path)?;
    let file = make_of(path, &rows)?;
    Ok((file, Damage::File { path: path.into(), aside, reason, saved: rows.len() }))
}

/// The rows that are whole: those of the file itself, which are newer, before those of its copy.
fn merge(rows: Vec<RawRow>, copy: Option<&redb::Database>) -> Vec<RawRow> {
    let (copied, _) = copy.map(salvage).unwrap_or_default();
    let mut merged: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
    for RawRow { table, key, value } in copied.into_iter().chain(rows) {
        if table == ASIDE || row::is_whole(&table, &key, &value) {
            merged.insert((table, key), value);
        }
    }
    merged.into_iter().map(|((table, key), value)| RawRow { table, key, value }).collect()
}

fn set_aside(path: &Path) -> Result<PathBuf, DatabaseError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = path.with_extension(format!("redb.damaged-{seconds}"));
    fs::rename(path, &aside)
        .map_err(|source| DatabaseError::file("set aside")(redb::Error::Io(source)))?;
    Ok(aside)
}

fn make_of(path: &Path, rows: &[RawRow]) -> Result<redb::Database, DatabaseError> {
    make_whole(path, rows).map_err(DatabaseError::file("make"))
}

/// Makes a database under another name, which it loses when it is whole: one that was cut off in
/// the making is never taken for one that was damaged.
fn make_whole(path: &Path, rows: &[RawRow]) -> Result<redb::Database, redb::Error> {
    let unfinished = path.with_extension("unfinished");
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(redb::Error::Io(error));
        }
        _ => {}
    }
    let file = create(&unfinished)?;
    restore(&file, rows)?;
    fs::rename(&unfinished, path).map_err(redb::Error::Io)?;
    Ok(file)
}

fn restore(file: &redb::Database, rows: &[RawRow]) -> Result<(), redb::Error> {
    let transaction = file.begin_write()?;
    for row in rows {
        let mut table = transaction.open_table(definition(&row.table))?;
        table.insert(row.key.as_str(), row.value.as_slice())?;
    }
    Ok(transaction.commit()?)
}

/// Makes a copy of everything in the file, at `path`, in place of what is there.
pub(super) fn copy(file: &redb::Database, path: &Path) -> Result<redb::Database, redb::Error> {
    let mut rows = Vec::new();
    read_all(file, &mut rows)?;
    make_whole(path, &rows)
}

/// Makes changes within a transaction, which becomes the commit with this number.
pub(super) fn change(
    transaction: &redb::WriteTransaction,
    sequence: u64,
    changes: &[Change],
) -> Result<(), redb::Error> {
    for change in changes {
        let mut table = transaction.open_table(definition(change.table))?;
        match &change.value {
            Some(value) => drop(table.insert(change.key.as_str(), value.as_slice())?),
            None => drop(table.remove(change.key.as_str())?),
        }
    }
    let mut steps = transaction.open_table(definition(STEPS))?;
    steps.insert(SEQUENCE, sequence.to_be_bytes().as_slice())?;
    Ok(())
}

/// The number of the last commit.
pub(super) fn sequence(file: &redb::Database) -> Result<u64, redb::Error> {
    let bytes = super::read_row(file, STEPS, SEQUENCE)?;
    let number = bytes.and_then(|it| it.try_into().ok()).map(u64::from_be_bytes);
    Ok(number.unwrap_or_default())
}
