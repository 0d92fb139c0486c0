//! Loading images from an archive: what `docker save` writes, of any age, and OCI image layouts.
//!
//! The archive says what is what only in its last members, so everything is spooled first, and
//! what the images need is then settled while its layers are being unpacked.
//!
//! **Invariant:** an image is recorded when all of it is there, with all its names at once. A
//! crash before leaves only what the next sweep removes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use jiff::Timestamp;
use wadah_oci::{ChainId, Digest, Reference};
use wadah_store::{Batch, Compression, Spooled};

use super::{
    ImageConfig, ImageError, Images, Known, MAX_CONFIG,
    archive::Archive,
    hold::{Hold, Holds},
    layering::{Source, Step},
    manifest::{Descriptor, Document, DocumentError, MAX_DOCUMENT, Manifest, parse_saved},
    platform::Platform,
    record::{ImageRecord, LayerRecord, ReferenceRecord},
};

/// How deep indexes may be in each other.
const MAX_DEPTH: usize = 4;

/// What happens while images are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A layer is being unpacked.
    Layer {
        /// Which.
        diff_id: wadah_oci::DiffId,
        /// How many bytes of its blob were read.
        current: u64,
        /// How many there are.
        total: u64,
    },
    /// A name was taken from another image.
    Renamed {
        /// The name.
        reference: String,
        /// The image that had it.
        old: Digest,
    },
    /// An image was loaded under this name.
    Loaded {
        /// The name.
        reference: String,
    },
    /// An image was loaded that has no name.
    LoadedId {
        /// The image.
        id: Digest,
    },
}

/// An image found in an archive, or being put together otherwise.
pub(super) struct Planned {
    pub(super) id: Digest,
    pub(super) config: ImageConfig,
    pub(super) manifest: Option<Digest>,
    pub(super) layers: Vec<LayerRecord>,
    pub(super) names: Vec<Reference>,
    pub(super) builtin: bool,
}

impl Images {
    /// Loads all images of an archive; nothing of them if one is damaged. Returns their ids.
    pub fn load(
        &self,
        reader: impl Read + Send,
        quiet: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Digest>, ImageError> {
        let mut archive = Archive::spool(&self.store.content, reader)?;
        let planned = plan(&archive)?;
        let mut ids = Vec::with_capacity(planned.len());
        for image in planned {
            let id = image.id;
            let blobs = self.take_blobs(&mut archive, &image);
            self.keep(image, blobs, quiet, progress)?;
            ids.push(id);
        }
        Ok(ids)
    }

    /// What of an image's blobs is not in the store yet.
    fn take_blobs(&self, archive: &mut Archive, image: &Planned) -> Vec<Spooled> {
        image.blobs().iter().filter_map(|it| archive.take(it)).collect()
    }

    /// Keeps an image: settles its blobs, unpacks its layers, records it and its names.
    pub(super) fn keep(
        &self,
        image: Planned,
        blobs: Vec<Spooled>,
        quiet: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImageError> {
        let chain = ChainId::chain(&image.config.diff_ids);
        let hold = Holds::hold(&self.holds, image.blobs(), chain.iter().copied());
        self.settle_and_stack(&image, blobs, quiet, progress)?;
        self.record(image, chain, hold, progress)
    }

    /// Flushes the blobs and unpacks the layers at the same time.
    fn settle_and_stack(
        &self,
        image: &Planned,
        mut blobs: Vec<Spooled>,
        quiet: bool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImageError> {
        let spooled: BTreeMap<Digest, _> =
            blobs.iter().map(|it| (it.digest, it.path().to_owned())).collect();
        let source = |layer: &LayerRecord| match spooled.get(&layer.blob) {
            Some(path) => Source::Spooled { digest: layer.blob, path: path.clone() },
            None => Source::Blob(layer.blob),
        };
        let sources = image.layers.iter().map(source).collect();
        // What is there already need not be flushed again; it is dropped at the end.
        let content = &self.store.content;
        let fresh: Vec<Spooled> =
            blobs.extract_if(.., |it| !content.contains(&it.digest)).collect();
        let (sender, steps) = mpsc::channel();
        let sender = Mutex::new(sender);
        thread::scope(|scope| {
            let settling = scope.spawn(|| self.store.content.settle(fresh));
            let stacking = scope.spawn(move || {
                let told = |step: Step| {
                    if !quiet {
                        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                        sender.send(step).unwrap_or_default();
                    }
                };
                self.stack(&image.config, sources, &told)
            });
            for Step { diff_id, current, total } in steps {
                progress(Progress::Layer { diff_id, current, total });
            }
            let stacked = stacking.join().unwrap_or_else(|it| std::panic::resume_unwind(it));
            settling.join().unwrap_or_else(|it| std::panic::resume_unwind(it))?;
            stacked
        })
    }

    fn record(
        &self,
        image: Planned,
        chain: Vec<ChainId>,
        hold: Hold,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), ImageError> {
        let size = chain.iter().filter_map(|it| self.store.layers.get(it)).map(|it| it.size).sum();
        let Planned { id, config, manifest, layers, names, builtin } = image;
        let record = ImageRecord { manifest, layers, size, parent: None, builtin };
        let named = ReferenceRecord { image: id, since: Timestamp::now() };
        let _changing = self.changing();
        let mut batch = Batch::default();
        batch.put(&id.to_string(), &record)?;
        for name in &names {
            batch.put(&name.to_string(), &named)?;
        }
        self.store.database.commit(batch)?;
        let mut renamed = Vec::new();
        {
            let mut state = self.state_mut();
            let known = Known { record, config: Arc::new(config), layers: chain };
            state.images.insert(id, known);
            for name in &names {
                let old = state.references.insert(name.clone(), named.clone());
                renamed.extend(old.filter(|it| it.image != id).map(|it| (name, it.image)));
            }
        }
        drop(hold);
        for (name, old) in renamed {
            progress(Progress::Renamed { reference: name.familiar(), old });
        }
        self.tell_loaded(&id, &names, progress);
        Ok(())
    }

    fn tell_loaded(&self, id: &Digest, names: &[Reference], progress: &mut dyn FnMut(Progress)) {
        for name in names {
            self.tell("load", id, &name.familiar());
            progress(Progress::Loaded { reference: name.familiar() });
        }
        if names.is_empty() {
            self.tell("load", id, &id.to_string());
            progress(Progress::LoadedId { id: *id });
        }
    }
}

impl Planned {
    /// All its blobs.
    pub(super) fn blobs(&self) -> BTreeSet<Digest> {
        let layers = self.layers.iter().map(|it| it.blob);
        layers.chain(self.manifest).chain([self.id]).collect()
    }
}

/// Finds out what is in the archive. `manifest.json` is what Docker goes by; the index beside it
/// adds the manifests.
fn plan(archive: &Archive) -> Result<Vec<Planned>, ImageError> {
    let saved = archive.member("manifest.json");
    let index = archive.member("index.json");
    match (saved, index) {
        (Some(saved), index) => {
            let manifests = match index {
                Some(index) => manifests_by_config(archive, index),
                None => BTreeMap::new(),
            };
            plan_saved(archive, saved, &manifests)
        }
        (None, Some(index)) => plan_layout(archive, index),
        (None, None) => Err(ImageError::NotAnImage),
    }
}

fn document(name: &str) -> impl Fn(DocumentError) -> ImageError {
    let name = name.to_owned();
    move |source| ImageError::Document { name: name.clone(), source }
}

fn plan_saved(
    archive: &Archive,
    saved: &Spooled,
    manifests: &BTreeMap<Digest, (Digest, Manifest)>,
) -> Result<Vec<Planned>, ImageError> {
    let name = "manifest.json";
    let bytes = Archive::read(saved, name, MAX_DOCUMENT)?;
    let mut planned = Vec::new();
    for image in parse_saved(&bytes).map_err(document(name))? {
        let member = |name: &String| {
            archive.member(name).ok_or_else(|| ImageError::NotInArchive { name: name.clone() })
        };
        let config = member(&image.config)?;
        let blobs: Vec<&Spooled> = image.layers.iter().map(member).collect::<Result<_, _>>()?;
        let described = manifests.get(&config.digest).filter(|(_, it)| {
            it.layers.iter().map(|it| it.digest).eq(blobs.iter().map(|it| it.digest))
        });
        let layers = match described {
            Some((_, manifest)) => manifest.layers.iter().map(LayerRecord::from).collect(),
            None => blobs.into_iter().map(detect).collect::<Result<_, _>>()?,
        };
        let names = image.repo_tags.iter().map(|it| super::parse_tag(it));
        planned.push(Planned {
            names: names.collect::<Result<_, _>>()?,
            manifest: described.map(|(digest, _)| *digest),
            ..plan_image(config, layers)?
        });
    }
    Ok(planned)
}

fn plan_image(config: &Spooled, layers: Vec<LayerRecord>) -> Result<Planned, ImageError> {
    let id = config.digest;
    let bytes = Archive::read(config, "image configuration", MAX_CONFIG)?;
    let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id, source })?;
    super::check_diff_ids(&config, layers.len())?;
    Ok(Planned { id, config, manifest: None, layers, names: Vec::new(), builtin: false })
}

/// Describes a layer that no manifest does.
fn detect(blob: &Spooled) -> Result<LayerRecord, ImageError> {
    let mut start = Vec::new();
    let read = blob.reopen()?.take(6).read_to_end(&mut start);
    read.map_err(|source| wadah_store::ContentError::Source { source })?;
    Ok(LayerRecord {
        blob: blob.digest,
        size: blob.size,
        media_type: media_type(Compression::detect(&start)).into(),
    })
}

pub(super) fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        Compression::None | Compression::Unsupported(_) => "application/vnd.oci.image.layer.v1.tar",
    }
}

/// The manifests that an index leads to, by the configurations they name. What cannot be read is
/// left out: `manifest.json` is what counts.
fn manifests_by_config(archive: &Archive, index: &Spooled) -> BTreeMap<Digest, (Digest, Manifest)> {
    let mut found = BTreeMap::new();
    let mut left = vec![(index, 0)];
    while let Some((blob, depth)) = left.pop() {
        let bytes = Archive::read(blob, "index.json", MAX_DOCUMENT).unwrap_or_default();
        match Document::parse(&bytes) {
            Ok(Document::Manifest(manifest)) => {
                found.insert(manifest.config.digest, (blob.digest, manifest));
            }
            Ok(Document::Index(entries)) if depth < MAX_DEPTH => {
                let blobs = entries.iter().filter_map(|it| archive.blob(&it.digest));
                left.extend(blobs.map(|it| (it, depth + 1)));
            }
            _ => {}
        }
    }
    found
}

fn plan_layout(archive: &Archive, index: &Spooled) -> Result<Vec<Planned>, ImageError> {
    let name = "index.json";
    let bytes = Archive::read(index, name, MAX_DOCUMENT)?;
    let Document::Index(entries) = Document::parse(&bytes).map_err(document(name))? else {
        return Err(document(name)(DocumentError::Neither));
    };
    let mut planned: Vec<Planned> = Vec::new();
    for entry in entries.iter().filter(|it| it.may_be_image()) {
        let names = names_of(entry)?;
        let mut image = plan_descriptor(archive, entry, 0)?;
        match planned.iter_mut().find(|it| it.id == image.id) {
            Some(same) => same.names.extend(names),
            None => {
                image.names = names;
                planned.push(image);
            }
        }
    }
    if planned.is_empty() { Err(ImageError::NotAnImage) } else { Ok(planned) }
}

/// The name that an entry of the index has: containerd's whole one, or a whole one in the OCI
/// annotation, which may also be a mere tag, and that of nothing.
fn names_of(entry: &Descriptor) -> Result<Vec<Reference>, ImageError> {
    let annotation = |name: &str| entry.annotations.get(name).filter(|it| !it.is_empty());
    if let Some(name) = annotation("io.containerd.image.name") {
        return super::parse_tag(name).map(|it| vec![it]);
    }
    let name = annotation("org.opencontainers.image.ref.name");
    let whole = name.filter(|it| it.contains(['/', ':']));
    whole.map_or(Ok(Vec::new()), |it| super::parse_tag(it).map(|it| vec![it]))
}

fn plan_descriptor(
    archive: &Archive,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<Planned, ImageError> {
    let digest = descriptor.digest;
    let name = digest.to_string();
    let missing = |digest: Digest| ImageError::NotInArchive { name: digest.to_string() };
    let blob = archive.blob(&digest).ok_or_else(|| missing(digest))?;
    descriptor.check_size(blob.size).map_err(document("index.json"))?;
    let bytes = Archive::read(blob, &name, MAX_DOCUMENT)?;
    match Document::parse(&bytes).map_err(document(&name))? {
        Document::Index(entries) if depth < MAX_DEPTH => {
            plan_descriptor(archive, choose(&entries)?, depth + 1)
        }
        Document::Index(_) => Err(document(&name)(DocumentError::Neither)),
        Document::Manifest(manifest) => {
            let described = |descriptor: &Descriptor| {
                let digest = descriptor.digest;
                let blob = archive.blob(&digest).ok_or_else(|| missing(digest))?;
                descriptor.check_size(blob.size).map_err(document(&name))?;
                Ok::<_, ImageError>(blob)
            };
            manifest.layers.iter().try_for_each(|it| described(it).map(drop))?;
            let layers = manifest.layers.iter().map(LayerRecord::from).collect();
            let image = plan_image(described(&manifest.config)?, layers)?;
            Ok(Planned { manifest: Some(digest), ..image })
        }
    }
}

/// The image of an index that this machine runs best.
fn choose(entries: &[Descriptor]) -> Result<&Descriptor, ImageError> {
    let host = Platform::host();
    let images: Vec<&Descriptor> = entries.iter().filter(|it| it.may_be_image()).collect();
    let platforms = images.iter().filter_map(|it| Some((it.platform()?, *it)));
    let best = platforms
        .clone()
        .filter_map(|(platform, it)| Some((host.distance(&platform)?, it)))
        .min_by_key(|(distance, _)| *distance);
    match (best, &images[..]) {
        (Some((_, best)), _) => Ok(best),
        (None, [only]) if only.platform().is_none() => Ok(only),
        (None, _) => {
            let available: Vec<String> = platforms.map(|(it, _)| it.to_string()).take(16).collect();
            let available = if available.is_empty() { "none".into() } else { available.join(", ") };
            Err(ImageError::NoPlatform { platform: host.to_string(), available })
        }
    }
}

impl From<&Descriptor> for LayerRecord {
    fn from(descriptor: &Descriptor) -> Self {
        let Descriptor { media_type, digest, size, .. } = descriptor.clone();
        Self { blob: digest, size, media_type }
    }
}
