//! What the parent prepares for the new process: mounts that are attached nowhere yet.
//!
//! The sources of bind mounts are paths of the host: they are opened here, with the host's
//! privileges and in the host's mount namespace, because inside a user namespace a source may be
//! out of reach. What is opened is a detached copy of the tree: seen by nobody, gone with its
//! descriptor.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, fstat},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
    },
};
use wadah_sys::mount::{Change, attribute, set_attributes};

use crate::{
    CreateError, Overlay, Request, Rootfs,
    idmap::{self, UserNamespace},
    plan::{Kind, Mount, Plan, mount::IdMap},
};

/// The detached mounts of a container.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The root filesystem.
    pub(crate) root: OwnedFd,
    /// For each planned mount, what the parent opened for it.
    pub(crate) sources: Vec<Option<Source>>,
}

/// The opened source of a bind mount.
#[derive(Debug)]
pub(crate) struct Source {
    /// The detached tree.
    pub(crate) tree: OwnedFd,
    /// Whether it is a directory.
    pub(crate) is_directory: bool,
}

/// Opens everything that a container's mounts come from.
pub(crate) fn prepare(request: &Request<'_>, plan: &Plan<'_>) -> Result<Prepared, CreateError> {
    let root = match request.rootfs {
        Rootfs::Directory(path) => directory(path),
        Rootfs::Overlay(overlay) => mount_overlay(overlay),
    };
    let path = match request.rootfs {
        Rootfs::Directory(path) => path,
        Rootfs::Overlay(overlay) => &overlay.upper,
    };
    let root = root.map_err(|source| CreateError::Rootfs { path: path.into(), source })?;
    let sources = plan.mounts.iter().map(|it| source(it, request, plan));
    Ok(Prepared { root, sources: sources.collect::<Result<_, _>>()? })
}

/// The copy receives what the host mounts below later, but passes nothing on: what the container
/// mounts on it must not appear on the host.
fn directory(path: &Path) -> io::Result<OwnedFd> {
    let tree = clone_tree(path, true)?;
    let propagation = libc_slave();
    set_attributes(tree.as_fd(), &Change { propagation, recursive: true, ..Change::default() })?;
    Ok(tree)
}

fn libc_slave() -> u64 {
    rustix::mount::MountPropagationFlags::DOWNSTREAM.bits().into()
}

/// Layers are named one by one, which has neither the limit of one page nor that of characters.
fn mount_overlay(overlay: &Overlay) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    for layer in &overlay.lower {
        match fsconfig_set_string(&context, "lowerdir+", layer) {
            // Linux before 6.5: all at once, as long as they fit into a page.
            Err(Errno::INVAL) if std::ptr::eq(layer, &raw const overlay.lower[0]) => {
                fsconfig_set_string(&context, "lowerdir", joined(overlay))?;
                break;
            }
            outcome => outcome?,
        }
    }
    fsconfig_set_string(&context, "upperdir", &overlay.upper)?;
    fsconfig_set_string(&context, "workdir", &overlay.work)?;
    if overlay.volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn joined(overlay: &Overlay) -> String {
    let escape =
        |it: &std::path::PathBuf| it.to_string_lossy().replace('\\', "\\\\").replace(':', "\\:");
    overlay.lower.iter().map(escape).collect::<Vec<_>>().join(":")
}

fn source(
    mount: &Mount,
    request: &Request<'_>,
    plan: &Plan<'_>,
) -> Result<Option<Source>, CreateError> {
    let Kind::Bind { source, recursive } = &mount.kind else { return Ok(None) };
    let path = request.bundle.join(source);
    let opened = open_source(&path, *recursive, mount, plan);
    opened.map(Some).map_err(|source| CreateError::MountSource {
        path,
        destination: mount.destination.clone(),
        source,
    })
}

fn open_source(path: &Path, recursive: bool, mount: &Mount, plan: &Plan<'_>) -> io::Result<Source> {
    let tree = clone_tree(path, recursive)?;
    let kind = FileType::from_raw_mode(fstat(&tree)?.st_mode);
    let is_directory = kind == FileType::Directory;
    if let Some(id_map) = &mount.id_map {
        map_ids(tree.as_fd(), id_map, plan)?;
    }
    Ok(Source { tree, is_directory })
}

fn clone_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let below = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    Ok(open_tree(CWD, path, flags | below)?)
}

fn map_ids(tree: BorrowedFd<'_>, id_map: &IdMap, plan: &Plan<'_>) -> io::Result<()> {
    let namespace = match (&id_map.maps, &plan.namespaces.id_maps) {
        (Some((users, groups)), _) => {
            UserNamespace::make(&idmap::text(users), &idmap::text(groups))?
        }
        (None, Some((users, groups))) => UserNamespace::make(users, groups)?,
        (None, None) => return Err(Errno::INVAL.into()),
    };
    let change = Change {
        set: attribute::IDMAP,
        user_namespace: Some(namespace.as_fd()),
        recursive: id_map.recursive,
        ..Change::default()
    };
    set_attributes(tree, &change)
}
