//! Flushing layers to the disk, all together and off every request's path.
//!
//! A tree of 100,000 files cannot be flushed file by file; `syncfs(2)` does it at once, but also
//! waits for everything else on the file system. So nobody waits for it: until a layer is marked
//! `settled`, a restart of the machine costs its being unpacked again.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use crate::disk::DiskError;

/// How long to wait for more layers to flush together.
const GATHER: Duration = Duration::from_secs(2);
const MARK: &str = "settled";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug)]
pub(super) struct Settler {
    /// Which start of the machine this is.
    pub(super) boot: String,
    places: Mutex<Sender<PathBuf>>,
}

impl Settler {
    pub(super) fn start(root: &Path) -> Result<Self, DiskError> {
        let path = Path::new(BOOT_ID);
        let boot = fs::read_to_string(path).map_err(DiskError::new("read", path))?;
        let directory = File::open(root).map_err(DiskError::new("open", root))?;
        let (places, noted) = mpsc::channel();
        thread::Builder::new()
            .name("settle".into())
            .spawn(move || settle_all(&directory, &noted))
            .map_err(DiskError::new("start to flush", root))?;
        Ok(Self { boot: boot.trim().into(), places: Mutex::new(places) })
    }

    /// Has the layer at `place` flushed and marked some time soon.
    pub(super) fn note(&self, place: PathBuf) {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        // Without the thread the layer stays unmarked, which is safe.
        places.send(place).unwrap_or_default();
    }
}

pub(super) fn is_settled(place: &Path) -> bool {
    place.join(MARK).exists()
}

fn settle_all(directory: &File, noted: &Receiver<PathBuf>) {
    while let Ok(first) = noted.recv() {
        let mut places = vec![first];
        loop {
            match noted.recv_timeout(GATHER) {
                Ok(place) => places.push(place),
                Err(RecvTimeoutError::Timeout) => break,
                // The store is being closed; what is not marked is noted at the next opening.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        if rustix::fs::syncfs(directory).is_ok() {
            for place in places {
                // A layer may have been removed meanwhile, or its mark may not fit the disk.
                File::create(place.join(MARK)).map(drop).unwrap_or_default();
            }
        }
    }
}
