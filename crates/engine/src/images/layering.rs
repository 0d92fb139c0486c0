//! Making an image's stack of layers from its blobs.

use std::{
    fs::File,
    io::{self, Read},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use wadah_oci::{ChainId, DiffId, Digest};
use wadah_store::{Content, ContentError, Staged};

use super::{ImageConfig, ImageError, Images};

/// How many layers are unpacked at a time; each takes a thread to inflate and one to write.
const WORKERS: usize = 2;
/// How many bytes are between two words about progress.
const STEP: u64 = 1 << 20;

/// Where a layer's blob is.
pub(super) enum Source {
    /// In its place.
    Blob(Digest),
    /// On its way there: it may arrive at any moment.
    Spooled { digest: Digest, path: PathBuf },
}

/// How far a layer is.
pub(super) struct Step {
    pub(super) diff_id: DiffId,
    pub(super) current: u64,
    pub(super) total: u64,
}

type Slot = Mutex<Option<Result<Staged, ImageError>>>;

impl Source {
    fn digest(&self) -> Digest {
        match self {
            Self::Blob(digest) | Self::Spooled { digest, .. } => *digest,
        }
    }

    fn open(&self, content: &Content) -> Result<File, ContentError> {
        if let Self::Spooled { path, .. } = self
            && let Ok(file) = File::open(path)
        {
            return Ok(file);
        }
        content.get(&self.digest())
    }
}

impl Images {
    /// Unpacks those layers that are missing, several at a time, and stacks them.
    pub(super) fn stack(
        &self,
        config: &ImageConfig,
        sources: Vec<Source>,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<(), ImageError> {
        let diff_ids = super::check_diff_ids(config, sources.len())?;
        let chain = ChainId::chain(diff_ids);
        let is_missing = |it: &usize| self.store.layers.get(&chain[*it]).is_none();
        let missing: Vec<usize> = (0..chain.len()).filter(is_missing).collect();
        let slots: Vec<Slot> = missing.iter().map(|_| Slot::default()).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            // An error elsewhere does not stop the layers begun: they are few and soon done.
            while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed))
                && let Some(&layer) = missing.get(at)
            {
                let staged = self.stage(&sources[layer], &diff_ids[layer], progress);
                if staged.is_err() {
                    next.store(missing.len(), Ordering::Relaxed);
                }
                *slots[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
            }
        };
        thread::scope(|scope| {
            for _ in 1..WORKERS.min(missing.len()) {
                scope.spawn(work);
            }
            work();
        });
        let staged: Vec<Option<Staged>> = slots
            .into_iter()
            .map(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner).transpose())
            .collect::<Result<_, _>>()?;
        for (layer, staged) in missing.into_iter().zip(staged) {
            let below = layer.checked_sub(1).map(|it| &chain[it]);
            let staged = staged.expect("BUG: without an error every layer was staged");
            self.store.layers.commit(staged, below)?;
        }
        Ok(())
    }

    fn stage(
        &self,
        source: &Source,
        diff_id: &DiffId,
        progress: &(dyn Fn(Step) + Sync),
    ) -> Result<Staged, ImageError> {
        let file = source.open(&self.store.content)?;
        let total = file.metadata().map_or(0, |it| it.len());
        let told = |current| progress(Step { diff_id: *diff_id, current, total });
        told(0);
        let reader = Counted { file, count: 0, next: STEP, told: &told };
        let staged = self.store.layers.stage(reader, Some(diff_id));
        let blob = source.digest();
        let staged = staged.map_err(|source| ImageError::Unpack { blob, source })?;
        told(total);
        Ok(staged)
    }
}

/// Tells how much of a file was read.
struct Counted<'a> {
    file: File,
    count: u64,
    next: u64,
    told: &'a (dyn Fn(u64) + Sync),
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.count += length as u64;
        if self.count >= self.next {
            self.next = self.count + STEP;
            (self.told)(self.count);
        }
        Ok(length)
    }
}
