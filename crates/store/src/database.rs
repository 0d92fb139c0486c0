//! Records: typed, versioned rows in tables, kept by `redb`.
//!
//! A row is durable when [`Table::put`] returns. Commits are made in groups by one thread: what
//! arrives while a commit is being flushed goes into the next one together, so that a hundred
//! parallel creations cost a handful of flushes. A [`Table::put_lazy`] is visible at once and
//! durable within [`LAZINESS`](writer::LAZINESS).
//!
//! **Invariant:** damage is contained. A row that cannot be read is moved aside and reported; a
//! file that cannot be read is renamed aside, and the next one starts with what can be saved of
//! its rows and with the copy that is kept beside it.
//! **Invariant:** rows read back are the rows written: each carries a checksum over its table,
//! key, version and bytes.

mod file;
mod mirror;
mod row;
mod writer;

use std::{marker::PhantomData, path::Path, sync::Arc};

use redb::{ReadableDatabase as _, ReadableTable as _, TableDefinition, TableError};
use serde::{Serialize, de::DeserializeOwned};

use crate::store::Damage;
use file::{Opened, Shared};
pub use writer::Pending;
use writer::{Change, Writer};

/// Where rows that could not be read are kept, for a person to look at.
const ASIDE: &str = "damaged-rows";

/// What a table holds. The version is written with each row; a release that changes the shape
/// raises it and reads the older ones in [`Record::upgrade`].
pub trait Record: Serialize + DeserializeOwned {
    /// The name of the table.
    const TABLE: &'static str;
    /// The version of the shape.
    const VERSION: u32;

    /// Makes a record of one that an older release wrote.
    fn upgrade(version: u32, value: serde_json::Value) -> Option<Self> {
        let _older = (version, value);
        None
    }
}

/// All records.
#[derive(Debug)]
pub struct Database {
    shared: Arc<Shared>,
    writer: Writer,
}

/// The rows that hold one type of record.
#[derive(Debug)]
pub struct Table<'a, V> {
    database: &'a Database,
    record: PhantomData<fn() -> V>,
}

/// Changes to several tables that are made together, or not at all.
#[derive(Debug, Default)]
#[must_use = "a batch changes nothing until it is committed"]
pub struct Batch {
    changes: Vec<Change>,
}

/// A whole table as it was read.
#[derive(Debug)]
pub struct Rows<V> {
    /// Keys and records, in the order of the keys.
    pub good: Vec<(String, V)>,
    /// Rows that could not be read. They have been moved aside.
    pub damaged: Vec<Damage>,
}

/// Why a record was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The database's file failed.
    #[error("cannot {act} the database")]
    File {
        /// What was tried, as a verb.
        act: &'static str,
        /// Why it failed.
        source: Arc<redb::Error>,
    },
    /// The row is there but is not what was written.
    #[error("row {key:?} of table {table} is damaged")]
    Row {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
    },
    /// The record cannot be written as JSON.
    #[error("cannot encode row {key:?} of table {table}")]
    Encode {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The database is being closed.
    #[error("the database is closed")]
    Closed,
}

impl DatabaseError {
    fn file<E: Into<redb::Error>>(act: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::File { act, source: Arc::new(source.into()) }
    }

    /// Whether the disk, or a quota on it, is full.
    pub fn is_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let Self::File { source, .. } = self else { return false };
        matches!(&**source, redb::Error::Io(io) if matches!(io.kind(), StorageFull | QuotaExceeded))
    }
}

impl Database {
    /// Opens the database at `path`, or makes one. What had to be set aside is in the second half
    /// of the result.
    pub fn open(path: &Path) -> Result<(Self, Vec<Damage>), DatabaseError> {
        let Opened { shared, copy, damage } = Shared::open(path)?;
        let shared = Arc::new(shared);
        let writer = Writer::start(Arc::clone(&shared), copy);
        Ok((Self { shared, writer }, damage))
    }

    /// The table of the records `V`.
    pub fn table<V: Record>(&self) -> Table<'_, V> {
        Table { database: self, record: PhantomData }
    }

    /// Makes all changes of a batch, durably.
    pub fn commit(&self, batch: Batch) -> Result<(), DatabaseError> {
        self.writer.submit(batch.changes, true).wait()
    }

    /// Waits until everything put so far, also lazily, is durable.
    pub fn flush(&self) -> Result<(), DatabaseError> {
        self.writer.submit(Vec::new(), true).wait()
    }
}

impl Batch {
    /// Writes a record.
    pub fn put<V: Record>(&mut self, key: &str, record: &V) -> Result<(), DatabaseError> {
        self.changes.push(Table::change(key, record)?);
        Ok(())
    }

    /// Removes a record. One that is not there is fine.
    pub fn remove<V: Record>(&mut self, key: &str) {
        self.changes.push(Change { table: V::TABLE, key: key.into(), value: None });
    }
}

impl<V: Record> Table<'_, V> {
    /// Writes a record; returns when it is durable.
    pub fn put(&self, key: &str, record: &V) -> Result<(), DatabaseError> {
        self.begin_put(key, record)?.wait()
    }

    /// Writes several records in one commit: all of them, or none.
    pub fn put_many<'r>(
        &self,
        records: impl IntoIterator<Item = (&'r str, &'r V)>,
    ) -> Result<(), DatabaseError>
    where
        V: 'r,
    {
        let changes: Result<Vec<_>, _> =
            records.into_iter().map(|(key, record)| Self::change(key, record)).collect();
        self.database.writer.submit(changes?, true).wait()
    }

    /// Starts to write a record, to be waited for later.
    pub fn begin_put(&self, key: &str, record: &V) -> Result<Pending, DatabaseError> {
        Ok(self.database.writer.submit(vec![Self::change(key, record)?], true))
    }

    /// Writes a record without waiting for the disk. It is visible when this returns.
    pub fn put_lazy(&self, key: &str, record: &V) -> Result<(), DatabaseError> {
        self.database.writer.submit(vec![Self::change(key, record)?], false).wait()
    }

    /// Removes a record, durably. One that is not there is fine.
    pub fn remove(&self, key: &str) -> Result<(), DatabaseError> {
        self.remove_many([key])
    }

    /// Removes several records in one commit.
    pub fn remove_many<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k str>,
    ) -> Result<(), DatabaseError> {
        let remove = |key: &str| Change { table: V::TABLE, key: key.into(), value: None };
        let changes = keys.into_iter().map(remove).collect();
        self.database.writer.submit(changes, true).wait()
    }

    /// Removes a record without waiting for the disk.
    pub fn remove_lazy(&self, key: &str) -> Result<(), DatabaseError> {
        let change = Change { table: V::TABLE, key: key.into(), value: None };
        self.database.writer.submit(vec![change], false).wait()
    }

    /// Reads one record.
    pub fn get(&self, key: &str) -> Result<Option<V>, DatabaseError> {
        let bytes = self.database.shared.read(|file| read_row(file, V::TABLE, key))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = || DatabaseError::Row { table: V::TABLE, key: key.into() };
        row::decode(key, &bytes).ok_or_else(damaged).map(Some)
    }

    /// Reads the whole table, moving aside what cannot be read.
    pub fn iter(&self) -> Result<Rows<V>, DatabaseError> {
        let raw = self.database.shared.read(|file| read_table(file, V::TABLE))?;
        let mut rows = Rows { good: Vec::with_capacity(raw.len()), damaged: Vec::new() };
        for (key, bytes) in raw {
            match row::decode(&key, &bytes) {
                Some(record) => rows.good.push((key, record)),
                None => {
                    self.set_aside(&key, bytes)?;
                    rows.damaged.push(Damage::Row { table: V::TABLE.into(), key });
                }
            }
        }
        Ok(rows)
    }

    fn set_aside(&self, key: &str, bytes: Vec<u8>) -> Result<(), DatabaseError> {
        let aside = format!("{}/{key}", V::TABLE);
        let changes = vec![
            Change { table: ASIDE, key: aside, value: Some(bytes) },
            Change { table: V::TABLE, key: key.into(), value: None },
        ];
        self.database.writer.submit(changes, true).wait()
    }

    fn change(key: &str, record: &V) -> Result<Change, DatabaseError> {
        let value = row::encode(key, record).map_err(|source| DatabaseError::Encode {
            table: V::TABLE,
            key: key.into(),
            source,
        })?;
        Ok(Change { table: V::TABLE, key: key.into(), value: Some(value) })
    }
}

fn definition(table: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(table)
}

fn read_row(file: &redb::Database, table: &str, key: &str) -> Result<Option<Vec<u8>>, redb::Error> {
    let transaction = file.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        other => other?,
    };
    Ok(table.get(key)?.map(|it| it.value().to_vec()))
}

fn read_table(file: &redb::Database, table: &str) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
    let transaction = file.begin_read()?;
    let table = match transaction.open_table(definition(table)) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        other => other?,
    };
    let mut rows = Vec::new();
    for row in table.iter()? {
        let (key, value) = row?;
        rows.push((key.value().to_owned(), value.value().to_vec()));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
