//! The home directory of a user, for processes whose environment names none.
//!
//! **Invariant:** the container's `/etc/passwd` is hostile: only a regular file is read, no further
//! than a limit, and nothing of it is taken but one absolute path without control characters.

use std::{fs::File, io::Read as _, path::Path};

use rustix::fs::{FileType, Mode, OFlags, Uid, fstat};
use wadah_sys::rootfs::Root;

/// How much of the file is read.
const LIMIT: u64 = 1 << 20;

/// The home directory of `user` as the container's `/etc/passwd` has it, `/` otherwise.
pub(super) fn find(root: &Root, user: Uid) -> String {
    read(root).as_deref().and_then(|it| entry(it, user)).unwrap_or_else(|| "/".into())
}

fn read(root: &Root) -> Option<String> {
    // What is no regular file, such as a FIFO, must not hold us up even in being opened.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let probe = root.open_at(Path::new("/etc/passwd"), OFlags::PATH, Mode::empty()).ok()?;
    let stat = fstat(&probe).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let file = root.open_at(Path::new("/etc/passwd"), flags, Mode::empty()).ok()?;
    if FileType::from_raw_mode(fstat(&file).ok()?.st_mode) != FileType::RegularFile {
        return None;
    }
    let mut bytes = Vec::new();
    File::from(file).take(LIMIT).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn entry(passwd: &str, user: Uid) -> Option<String> {
    let wanted = user.as_raw().to_string();
    let line = passwd.lines().map(|it| it.split(':').collect::<Vec<_>>());
    let mut matching = line.filter(|it| it.len() >= 6 && it[2] == wanted);
    let home = matching.next()?[5];
    let is_sane = home.starts_with('/') && !home.chars().any(char::is_control);
    is_sane.then(|| home.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_taken_from_whole_entries_only() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken:x:7\nweb:x:33:33::/srv\x07:/bin/sh\n";
        assert_eq!(entry(passwd, Uid::ROOT).as_deref(), Some("/root"));
        assert_eq!(entry(passwd, Uid::from_raw(7)), None);
        assert_eq!(entry(passwd, Uid::from_raw(33)), None);
    }
}
