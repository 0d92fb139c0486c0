//! The database's file: opening it, saving what can be saved of a damaged one, and opening it
//! again after an error of the disk.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use redb::{ReadableDatabase as _, ReadableTable as _, TableHandle as _};

use super::{ASIDE, DatabaseError, definition, row};
use crate::{disk::DiskError, store::Damage};

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

impl Shared {
    /// Opens the file. A damaged one is renamed aside, and its rows that are whole start anew.
    pub(super) fn open(path: &Path) -> Result<(Self, Vec<Damage>), DatabaseError> {
        let (file, damage) = match inspect(path)? {
            Inspection::Sound(file) => (file, Vec::new()),
            Inspection::Damaged { rows, reason } => start_anew(path, rows, reason)?,
        };
        let shared = Self { path: path.into(), file: RwLock::new(Some(file)) };
        Ok((shared, damage))
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

fn builder() -> redb::Builder {
    let mut builder = redb::Database::builder();
    builder.set_cache_size(CACHE);
    builder
}

enum Inspection {
    Sound(redb::Database),
    Damaged { rows: Vec<RawRow>, reason: String },
}

/// Opens the file and reads all of it. An error of the disk is an error; anything else that is
/// wrong is damage. `redb` may panic on pages that lie, hence the catching.
fn inspect(path: &Path) -> Result<Inspection, DatabaseError> {
    let damaged = |rows, reason: String| Ok(Inspection::Damaged { rows, reason });
    if fs::metadata(path).is_ok_and(|it| it.len() == 0) {
        // redb takes an empty file for a new one; ours is never empty, so it was truncated.
        return damaged(Vec::new(), "the file is empty".into());
    }
    let opened = catch_unwind(|| builder().create(path));
    let mut file = match opened {
        Ok(Ok(file)) => file,
        Ok(Err(error)) if is_disk_error(&error) => {
            return Err(DatabaseError::file("open")(error));
        }
        Ok(Err(error)) => return damaged(Vec::new(), error.to_string()),
        Err(_) => return damaged(Vec::new(), "its pages are inconsistent".into()),
    };
    let (rows, all_read) = salvage(&file);
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

/// Reads all rows that are whole; says whether all could be read.
fn salvage(file: &redb::Database) -> (Vec<RawRow>, bool) {
    let mut rows = Vec::new();
    let read = catch_unwind(AssertUnwindSafe(|| read_all(file, &mut rows)));
    let all_read = matches!(read, Ok(Ok(())));
    if !all_read {
        rows.retain(|it| it.table == ASIDE || row::is_whole(&it.table, &it.key, &it.value));
    }
    (rows, all_read)
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
    mut rows: Vec<RawRow>,
    reason: String,
) -> Result<(redb::Database, Vec<Damage>), DatabaseError> {
    rows.retain(|it| it.table == ASIDE || row::is_whole(&it.table, &it.key, &it.value));
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let aside = path.with_extension(format!("redb.damaged-{seconds}"));
    fs::rename(path, &aside)
        .map_err(DiskError::new("set aside", path))
        .map_err(|it| DatabaseError::file("set aside")(redb::Error::Io(it.source)))?;
    let file = builder().create(path).map_err(DatabaseError::file("make"))?;
    restore(&file, &rows).map_err(DatabaseError::file("restore"))?;
    let damage = Damage::File { path: path.into(), aside, reason, saved: rows.len() };
    Ok((file, vec![damage]))
}

fn restore(file: &redb::Database, rows: &[RawRow]) -> Result<(), redb::Error> {
    let transaction = file.begin_write()?;
    for row in rows {
        let mut table = transaction.open_table(definition(&row.table))?;
        table.insert(row.key.as_str(), row.value.as_slice())?;
    }
    Ok(transaction.commit()?)
}
