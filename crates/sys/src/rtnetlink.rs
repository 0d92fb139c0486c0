//! Links, addresses and routes.
//!
//! A [`RouteSocket`] works on the network namespace in which it was opened. [`Change`]s are sent
//! several to a datagram. Links, addresses and routes can be listed.
//!
//! A veth pair comes from one message, its far end born inside the target namespace and named;
//! nothing is moved afterwards.
//!
//! Format: `man 7 rtnetlink`, kernel `Documentation/netlink/specs/rt-*.yaml`.

mod change;
mod listing;

use std::os::fd::{AsFd, BorrowedFd};

use crate::netlink::{Messages, NetlinkError, Protocol, Socket};

pub use change::{Bridge, Change, Veth};
pub use listing::{InterfaceAddress, Link, Route};

/// `IFF_UP`: the link is administratively up.
pub const UP: u32 = 0x1;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_GROUP: u16 = 27;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `struct ifaddrmsg`.
const ADDRESS_HEADER: usize = 8;
/// `struct rtmsg`.
const ROUTE_HEADER: usize = 12;

/// A socket for links, addresses and routes.
#[derive(Debug)]
pub struct RouteSocket(Socket);

impl RouteSocket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Socket::open(Protocol::Route).map(Self)
    }

    /// Makes the changes in order, in one system call. All are tried; the first refusal is
    /// returned, its `index` that of the change.
    pub fn apply(&mut self, changes: &[Change<'_>]) -> Result<(), NetlinkError> {
        let mut messages = Messages::new();
        changes.iter().for_each(|it| it.encode(&mut messages));
        if changes.is_empty() { Ok(()) } else { self.0.send(&mut messages) }
    }

    /// Finds a link by its name; `ENODEV` when there is none.
    pub fn link(&mut self, name: &str) -> Result<Link, NetlinkError> {
        let mut messages = Messages::new();
        messages.begin(RTM_GETLINK, 0, &[0; LINK_HEADER]);
        messages.text(IFLA_IFNAME, name);
        self.0.get(&mut messages, |_, payload| Link::read(payload))
    }

    /// Lists all links.
    pub fn links(&mut self) -> Result<Vec<Link>, NetlinkError> {
        let push = |all: &mut Vec<Link>, kind, payload: &[u8]| {
            if kind == RTM_NEWLINK {
                all.push(Link::read(payload)?);
            }
            Ok(())
        };
        self.0.dump(RTM_GETLINK, &[0; LINK_HEADER], |_| {}, push)
    }

    /// Lists all addresses, IPv4 and IPv6.
    pub fn addresses(&mut self) -> Result<Vec<InterfaceAddress>, NetlinkError> {
        let push = |all: &mut Vec<InterfaceAddress>, kind, payload: &[u8]| {
            if kind == RTM_NEWADDR {
                all.extend(InterfaceAddress::read(payload)?);
            }
            Ok(())
        };
        self.0.dump(RTM_GETADDR, &[0; ADDRESS_HEADER], |_| {}, push)
    }

    /// Lists the unicast routes of all tables, IPv4 and IPv6.
    pub fn routes(&mut self) -> Result<Vec<Route>, NetlinkError> {
        let push = |all: &mut Vec<Route>, kind, payload: &[u8]| {
            if kind == RTM_NEWROUTE {
                all.extend(Route::read(payload)?);
            }
            Ok(())
        };
        self.0.dump(RTM_GETROUTE, &[0; ROUTE_HEADER], |_| {}, push)
    }

    /// Gives back the memory for answers: see [`Socket::rest`].
    pub fn rest(&mut self) {
        self.0.rest();
    }
}

impl AsFd for RouteSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
