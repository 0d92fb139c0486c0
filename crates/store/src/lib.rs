//! What Wadah keeps on disk: content, layers, containers' directories, records.
//!
//! [`Store::open`] takes the data root for one daemon. Below it, [`Content`] holds blobs named by
//! their digest, [`Layers`] the directories unpacked from them, [`Writable`] what containers
//! write, and [`Database`] the records that say which of it all is wanted.
//!
//! **Invariant:** what is in its final place is whole. Blobs, layers and files come into being
//! under `ingest/` and are renamed; what a crash leaves there is swept at the next start.
//! **Invariant:** image bytes are hostile. No path taken from an archive is ever resolved by name
//! alone: it is walked with `openat2` below a descriptor.
//! **Invariant:** nothing is mounted here, and nothing here is asynchronous.

mod content;
mod database;
mod disk;
mod layers;
mod store;
pub mod tar;
mod tree;
mod writable;

pub use content::{Content, ContentError, Ingest, Spooled};
pub use database::{Batch, Database, DatabaseError, Pending, Record, Rows, Table};
pub use disk::{DiskError, write_atomically};
pub use layers::{
    Compression, Layer, LayerError, Layers, Staged, TreeSize, UnpackError, decompressed,
};
pub use store::{Damage, OpenError, Store};
pub use tree::{RemoveTreeError, remove_tree};
pub use writable::{ContainerDirectories, Writable, WritableError};
