//! What a file has besides its bytes: owner, mode, extended attributes, times.
//!
//! Of extended attributes, `user.*`, `security.capability` and POSIX ACLs are kept. `trusted.*` and
//! `user.overlay.*` would speak to overlayfs in the image's voice, and labels and signatures
//! (`security.selinux`, `security.ima`…) are the host's to set: they are left out.

use std::{
    ffi::OsStr,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
};

use rustix::{
    fs::{Gid, Mode, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};

use super::{place::Place, unpack::UnpackError};
use crate::tar::{Entry, Time};

/// Gives a file or directory its owner, mode and attributes. In this order: a change of owner
/// takes away set-id bits and capabilities.
pub(super) fn dress(file: &OwnedFd, entry: &Entry, place: &Place<'_>) -> Result<(), UnpackError> {
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(place.failed("set the owner of"))?;
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
        .map_err(place.failed("set the mode of"))?;
    for (name, value) in entry.xattrs.iter().filter(|(name, _)| is_kept(name)) {
        let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
        match set {
            // The disk's file system has no such attributes: neither had Docker's.
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(error) => return Err(place.failed("set an attribute of")(error)),
        }
    }
    Ok(())
}

pub(super) fn is_kept(name: &[u8]) -> bool {
    let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
    let others: [&[u8]; 3] =
        [b"security.capability", b"system.posix_acl_access", b"system.posix_acl_default"];
    !name.contains(&0) && (is_user || others.contains(&name))
}

pub(super) fn times(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: time.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
