//! Recovery: what is there is made what should be, whatever happened before.
//!
//! A daemon that was killed may have left anything half-way; an administrator may have flushed the
//! ruleset or deleted a bridge. Both are the difference of two sets: what is there, read from the
//! kernel, and what should be there.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
};

use wadah_sys::rtnetlink::{Change, Link, RouteSocket};

use crate::{
    Bridge, NetError, Publication,
    firewall::{self, Strays},
    sysctl,
};

use super::{FAMILIES, GROUP, Host, Wanted, bridge::check_name, links, tables, wanted};

/// What should be there.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Every network's bridge.
    pub bridges: Vec<Bridge>,
    /// Every running container's published ports.
    pub publications: Vec<Publication>,
    /// The host's side of every running container's endpoints.
    pub veths: Vec<String>,
}

/// What was not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Firewall tables that were missing or altered, and were written anew.
    pub tables_rebuilt: usize,
    /// Firewall elements that were missing.
    pub elements_added: usize,
    /// Firewall elements that belonged to nothing.
    pub elements_removed: usize,
    /// Bridges that were missing.
    pub bridges_made: Vec<String>,
    /// Our bridges that belonged to no network. Removed in the background.
    pub stray_bridges: Vec<String>,
    /// Our veth pairs that belonged to no container. Removed in the background.
    pub stray_veths: Vec<String>,
    /// Veth pairs that should be there and are not: these containers have lost their network.
    pub missing_veths: Vec<String>,
    /// Veth pairs that were on no bridge, their bridge having been deleted, and were put back.
    pub replugged_veths: usize,
}

impl Host {
    /// Makes bridges, firewall and veth pairs what they should be. From now on, `expected` is what
    /// this host remembers having been asked for; veth pairs it attached itself stay.
    ///
    /// A pair whose bridge was deleted goes back to it; one that an earlier daemon attached goes to
    /// the only bridge, or stays alone where there are several.
    pub fn reconcile(&self, expected: &Expected) -> Result<Report, NetError> {
        expected.bridges.iter().try_for_each(|it| check_name(&it.name))?;
        let mut wanted = wanted(self);
        let bridges = expected.bridges.iter().map(|it| (it.name.clone(), it.clone()));
        wanted.bridges = bridges.collect();
        wanted.publications = expected.publications.iter().map(|it| (it.port(), *it)).collect();
        for veth in &expected.veths {
            wanted.veths.entry(veth.clone()).or_default();
        }
        self.find_out_whether_closed(&mut wanted)?;

        let mut report = Report::default();
        for family in FAMILIES.into_iter().filter(|it| wanted.needs(*it)) {
            let elements = wanted.elements(family);
            let restored = firewall::restore(&mut tables(self), family, &elements, Strays::Remove)?;
            report.tables_rebuilt += usize::from(restored.rebuilt);
            report.elements_added += restored.added;
            report.elements_removed += restored.removed;
        }
        if wanted.closed {
            sysctl::set("ipv4/ip_forward", "1")?;
        }
        for bridge in &expected.bridges {
            if self.make_bridge(bridge)? {
                report.bridges_made.push(bridge.name.clone());
            }
        }
        self.sweep(expected, &mut wanted.veths, &mut report)?;
        report.replugged_veths = self.replug(&wanted)?;
        Ok(report)
    }

    /// Compares our links with those that should be there.
    fn sweep(
        &self,
        expected: &Expected,
        veths: &mut BTreeMap<String, Option<String>>,
        report: &mut Report,
    ) -> Result<(), NetError> {
        let all = links(self).links().map_err(NetError::netlink("list links"))?;
        let present: BTreeSet<&str> = all.iter().map(|it| it.name.as_str()).collect();
        report.missing_veths =
            expected.veths.iter().filter(|it| !present.contains(it.as_str())).cloned().collect();
        veths.retain(|it, _| present.contains(it.as_str()));

        let mut strays = Vec::new();
        for link in all.iter().filter(|it| it.group == GROUP) {
            let bridge = link.kind.as_deref() == Some("bridge");
            if bridge && !expected.bridges.iter().any(|it| it.name == link.name) {
                report.stray_bridges.push(link.name.clone());
                strays.push(link.index);
            } else if !bridge && !veths.contains_key(&link.name) {
                report.stray_veths.push(link.name.clone());
                strays.push(link.index);
            }
        }
        delete_in_background(strays)
    }

    /// Puts pairs whose bridge was deleted back onto it; how many.
    pub(super) fn replug(&self, wanted: &Wanted) -> Result<usize, NetError> {
        let doing = || "plug containers in again".to_owned();
        let mut socket = links(self);
        let all = socket.links().map_err(NetError::netlink(doing()))?;
        let only = match wanted.bridges.len() {
            1 => wanted.bridges.keys().next(),
            _ => None,
        };
        let bridge_of = |link: &Link| {
            let name = wanted.veths.get(&link.name)?.as_ref().or(only)?;
            all.iter().find(|it| it.name == *name).map(|it| it.index)
        };
        let lost = all.iter().filter(|it| it.group == GROUP && it.master.is_none());
        let join = |link: &Link| Some(Change::Join { link: link.index, master: bridge_of(link)? });
        let changes: Vec<Change<'_>> = lost.filter_map(join).collect();
        socket.apply(&changes).map_err(NetError::netlink(doing()))?;
        Ok(changes.len())
    }
}

/// Deletes links from a thread of its own, with a socket of its own: the kernel takes tens of
/// milliseconds for each.
fn delete_in_background(strays: Vec<u32>) -> Result<(), NetError> {
    if strays.is_empty() {
        return Ok(());
    }
    let mut socket = RouteSocket::open().map_err(NetError::netlink("remove stray links"))?;
    let thread = thread::Builder::new().name("wadah-strays".to_owned()).stack_size(64 << 10);
    let delete = move || {
        for link in strays {
            // One that is gone by now is what we wanted, and any other is found again at the next
            // start.
            let _gone = socket.apply(&[Change::DeleteLink { link }]);
        }
    };
    thread.spawn(delete).map(drop).map_err(|source| NetError::Thread { source })
}
