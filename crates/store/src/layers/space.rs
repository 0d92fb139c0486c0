//! Room on the disk, watched while something of unknown size is written.
//!
//! An archive that unpacks to more than there is must not take the last byte from the
//! containers that run: some is left to them.

use std::path::{Path, PathBuf};

use super::UnpackError;

/// How much is written between two looks.
const STEP: u64 = 64 << 20;
/// A hundredth of the disk, at most this, is left free.
const MAX_RESERVE: u64 = 256 << 20;
const MIN_FILES: u64 = 256;

pub(super) struct Space {
    path: PathBuf,
    spent: u64,
}

impl Space {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.into(), spent: STEP }
    }

    /// Notes that some bytes are about to be written; looks from time to time whether they fit.
    pub(super) fn spend(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.spent += bytes;
        if self.spent < STEP {
            return Ok(());
        }
        self.spent = 0;
        // Where the file system does not say, writing will.
        let Ok(disk) = rustix::fs::statvfs(&self.path) else { return Ok(()) };
        let reserve = (disk.f_blocks.saturating_mul(disk.f_frsize) / 100).min(MAX_RESERVE);
        let left = disk.f_bavail.saturating_mul(disk.f_frsize);
        if left < reserve {
            return Err(UnpackError::NoSpace { left, unit: "bytes" });
        }
        // Some file systems make files as needed, and count none.
        if disk.f_files > 0 && disk.f_favail < MIN_FILES {
            return Err(UnpackError::NoSpace { left: disk.f_favail, unit: "files" });
        }
        Ok(())
    }
}
