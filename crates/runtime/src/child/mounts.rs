//! The mounts of a container, each put at its place by descriptor.

use std::{
    io::Read as _,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, fstat, fstatfs},
    io::{Errno, fcntl_dupfd_cloexec},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    },
};
use wadah_sys::{
    mount::{Change, attribute, set_attributes},
    rootfs::Root,
};

use super::{Container, cgroup_mount, copy_up};
use crate::{
    channel::{Context, Failure},
    plan::{Attributes, Kind, Mount, Source},
};

/// Places below `/proc` that may be mounted over: files that programs like lxcfs provide.
const MAY_COVER_IN_PROC: &[&str] = &[
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/crypto/fips_enabled",
    "sys/kernel/ns_last_pid",
    "uptime",
];

/// Puts mounts in their places.
pub(super) struct Mounter<'a> {
    root: &'a Root,
    container: &'a Container<'a>,
    /// Filesystems that are to be read-only once everything in them is made.
    read_only_later: Vec<OwnedFd>,
    devpts: Option<OwnedFd>,
}

impl<'a> Mounter<'a> {
    pub(super) fn new(root: &'a Root, container: &'a Container<'a>) -> Self {
        Self { root, container, read_only_later: Vec::new(), devpts: None }
    }

    /// Mounts everything, in the order of the specification.
    pub(super) fn mount_all(&mut self) -> Result<(), Failure> {
        let Container { plan, prepared, .. } = *self.container;
        for (mount, source) in plan.mounts.iter().zip(&prepared.sources) {
            self.mount(mount, source.as_ref())?;
        }
        Ok(())
    }

    /// The terminal filesystem of the container, if it has one of its own.
    pub(super) fn take_devpts(&mut self) -> Option<OwnedFd> {
        self.devpts.take()
    }

    /// Whether `/dev` is somebody else's, in which no devices are made.
    pub(super) fn dev_is_bound(&self) -> bool {
        let is_dev = |it: &&Mount| it.destination == Path::new("/dev");
        let mounts = &self.container.plan.mounts;
        mounts.iter().filter(is_dev).any(|it| matches!(it.kind, Kind::Bind { .. }))
    }

    /// Makes read-only what had to be writable until now.
    pub(super) fn make_read_only(&self) -> Result<(), Failure> {
        let change = Change { set: attribute::READ_ONLY, ..Change::default() };
        for mount in &self.read_only_later {
            set_attributes(mount.as_fd(), &change).step(|| "make a filesystem read-only")?;
        }
        Ok(())
    }

    fn mount(&mut self, mount: &Mount, source: Option<&Source>) -> Result<(), Failure> {
        match (&mount.kind, source) {
            (Kind::Bind { .. }, Some(source)) => self.bind(mount, source),
            (Kind::Filesystem { name, parameters }, _) => self.make(mount, name, parameters),
            (Kind::Cgroup, _) => {
                let target = self.directory(mount)?;
                let later = cgroup_mount::mount(mount, target.as_fd(), self.container)?;
                self.read_only_later.extend(later);
                Ok(())
            }
            (Kind::Remount, _) => self.remount(mount),
            (Kind::Bind { .. }, None) => Err(Errno::BADF).step(|| describe(mount)),
        }
    }

    fn bind(&self, mount: &Mount, source: &Source) -> Result<(), Failure> {
        let tree = source.tree.as_fd();
        self.refuse_false_proc(mount, Some(tree))?;
        let target = if source.is_directory { self.directory(mount)? } else { self.file(mount)? };
        // A mount that nobody said otherwise about sees the host's further mounts, and the host
        // does not see ours, as with the root's own propagation in other runtimes.
        let is_shared = MountPropagationFlags::SHARED;
        let root_is_shared =
            self.container.plan.root_propagation.is_some_and(|it| it.flag == is_shared);
        if mount.propagation.is_empty() && !root_is_shared {
            let propagation = MountPropagationFlags::DOWNSTREAM.bits().into();
            let change = Change { propagation, recursive: true, ..Change::default() };
            set_attributes(tree, &change).step(|| describe(mount))?;
        }
        self.finish(mount, tree)?;
        place(tree, target.as_fd(), mount)
    }

    fn make(
        &mut self,
        mount: &Mount,
        name: &str,
        parameters: &[(String, Option<String>)],
    ) -> Result<(), Failure> {
        self.refuse_false_proc(mount, None)?;
        let target = self.directory(mount)?;
        let mut attributes = mount.attributes;
        let later = name == "tmpfs" && attributes.set & attribute::READ_ONLY != 0;
        if later {
            attributes.set &= !attribute::READ_ONLY;
        }
        let filesystem = make_filesystem(name, parameters, attributes)
            .map_err(|(errno, words)| step_of(mount, errno, &words))?;
        if mount.copy_up {
            copy_up::copy(target.as_fd(), filesystem.as_fd()).step(|| describe(mount))?;
        }
        let rest = Mount { attributes: Attributes::default(), ..mount.clone() };
        self.finish(&rest, filesystem.as_fd())?;
        place(filesystem.as_fd(), target.as_fd(), mount)?;
        if name == "devpts" {
            self.devpts = Some(fcntl_dupfd_cloexec(&filesystem, 3).step(|| describe(mount))?);
        }
        if later {
            self.read_only_later.push(filesystem);
        }
        Ok(())
    }

    /// Changes the mount that is at the destination.
    fn remount(&self, mount: &Mount) -> Result<(), Failure> {
        let there = self.root.open_at(&mount.destination, OFlags::PATH, Mode::empty());
        self.finish(mount, there.step(|| describe(mount))?.as_fd())
    }

    /// Attributes and propagation of a mount that is there.
    fn finish(&self, mount: &Mount, fd: BorrowedFd<'_>) -> Result<(), Failure> {
        for (attributes, recursive) in [(mount.attributes, false), (mount.recursive, true)] {
            if !attributes.is_empty() {
                let Attributes { set, clear } = attributes;
                let change = Change { set, clear, recursive, ..Change::default() };
                set_attributes(fd, &change).step(|| describe(mount))?;
            }
        }
        for propagation in &mount.propagation {
            let change = Change {
                propagation: propagation.flag.bits().into(),
                recursive: propagation.recursive,
                ..Change::default()
            };
            set_attributes(fd, &change).step(|| describe(mount))?;
        }
        Ok(())
    }

    fn directory(&self, mount: &Mount) -> Result<OwnedFd, Failure> {
        let path = &mount.destination;
        let made = if is_system_path(path) {
            // Nothing is made before it is known that no link is on the way.
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            match self.root.open_no_links(path, flags, Mode::empty()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => self
                    .root
                    .mkdir_all(path, DIRECTORY)
                    .and_then(|_| self.root.open_no_links(path, flags, Mode::empty())),
                outcome => outcome,
            }
        } else {
            self.root.mkdir_all(path, DIRECTORY)
        };
        self.checked(mount, made.step(|| describe(mount))?)
    }

    fn file(&self, mount: &Mount) -> Result<OwnedFd, Failure> {
        let path = &mount.destination;
        let made = if is_system_path(path) {
            match self.root.open_no_links(path, OFlags::PATH, Mode::empty()) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => self
                    .root
                    .make_file(path, FILE)
                    .and_then(|_| self.root.open_no_links(path, OFlags::PATH, Mode::empty())),
                outcome => outcome,
            }
        } else {
            self.root.make_file(path, FILE)
        };
        let made = made.step(|| describe(mount))?;
        let kind = fstat(&made).step(|| describe(mount))?.st_mode;
        if FileType::from_raw_mode(kind) == FileType::Directory {
            return Err(Errno::ISDIR).step(|| describe(mount));
        }
        self.checked(mount, made)
    }

    /// A process that reads or writes below `/proc` must reach the kernel and nobody else.
    fn checked(&self, mount: &Mount, target: OwnedFd) -> Result<OwnedFd, Failure> {
        let kind = fstatfs(&target).step(|| describe(mount))?.f_type;
        let inside = mount.destination.strip_prefix("/proc");
        let allowed =
            inside.is_ok_and(|it| MAY_COVER_IN_PROC.iter().any(|name| it == Path::new(name)));
        let is_proc = matches!(&mount.kind, Kind::Filesystem { name, .. } if name == "proc");
        if kind == PROC_SUPER_MAGIC && !is_proc && !allowed {
            return Err(Errno::PERM).step(|| format!("{}: inside /proc", describe(mount)));
        }
        Ok(target)
    }

    /// At `/proc` itself only a procfs may be.
    fn refuse_false_proc(
        &self,
        mount: &Mount,
        tree: Option<BorrowedFd<'_>>,
    ) -> Result<(), Failure> {
        if mount.destination != Path::new("/proc") {
            return Ok(());
        }
        let is_proc = match (&mount.kind, tree) {
            (Kind::Filesystem { name, .. }, _) => name == "proc",
            (_, Some(tree)) => fstatfs(tree).is_ok_and(|it| it.f_type == PROC_SUPER_MAGIC),
            _ => false,
        };
        if is_proc {
            Ok(())
        } else {
            Err(Errno::PERM).step(|| format!("{}: not a procfs", describe(mount)))
        }
    }
}

const DIRECTORY: Mode = Mode::from_raw_mode(0o755);
const FILE: Mode = Mode::from_raw_mode(0o644);

/// Whether an image's links may not lead a mount elsewhere: programs trust what is there.
fn is_system_path(path: &Path) -> bool {
    ["/proc", "/sys", "/dev"].iter().any(|it| path.starts_with(it))
}

/// Makes a filesystem, attached nowhere. On an error, with what the kernel says about it.
pub(super) fn make_filesystem(
    name: &str,
    parameters: &[(String, Option<String>)],
    attributes: Attributes,
) -> Result<OwnedFd, (Errno, String)> {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|it| (it, String::new()))?;
    let explain = |errno| (errno, read_log(&context));
    for (key, value) in parameters {
        match value {
            Some(value) => fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => fsconfig_set_flag(&context, key.as_str()),
        }
        .map_err(|errno| (errno, format!("option {key:?} {}", read_log(&context))))?;
    }
    fsconfig_create(&context).map_err(explain)?;
    let set = u32::try_from(attributes.set).unwrap_or(0);
    let attributes = MountAttrFlags::from_bits_retain(set);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(explain)
}

/// The kernel's last words about a filesystem that it refuses.
fn read_log(context: &OwnedFd) -> String {
    let mut words = String::new();
    if let Ok(copy) = context.try_clone() {
        let mut line = [0; 256];
        if let Ok(length) = std::fs::File::from(copy).read(&mut line) {
            words = String::from_utf8_lossy(&line[..length]).trim().to_owned();
        }
    }
    words
}

/// Attaches a detached mount at a place that was walked to.
pub(super) fn place(
    detached: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    mount: &Mount,
) -> Result<(), Failure> {
    attach(detached, target).step(|| describe(mount))
}

/// Attaches a detached mount, both by descriptor.
pub(super) fn attach(detached: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let both = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(detached, "", target, "", both)
}

fn step_of(mount: &Mount, errno: Errno, words: &str) -> Failure {
    let step =
        if words.is_empty() { describe(mount) } else { format!("{} ({words})", describe(mount)) };
    Failure::Step { step, errno: errno.raw_os_error() }
}

/// What is being mounted, for a message.
pub(super) fn describe(mount: &Mount) -> String {
    let destination = &mount.destination;
    match &mount.kind {
        Kind::Bind { source, .. } => format!("mount {source:?} at {destination:?}"),
        Kind::Filesystem { name, .. } => format!("mount {name} at {destination:?}"),
        Kind::Cgroup => format!("mount the control groups at {destination:?}"),
        Kind::Remount => format!("remount {destination:?}"),
    }
}
