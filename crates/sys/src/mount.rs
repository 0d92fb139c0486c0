//! Mount attributes: the one call of the new mount interface that `rustix` lacks.

use std::{
    ffi::CStr,
    io,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd},
};

/// What to change about a mount, as in `mount_setattr(2)`.
#[derive(Debug, Default, Clone, Copy)]
pub struct Change<'a> {
    /// `MOUNT_ATTR_*` to set.
    pub set: u64,
    /// `MOUNT_ATTR_*` to clear, before the setting.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE`, `MS_UNBINDABLE` or 0 for no change.
    pub propagation: u64,
    /// The user namespace whose maps the mount takes, with [`attribute::IDMAP`] in `set`.
    pub user_namespace: Option<BorrowedFd<'a>>,
    /// Whether all mounts below are changed too.
    pub recursive: bool,
}

/// `MOUNT_ATTR_*`.
pub mod attribute {
    /// Read-only.
    pub const READ_ONLY: u64 = 0x1;
    /// No set-user-id.
    pub const NO_SUID: u64 = 0x2;
    /// No device nodes.
    pub const NO_DEV: u64 = 0x4;
    /// No execution.
    pub const NO_EXEC: u64 = 0x8;
    /// The bits of access time updates: all must be cleared to set one value.
    pub const ACCESS_TIME: u64 = 0x70;
    /// No access times.
    pub const NO_ACCESS_TIME: u64 = 0x10;
    /// Always access times.
    pub const STRICT_ACCESS_TIME: u64 = 0x20;
    /// No access times of directories.
    pub const NO_DIRECTORY_ACCESS_TIME: u64 = 0x80;
    /// Ids mapped by a user namespace.
    pub const IDMAP: u64 = 0x10_0000;
    /// No following of symbolic links.
    pub const NO_SYMLINKS: u64 = 0x20_0000;
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Changes the mount that `mount` refers to.
pub fn set_attributes(mount: BorrowedFd<'_>, change: &Change<'_>) -> io::Result<()> {
    set_attributes_at(mount, c"", change)
}

/// Changes the mount at `path`, seen from `directory`.
pub fn set_attributes_at(
    directory: BorrowedFd<'_>,
    path: &CStr,
    change: &Change<'_>,
) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let attr = MountAttr {
        attr_set: change.set,
        attr_clr: change.clear,
        propagation: change.propagation,
        userns_fd: change.user_namespace.map_or(0, |it| it.as_raw_fd() as u64),
    };
    let empty = if path.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let flags = empty | if change.recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: `path` is a C string and `attr` a valid `mount_attr` of the size given; both outlive
    // the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
