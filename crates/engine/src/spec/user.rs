//! Users: whom `USER` means inside a container.
//!
//! The image's `/etc/passwd` and `/etc/group` decide, and they are hostile: what is read is a
//! regular file, found below the root by descriptor, and no more of it than [`LIMIT`]
//! (CVE-2026-47262). What is taken from it is a number or a path without control characters.
//!
//! **Invariant:** a number is never looked up as a name, and a number out of range is refused
//! (CVE-2024-40635). As in Docker, a numeric uid takes its group and home from its entry, if it
//! has one.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen,
    },
};

use crate::EngineError;

/// How much of a file is read.
const LIMIT: u64 = 4 << 20;

/// How long a line may be.
const LINE: usize = 4096;

/// The highest uid and gid; what is above wraps in some place or other.
const HIGHEST: u32 = 2_147_483_647;

/// Who runs a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user's number.
    pub(crate) uid: u32,
    /// The group's number.
    pub(crate) gid: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
    /// The home directory.
    pub(crate) home: String,
}

/// A root filesystem, to be looked into.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The layers of a container that does not run, `lower` the nearest first, mounted where no
    /// one else sees it: overlayfs itself says what hides what.
    pub(crate) fn of_layers<'a>(
        lower: impl IntoIterator<Item = &'a Path>,
    ) -> rustix::io::Result<Self> {
        let layers: Vec<_> = lower.into_iter().collect();
        if let [only] = layers.as_slice() {
            return Self::of_directory(only);
        }
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in layers {
            fsconfig_set_string(context.as_fd(), "lowerdir+", layer)?;
        }
        fsconfig_create(context.as_fd())?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC
            | MountAttrFlags::MOUNT_ATTR_NOSUID;
        fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map(Self)
    }

    /// A directory, such as `/proc/PID/root`.
    pub(crate) fn of_directory(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map(Self)
    }

    /// The lines of a file, as far as it may be read; none if it is missing or no regular file.
    fn lines(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let opened = open_regular(self.0.as_fd(), path);
        let reader = opened.map(|it| BufReader::new(it.take(LIMIT)));
        reader
            .into_iter()
            .flat_map(|mut reader| std::iter::from_fn(move || read_line(&mut reader)).flatten())
    }
}

/// Opens a regular file below `root`. It is looked at before it is opened for reading: opening a
/// FIFO or a device would already do something.
fn open_regular(root: BorrowedFd<'_>, path: &str) -> Option<File> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(root, path, flags, Mode::empty(), resolve).ok()?;
    let stat = fstat(&found).ok()?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return None;
    }
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&found));
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    rustix::fs::openat(CWD, again, flags, Mode::empty()).ok().map(File::from)
}

/// Reads a line; `Some(None)` is one that is too long, or no text: it is skipped.
fn read_line(reader: &mut impl std::io::BufRead) -> Option<Option<String>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(LINE as u64).read_until(b'\n', &mut line).ok()?;
    if read == 0 {
        return None;
    }
    if line.last() != Some(&b'\n') && read == LINE {
        skip_line(reader)?;
        return Some(None);
    }
    while line.last().is_some_and(|it| b"\r\n".contains(it)) {
        line.pop();
    }
    Some(String::from_utf8(line).ok())
}

fn skip_line(reader: &mut impl std::io::BufRead) -> Option<()> {
    loop {
        let available = reader.fill_buf().ok()?;
        if available.is_empty() {
            return Some(());
        }
        let (length, found) = match available.iter().position(|it| *it == b'\n') {
            Some(at) => (at + 1, true),
            None => (available.len(), false),
        };
        reader.consume(length);
        if found {
            return Some(());
        }
    }
}

#[derive(Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let (uid, gid) = (number(fields.next()?)?, number(fields.next()?)?);
    let home = fields.nth(1).unwrap_or_default();
    let home = if is_clean(home) { home.to_owned() } else { String::new() };
    Some(Account { name: name.to_owned(), uid, gid, home })
}

#[derive(Debug)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

fn group(line: &str) -> Option<Group> {
    let mut fields = line.split(':');
    let (name, _password) = (fields.next()?, fields.next()?);
    let gid = number(fields.next()?)?;
    let members = fields.next().unwrap_or_default().split(',').map(str::to_owned).collect();
    Some(Group { name: name.to_owned(), gid, members })
}

fn is_clean(text: &str) -> bool {
    text.starts_with('/') && !text.chars().any(char::is_control)
}

/// A number in range; nothing for what is no number at all.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|it| *it <= HIGHEST)
}

fn is_numeric(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
}

/// Finds out whom `given` (`user`, `uid`, with or without `:group`, `:gid`) and the further
/// groups `add` mean.
pub(crate) fn resolve(root: &Root, given: &str, add: &[String]) -> Result<User, EngineError> {
    let (name, group_name) = match given.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|it| !it.is_empty())),
        None => (given, None),
    };
    let found = find_account(root, name)?;
    let gid = match group_name {
        Some(name) => find_group(root, name)?,
        None => found.gid,
    };
    // The primary group is among the further ones, too: else a file that is closed to that group
    // would open once the process gives the group up (CVE-2022-36109).
    let mut groups = vec![gid];
    let mut join = |gid: u32| {
        if !groups.contains(&gid) {
            groups.push(gid);
        }
    };
    if group_name.is_none() && !found.name.is_empty() {
        let is_member = |it: &Group| it.members.contains(&found.name);
        let all = root.lines("etc/group").filter_map(|it| group(&it));
        all.filter(is_member).take(1024).for_each(|it| join(it.gid));
    }
    for name in add {
        join(find_group(root, name)?);
    }
    let home = if found.home.is_empty() { "/".to_owned() } else { found.home };
    Ok(User { uid: found.uid, gid, groups, home })
}

fn find_account(root: &Root, name: &str) -> Result<Account, EngineError> {
    let mut accounts = root.lines("etc/passwd").filter_map(|it| account(&it));
    if name.is_empty() || is_numeric(name) {
        let uid = if name.is_empty() { Some(0) } else { number(name) };
        let uid = uid.ok_or_else(|| out_of_range("uids and gids", name))?;
        let unknown = Account { name: String::new(), uid, gid: 0, home: String::new() };
        return Ok(accounts.find(|it| it.uid == uid).unwrap_or(unknown));
    }
    accounts.find(|it| it.name == name).ok_or_else(|| {
        EngineError::invalid(format!(
            "unable to find user {name}: no matching entries in passwd file"
        ))
    })
}

fn find_group(root: &Root, name: &str) -> Result<u32, EngineError> {
    if is_numeric(name) {
        return number(name).ok_or_else(|| out_of_range("uids and gids", name));
    }
    let mut groups = root.lines("etc/group").filter_map(|it| group(&it));
    groups.find(|it| it.name == name).map(|it| it.gid).ok_or_else(|| {
        EngineError::invalid(format!(
            "unable to find group {name}: no matching entries in group file"
        ))
    })
}

fn out_of_range(what: &str, value: &str) -> EngineError {
    EngineError::invalid(format!("{what} must be in range 0-{HIGHEST}: {value}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\n\
                          evil:x:7:7::/a\u{1}b:/bin/sh\n4242:x:5:5::/five:/bin/sh\nshort:x\n";
    const GROUP: &str = "root:x:0:\nwww:x:33:\naudio:x:29:www,root\n99:x:6:\n";

    fn resolved(given: &str, add: &[&str]) -> Result<User, String> {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("etc")).unwrap();
        fs::write(scratch.path().join("etc/passwd"), PASSWD).unwrap();
        fs::write(scratch.path().join("etc/group"), GROUP).unwrap();
        let root = Root::of_directory(scratch.path()).unwrap();
        let add: Vec<_> = add.iter().map(|it| (*it).to_owned()).collect();
        resolve(&root, given, &add).map_err(|it| it.to_string())
    }

    fn user(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<User, String> {
        Ok(User { uid, gid, groups: groups.to_vec(), home: home.to_owned() })
    }

    #[test]
    fn users_and_groups_are_found_by_name_and_number() {
        assert_eq!(resolved("", &[]), user(0, 0, &[0, 29], "/root"));
        assert_eq!(resolved("www", &[]), user(33, 33, &[33, 29], "/var/www"));
        assert_eq!(resolved("33", &[]), user(33, 33, &[33, 29], "/var/www"));
        assert_eq!(resolved("www:audio", &[]), user(33, 29, &[29], "/var/www"));
        let added = resolved("1000:1000", &["audio", "7", "1000"]);
        assert_eq!(added, user(1000, 1000, &[1000, 29, 7], "/"));
    }

    #[test]
    fn a_number_is_never_a_name() {
        assert_eq!(resolved("4242", &[]), user(4242, 0, &[0], "/"));
        assert_eq!(resolved("0:99", &[]), user(0, 99, &[99], "/root"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for given in ["4294967296", "2147483648", "-1", "0:4294967295"] {
            assert!(resolved(given, &[]).unwrap_err().contains("must be in range"), "{given}");
        }
    }

    #[test]
    fn an_unknown_user_is_named() {
        assert!(resolved("nobody", &[]).unwrap_err().contains("unable to find user nobody"));
        assert!(resolved("www:x y", &[]).unwrap_err().contains("unable to find group x y"));
    }

    #[test]
    fn a_home_with_control_characters_is_none() {
        assert_eq!(resolved("evil", &[]), user(7, 7, &[7], "/"));
    }

    #[test]
    fn only_regular_files_inside_are_read() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", scratch.path().join("etc/passwd")).unwrap();
        let fifo = scratch.path().join("etc/group");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let root = Root::of_directory(scratch.path()).unwrap();
        assert_eq!(resolve(&root, "0", &[]).unwrap().home, "/");
        for given in ["root", "0:audio"] {
            let error = resolve(&root, given, &[]).unwrap_err();
            assert!(error.to_string().contains("no matching entries"), "{error}");
        }
    }
}
