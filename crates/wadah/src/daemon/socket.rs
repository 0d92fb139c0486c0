//! The sockets that clients connect to.
//!
//! **Invariant:** a socket is never seen with wider permissions than it ends up with: it gets
//! them under another name and is renamed into place, which also replaces a stale one at once.
//! **Invariant:** a socket that another daemon answers on is never taken away from it.

use std::{
    env, fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
            net,
        },
    },
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use tokio::net::UnixListener;
use wadah_api::Listener;
use wadah_sys::spawn::inherited;

/// Where clients look.
const DEFAULT: &str = "/run/wadah/wadah.sock";

/// The group that may use the default socket, where it exists.
const GROUP: &str = "wadah";

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A unix socket.
    Unix(PathBuf),
    /// Sockets that the service manager has bound already.
    Activated,
}

/// A socket that is listened on.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    address: String,
    cleanup: Option<Cleanup>,
}

/// Removes a socket's file when dropped, if it is still the same.
#[derive(Debug)]
pub(super) struct Cleanup {
    path: PathBuf,
    inode: u64,
}

/// Listens on all of `hosts`, and on the sockets that were `passed`. Where neither is given, on
/// the default socket.
pub(super) fn bind_all(
    hosts: &[Host],
    passed: Vec<OwnedFd>,
    group: Option<&str>,
) -> Result<Vec<Socket>> {
    let wants_passed = hosts.contains(&Host::Activated);
    if wants_passed && passed.is_empty() {
        bail!("cannot listen on fd://: the service manager passed no socket");
    }
    let mut sockets = passed.into_iter().map(adopt).collect::<Result<Vec<_>>>()?;
    for host in hosts {
        if let Host::Unix(path) = host {
            sockets.push(bind(path, group)?);
        }
    }
    if sockets.is_empty() {
        sockets.push(bind(Path::new(DEFAULT), group)?);
    }
    Ok(sockets)
}

fn bind(path: &Path, group: Option<&str>) -> Result<Socket> {
    let shown = path.display();
    make_way(path)?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    drop(fs::remove_file(&temporary));
    let listener =
        UnixListener::bind(&temporary).with_context(|| format!("cannot listen on {shown}"))?;
    restrict(&temporary, group)?;
    fs::rename(&temporary, path).with_context(|| format!("cannot put {shown} in place"))?;
    let inode = fs::metadata(path).with_context(|| format!("cannot look at {shown}"))?.ino();
    let cleanup = Some(Cleanup { path: path.to_owned(), inode });
    Ok(Socket { listener, address: format!("unix://{shown}"), cleanup })
}

/// Refuses a path that is taken: by another daemon, or by something that is no socket.
fn make_way(path: &Path) -> Result<()> {
    let shown = path.display();
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        bail!("cannot listen on {shown}: it exists and is not a socket");
    }
    match net::UnixStream::connect(path) {
        Ok(_) => bail!("cannot listen on {shown}: another daemon answers there"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!("replacing the stale socket {shown}");
            Ok(())
        }
        Err(error) => Err(error).with_context(|| format!("cannot replace {shown}")),
    }
}

/// Mode 0660, for the group if it exists.
fn restrict(path: &Path, group: Option<&str>) -> Result<()> {
    let shown = path.display();
    let gid = match group {
        None => group_id(GROUP),
        Some(name) => Some(group_id(name).with_context(|| format!("there is no group {name:?}"))?),
    };
    if let Some(gid) = gid {
        chown(path, None, Some(gid)).with_context(|| format!("cannot change group of {shown}"))?;
    }
    let mode = fs::Permissions::from_mode(0o660);
    fs::set_permissions(path, mode).with_context(|| format!("cannot change mode of {shown}"))
}

/// Looks a group up in `/etc/group`: a static executable has no other name service.
fn group_id(name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let groups = fs::read_to_string("/etc/group").ok()?;
    let mut entries = groups.lines().map(|it| it.split(':'));
    let mut entry = entries.find(|it| it.clone().next() == Some(name))?;
    entry.nth(2)?.parse().ok()
}

/// Takes over the descriptors that the service manager passed (sd_listen_fds(3)), if it did. To
/// be called before anything else opens a descriptor.
pub(super) fn passed() -> Result<Vec<OwnedFd>> {
    let is_for_us = env::var("LISTEN_PID").is_ok_and(|it| it == std::process::id().to_string());
    let count = env::var("LISTEN_FDS").ok().and_then(|it| it.parse().ok()).unwrap_or(0);
    if !is_for_us || count <= 0 {
        return Ok(Vec::new());
    }
    inherited(count).context("cannot take over the sockets of the service manager")
}

fn adopt(descriptor: OwnedFd) -> Result<Socket> {
    let listener = net::UnixListener::from(descriptor);
    let address = listener.local_addr().context("a socket that was passed is no unix socket")?;
    let path = address.as_pathname().unwrap_or(Path::new("?")).display().to_string();
    listener.set_nonblocking(true).with_context(|| format!("cannot use socket {path}"))?;
    let listener = UnixListener::from_std(listener)
        .with_context(|| format!("cannot listen on socket {path}"))?;
    Ok(Socket { listener, address: format!("unix://{path}"), cleanup: None })
}

impl Socket {
    /// As clients name it.
    pub(super) fn address(&self) -> String {
        self.address.clone()
    }

    /// The listener, and what removes its file in the end.
    pub(super) fn into_parts(self) -> (Listener, Option<Cleanup>) {
        (Listener::Unix(self.listener), self.cleanup)
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        let is_ours = fs::metadata(&self.path).is_ok_and(|it| it.ino() == self.inode);
        if is_ours {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("wadah-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let directory = directory("socket");
        let path = directory.join("s");
        drop(net::UnixListener::bind(&path).unwrap());
        let socket = bind(&path, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        let error = bind(&path, None).unwrap_err().to_string();
        assert!(error.contains("another daemon answers"), "{error}");
        let (listener, cleanup) = socket.into_parts();
        drop((listener, cleanup));
        assert!(!path.exists());
        fs::remove_dir_all(directory).unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let directory = directory("no-socket");
        let path = directory.join("s");
        fs::write(&path, "precious").unwrap();
        let error = bind(&path, None).unwrap_err().to_string();
        assert!(error.contains("is not a socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fs::remove_dir_all(directory).unwrap();
    }
}
