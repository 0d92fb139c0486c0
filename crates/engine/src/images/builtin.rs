//! Images that come with the executable, so that there is one to run on a fresh machine.
//!
//! **Invariant:** the same bytes make the same image: nothing depends on the clock.

use jiff::Timestamp;
use wadah_oci::Digest;
use wadah_store::{
    Compression,
    tar::{Entry, Kind, Time, Writer},
};

use super::{
    Defaults, ImageError, Images, import::Configuration, load::media_type, platform::Platform,
    record::LayerRecord,
};

/// When the image was last changed, for people: 2026-11-21, not the clock's time.
const BUILT: Timestamp = Timestamp::constant(1_795_219_200, 0);

/// An image of one static executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Builtin<'a> {
    /// Its name, as in `wadah/hello`.
    pub name: &'a str,
    /// Where the executable lies in it, without a leading slash.
    pub path: &'a str,
    /// The executable.
    pub executable: &'a [u8],
    /// How it is run.
    pub defaults: Defaults,
}

impl Images {
    /// Installs an image that comes with us. A name that somebody gave to another image stays
    /// where it is; an older release's image is replaced. Returns the image's id.
    pub fn install_builtin(&self, builtin: &Builtin<'_>) -> Result<Digest, ImageError> {
        let name = super::parse_tag(builtin.name)?;
        let bytes = layer(builtin);
        let diff_id = Digest::of(&bytes);
        let config = Configuration {
            platform: Platform::host(),
            created: BUILT,
            comment: String::new(),
            created_by: format!("ADD {} /", builtin.path),
            defaults: builtin.defaults.clone(),
            diff_id: diff_id.to_string(),
        };
        let holder = self.state().references.get(&name).map(|it| it.image);
        let old = holder.filter(|it| self.is_builtin(it));
        let is_free = holder.is_none() || old.is_some();
        let blob = self.store.content.spool(&mut &bytes[..], None, u64::MAX)?;
        let layer = LayerRecord {
            blob: blob.digest,
            size: blob.size,
            media_type: media_type(Compression::None).into(),
        };
        let name = is_free.then_some(name);
        let id = self.keep_configured(&config, layer, vec![blob], name, true)?;
        if let Some(old) = old.filter(|it| *it != id) {
            // Containers of it keep it; it then goes with an ordinary removal.
            match self.remove(&old.to_string(), false, true, &|_| None) {
                Ok(_) | Err(ImageError::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(id)
    }

    fn is_builtin(&self, id: &Digest) -> bool {
        self.state().images.get(id).is_some_and(|it| it.record.builtin)
    }
}

fn layer(builtin: &Builtin<'_>) -> Vec<u8> {
    let entry = Entry {
        path: builtin.path.into(),
        kind: Kind::File,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Time::default(),
        size: builtin.executable.len() as u64,
        sparse: None,
        xattrs: Vec::new(),
    };
    let mut writer = Writer::new(Vec::new());
    let written = writer.append(&entry, builtin.executable).and_then(|()| writer.finish());
    written.expect("BUG: memory can be written")
}
