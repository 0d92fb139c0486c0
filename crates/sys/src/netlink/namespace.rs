//! Network namespaces: making one, and visiting one.
//!
//! A namespace belongs to a thread. Neither function leaves the calling thread elsewhere than it
//! was, unless going back fails, which is an error of its own: such a thread must end.

use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

/// Why a namespace was not made or visited.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// No new namespace.
    #[error("cannot make a network namespace")]
    Make {
        /// The kernel's reason.
        source: Errno,
    },
    /// The thread's own namespace cannot be opened.
    #[error("cannot open the thread's network namespace")]
    Open {
        /// The kernel's reason.
        source: std::io::Error,
    },
    /// The namespace cannot be entered.
    #[error("cannot enter a network namespace")]
    Enter {
        /// The kernel's reason.
        source: Errno,
    },
}

/// Opens the calling thread's network namespace.
pub fn current() -> Result<OwnedFd, NamespaceError> {
    let open = File::open("/proc/thread-self/ns/net");
    open.map(OwnedFd::from).map_err(|source| NamespaceError::Open { source })
}

/// Makes a network namespace and runs `prepare` in it. The namespace lives as long as its
/// descriptor, or a process, or a socket of its own.
pub fn make<T>(prepare: impl FnOnce() -> T) -> Result<(OwnedFd, T), NamespaceError> {
    let home = current()?;
    // SAFETY: only the network namespace is unshared, not the descriptor table.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|source| NamespaceError::Make { source })?;
    let made = current().map(|fd| (fd, prepare()));
    enter(home.as_fd())?;
    made
}

/// Runs `visit` in `namespace`.
pub fn visit<T>(namespace: BorrowedFd<'_>, visit: impl FnOnce() -> T) -> Result<T, NamespaceError> {
    let home = current()?;
    enter(namespace)?;
    let result = visit();
    enter(home.as_fd())?;
    Ok(result)
}

/// Moves the calling thread into `namespace` for good.
pub fn enter(namespace: BorrowedFd<'_>) -> Result<(), NamespaceError> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
        .map_err(|source| NamespaceError::Enter { source })
}
