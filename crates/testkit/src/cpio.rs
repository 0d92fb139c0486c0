//! The archive a kernel unpacks as its first file system (kernel,
//! `Documentation/driver-api/early-userspace/buffer-format.rst`, "newc").

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive being written.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    made: BTreeSet<PathBuf>,
}

impl Archive {
    /// Adds everything below `directory` at `place`.
    pub(crate) fn add_tree(&mut self, directory: &Path, place: &Path) -> Result<()> {
        let entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let (path, place) = (entry.path(), place.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                let target = fs::read_link(&path)?;
                self.entry(&place, LINK | 0o777, target.to_string_lossy().as_bytes());
            } else if kind.is_dir() {
                self.make(&place);
                self.add_tree(&path, &place)?;
            } else {
                self.add_file(&path, &place)?;
            }
        }
        Ok(())
    }

    /// Adds a file at `place`, links followed.
    pub(crate) fn add_file(&mut self, path: &Path, place: &Path) -> Result<()> {
        let data = fs::read(path).with_context(|| path.display().to_string())?;
        let mode = fs::metadata(path)?.permissions().mode() & 0o7777;
        self.entry(place, FILE | mode, &data);
        Ok(())
    }

    /// Adds a file with this text.
    pub(crate) fn add_text(&mut self, place: &str, text: &str, mode: u32) {
        self.entry(Path::new(place), FILE | mode, text.as_bytes());
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.record("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, place: &Path, mode: u32, data: &[u8]) {
        if let Some(parent) = place.parent() {
            self.make(parent);
        }
        self.record(&name(place), mode, data);
    }

    fn make(&mut self, place: &Path) {
        if place.parent().is_none() || self.made.contains(place) {
            return;
        }
        if let Some(parent) = place.parent() {
            self.make(parent);
        }
        self.made.insert(place.to_owned());
        self.record(&name(place), DIRECTORY | 0o755, &[]);
    }

    fn record(&mut self, name: &str, mode: u32, data: &[u8]) {
        let fields: [usize; 13] =
            [self.made.len(), mode as usize, 0, 0, 1, 0, data.len(), 0, 0, 0, 0, name.len() + 1, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(data);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

fn name(place: &Path) -> String {
    place.to_string_lossy().trim_start_matches('/').to_owned()
}
