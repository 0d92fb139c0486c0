//! A host: the bridges, endpoints and published ports of one network namespace.
//!
//! A [`Host`] remembers what it was asked for, and can therefore put right what others undo: a
//! port published while an administrator has just flushed the ruleset restores all of it.
//! [`Host::reconcile`] is the same for what an earlier daemon left.
//!
//! **Invariant:** a bridge's firewall elements are there before the bridge is, and go after it.
//! **Invariant:** nothing deletes a veth pair while somebody waits; the kernel needs tens of
//! milliseconds for it.

mod address_plan;
mod attach;
mod bridge;
mod flows;
mod reconcile;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::io::Errno;
use wadah_sys::{
    netlink::NetlinkError,
    nfnetlink::{Family, TableSocket},
    rtnetlink::RouteSocket,
};

use crate::{
    Bridge, NetError, Publication,
    firewall::{self, Elements, Strays, family_of},
    publication::HostPort,
    sysctl,
};

use flows::Change;
pub use reconcile::{Expected, Report};

/// Marks our links: the group of every bridge and of the host's side of every veth pair, by which
/// a later daemon knows them. The letters `WADH`.
const GROUP: u32 = 0x5741_4448;

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// The network namespace in which it was opened.
#[derive(Debug)]
pub struct Host {
    links: Mutex<RouteSocket>,
    tables: Mutex<TableSocket>,
    wanted: Mutex<Wanted>,
}

/// What this host was asked for.
#[derive(Debug, Default)]
struct Wanted {
    bridges: BTreeMap<String, Bridge>,
    publications: BTreeMap<HostPort, Publication>,
    /// Veth names in use or about to be, and the bridge of each as far as it is known.
    veths: BTreeMap<String, Option<String>>,
    /// Whether the host forwarded nothing before us.
    closed: bool,
}

impl Host {
    /// Opens the calling thread's network namespace. Changes nothing.
    pub fn open() -> Result<Self, NetError> {
        let links = RouteSocket::open().map_err(NetError::netlink("configure links"))?;
        let tables = TableSocket::open().map_err(firewall::no_socket)?;
        let (links, tables) = (Mutex::new(links), Mutex::new(tables));
        Ok(Self { links, tables, wanted: Mutex::default() })
    }

    /// Makes this host forward, and the firewall be there. Elements that an earlier daemon left stay
    /// until [`Host::reconcile`].
    ///
    /// A host that was no router stays none for others: it forwards only what concerns our
    /// bridges.
    pub fn ensure_firewall(&self) -> Result<(), NetError> {
        let mut wanted = wanted(self);
        self.find_out_whether_closed(&mut wanted)?;
        // The rules first: between the two the host would forward everything.
        self.restore(&wanted, Strays::Keep)?;
        if wanted.closed { sysctl::set("ipv4/ip_forward", "1") } else { Ok(()) }
    }

    /// Removes the firewall, for a host that is to forget us.
    pub fn remove_firewall(&self) -> Result<(), NetError> {
        let _wanted = wanted(self);
        FAMILIES.into_iter().try_for_each(|it| firewall::remove(&mut tables(self), it))
    }

    /// Publishes ports, all or none.
    ///
    /// Flows of UDP clients that were talking to such a port already are forgotten, so that their
    /// next packet reaches the container.
    pub fn publish(&self, publications: &[Publication]) -> Result<(), NetError> {
        publications.iter().try_for_each(same_family)?;
        let mut wanted = wanted(self);
        let leads_elsewhere = |it: &&Publication| {
            wanted.publications.get(&it.port()).is_some_and(|other| other != *it)
        };
        if let Some(publication) = publications.iter().find(leads_elsewhere) {
            return Err(NetError::PortLeadsElsewhere { publication: *publication });
        }
        let published = FAMILIES.into_iter().try_for_each(|family| {
            self.add_elements(&wanted, family, &Elements::new(family, [], publications, false))
        });
        if published.is_err() {
            // The other family's may have gone in. What was published before stays.
            let is_new = |it: &&Publication| !wanted.publications.contains_key(&it.port());
            let new: Vec<&Publication> = publications.iter().filter(is_new).collect();
            for family in FAMILIES {
                let elements = Elements::new(family, [], new.iter().copied(), false);
                let _first_error_counts = firewall::delete(&mut tables(self), family, &elements);
            }
            return published;
        }
        wanted.publications.extend(publications.iter().map(|it| (it.port(), *it)));
        drop(wanted);
        self.forget_flows(publications, Change::Published)
    }

    /// Takes ports back; those that are not published are left alone.
    pub fn unpublish(&self, publications: &[Publication]) -> Result<(), NetError> {
        let mut wanted = wanted(self);
        for it in publications {
            if wanted.publications.get(&it.port()) == Some(it) {
                wanted.publications.remove(&it.port());
            }
        }
        for family in FAMILIES {
            let elements = Elements::new(family, [], publications, false);
            if !elements.is_empty() {
                firewall::delete(&mut tables(self), family, &elements)
                    .map_err(NetError::netlink("take published ports back"))?;
            }
        }
        drop(wanted);
        self.forget_flows(publications, Change::TakenBack)
    }

    /// Puts the firewall right if it is not what it should be. Cheap when it is.
    pub fn heal_firewall(&self) -> Result<bool, NetError> {
        self.restore(&wanted(self), Strays::Remove)
    }

    /// A host that does not forward is not to forward for others. One that does may do so because
    /// of an earlier daemon, which has said so in the firewall; without a firewall of ours it is
    /// a router, and stays one.
    fn find_out_whether_closed(&self, wanted: &mut Wanted) -> Result<(), NetError> {
        if !sysctl::is_on("ipv4/ip_forward")? {
            wanted.closed = true;
        } else if !wanted.closed {
            let closed = Elements::new(Family::Ipv4, [], [], true);
            let present = firewall::present(&mut tables(self), Family::Ipv4, &closed);
            wanted.closed = present.map_err(firewall::unreadable)?;
        }
        Ok(())
    }

    /// Restores both families' tables; whether anything was wrong. A family that nothing needs
    /// has no table.
    fn restore(&self, wanted: &Wanted, strays: Strays) -> Result<bool, NetError> {
        let mut tables = tables(self);
        let mut changed = false;
        for family in FAMILIES {
            if wanted.needs(family) {
                let restored =
                    firewall::restore(&mut tables, family, &wanted.elements(family), strays)?;
                changed |= restored != firewall::Restored::default();
            }
        }
        Ok(changed)
    }

    /// Adds elements. If the table is gone, or holds for such a key what nobody here asked for,
    /// all of it is restored first.
    fn add_elements(
        &self,
        wanted: &Wanted,
        family: Family,
        elements: &Elements,
    ) -> Result<(), NetError> {
        if elements.is_empty() {
            return Ok(());
        }
        let add = || firewall::add(&mut tables(self), family, elements);
        match add() {
            Err(error) if is_missing_or_stray(&error) => {
                let all = wanted.elements(family);
                firewall::restore(&mut tables(self), family, &all, Strays::Remove)?;
                add()
            }
            result => result,
        }
        .map_err(NetError::netlink("add to the firewall"))
    }
}

impl Wanted {
    fn elements(&self, family: Family) -> Elements {
        Elements::new(
            family,
            self.bridges.values(),
            self.publications.values(),
            self.is_closed(family),
        )
    }

    fn is_closed(&self, family: Family) -> bool {
        self.closed && family == Family::Ipv4
    }

    /// IPv4's table is always there: it guards the loopback. IPv6's only if a network has IPv6.
    fn needs(&self, family: Family) -> bool {
        let mut gateways = self.bridges.values().flat_map(|it| &it.gateways);
        family == Family::Ipv4 || gateways.any(|it| family_of(it.address()) == family)
    }
}

fn same_family(publication: &Publication) -> Result<(), NetError> {
    match publication.host_address {
        Some(address) if address.is_ipv4() != publication.container_address.is_ipv4() => {
            Err(NetError::MixedFamilies { publication: *publication })
        }
        _ => Ok(()),
    }
}

/// No such table, or the key is there with other data: `EEXIST`, and `EBUSY` in older kernels.
fn is_missing_or_stray(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::NOENT | Errno::EXIST | Errno::BUSY))
}

// A poisoned lock is taken all the same: a socket skips stale answers, and what is wanted is
// changed in single steps.

fn links(host: &Host) -> MutexGuard<'_, RouteSocket> {
    host.links.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tables(host: &Host) -> MutexGuard<'_, TableSocket> {
    host.tables.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wanted(host: &Host) -> MutexGuard<'_, Wanted> {
    host.wanted.lock().unwrap_or_else(PoisonError::into_inner)
}
