//! Network namespaces, and a pool of ready ones.
//!
//! Making a namespace takes the kernel longer than all the rest of a container's network, so a
//! thread keeps a few in store.
//!
//! **Invariant:** a namespace is held by descriptors only, never by a mount; when the last of them
//! is closed and the last process in it is gone, the kernel takes it down in the background, with
//! its end of every veth pair and therefore the pair.
//! **Invariant:** the pool's thread never stays inside a namespace that it hands out.

use std::{
    collections::VecDeque,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use wadah_sys::{
    netlink::namespace,
    rtnetlink::{Change, RouteSocket},
};

use crate::{NetError, sysctl};

/// The loopback interface is the first of every namespace.
const LOOPBACK: u32 = 1;

/// A network namespace, and a socket to configure it with.
///
/// Holding this keeps the namespace alive, and with it the container's network: drop it once the
/// container runs.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    links: Mutex<RouteSocket>,
}

/// Ready namespaces: loopback up, parameters set.
#[derive(Debug)]
pub struct NamespacePool {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Namespace>,
    closing: bool,
}

impl Namespace {
    /// Makes a namespace as the pool does.
    pub fn make() -> Result<Self, NetError> {
        let (fd, links) = namespace::make(prepare)?;
        Ok(Self { fd, links: Mutex::new(links?) })
    }

    /// Takes a namespace that exists: a running container's.
    pub fn adopt(fd: OwnedFd) -> Result<Self, NetError> {
        let links = namespace::visit(fd.as_fd(), RouteSocket::open)?;
        let links = links.map_err(NetError::netlink("configure a network namespace"))?;
        Ok(Self { fd, links: Mutex::new(links) })
    }

    /// The namespace's descriptor, for the container's set-up to enter.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The descriptor alone.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(crate) fn links(&self) -> MutexGuard<'_, RouteSocket> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl NamespacePool {
    /// Starts to fill a pool of `size` namespaces.
    pub fn new(size: usize) -> Result<Self, NetError> {
        let shared = Shared { size, state: Mutex::default(), changed: Condvar::new() };
        let shared = Arc::new(shared);
        let worker = thread::Builder::new().name("wadah-netns".to_owned()).stack_size(64 << 10);
        let worker = worker.spawn({
            let shared = Arc::clone(&shared);
            move || shared.refill()
        });
        let worker = worker.map_err(|source| NetError::Thread { source })?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// Takes a ready namespace, or makes one if none is ready.
    pub fn take(&self) -> Result<Namespace, NetError> {
        let ready = self.shared.lock().ready.pop_front();
        self.shared.changed.notify_all();
        ready.map_or_else(Namespace::make, Ok)
    }

    /// How many are ready.
    pub fn ready(&self) -> usize {
        self.shared.lock().ready.len()
    }
}

impl Drop for NamespacePool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // A panic of the worker has been reported by the panic hook; there is no more to do.
            let _panicked = worker.join();
        }
    }
}

impl Shared {
    fn refill(&self) {
        let mut state = self.lock();
        while !state.closing {
            if state.ready.len() >= self.size {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            drop(state);
            let made = Namespace::make();
            state = self.lock();
            match made {
                Ok(namespace) => state.ready.push_back(namespace),
                // `take` makes its own and tells why it cannot; trying again waits for that.
                Err(_) => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        state.ready.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets up a namespace, from a thread inside of it.
fn prepare() -> Result<RouteSocket, NetError> {
    // Interfaces to come have no IPv6 unless their network has: neither addresses of their own
    // nor ears for router advertisements (CVE-2020-13401, CVE-2024-32473). The loopback is there
    // already and keeps ::1.
    sysctl::set_if_present("ipv6/conf/default/disable_ipv6", "1")?;
    sysctl::set_if_present("ipv6/conf/default/accept_ra", "0")?;
    // As Docker: every port of a container is its own, and ping needs no privilege.
    sysctl::set("ipv4/ip_unprivileged_port_start", "0")?;
    sysctl::set("ipv4/ping_group_range", "0 2147483647")?;

    let configure = || {
        let mut links = RouteSocket::open()?;
        links.apply(&[Change::SetUp { link: LOOPBACK }])?;
        links.rest();
        Ok(links)
    };
    configure().map_err(NetError::netlink("configure a network namespace"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_namespace_has_its_loopback_up_and_the_thread_comes_home() {
        let inode = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = inode();
        let namespace = Namespace::make().unwrap();
        assert_eq!(inode(), before);
        let link = namespace.links().link("lo").unwrap();
        assert_eq!((link.index, link.flags & wadah_sys::rtnetlink::UP), (LOOPBACK, 1));
        let links = namespace::visit(namespace.fd(), inode).unwrap();
        assert_ne!(links, before);
    }

    #[test]
    fn a_pool_hands_out_different_namespaces_even_when_empty() {
        let pool = NamespacePool::new(2).unwrap();
        let taken: Vec<Namespace> = (0..6).map(|_| pool.take().unwrap()).collect();
        let mut inodes: Vec<u64> =
            taken.iter().map(|it| rustix::fs::fstat(it).unwrap().st_ino).collect();
        inodes.sort_unstable();
        inodes.dedup();
        assert_eq!(inodes.len(), 6);
    }
}
