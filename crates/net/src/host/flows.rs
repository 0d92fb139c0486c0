//! UDP flows that a change to the published ports has made untrue.
//!
//! The kernel keeps a flow, and the translation of its first packet, for as long as its client
//! does not pause. TCP needs none of this: a connection ends with its container.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use rustix::io::Errno;
use wadah_sys::{
    netlink::NetlinkError,
    nfnetlink::{Family, Flow},
};

use crate::{NetError, Protocol, Publication, firewall::family_of};

use super::{FAMILIES, Host, links, tables};

/// What has happened to ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// They lead to a container now: flows to the host itself are untrue.
    Published,
    /// They lead there no more.
    TakenBack,
}

impl Host {
    /// Forgets flows, so that the next packet of their clients is judged anew.
    pub(super) fn forget_flows(
        &self,
        publications: &[Publication],
        change: Change,
    ) -> Result<(), NetError> {
        for family in FAMILIES {
            let of_family = |it: &&Publication| {
                it.protocol == Protocol::Udp && family_of(it.container_address) == family
            };
            let mut ports: BTreeMap<u16, Vec<&Publication>> = BTreeMap::new();
            for it in publications.iter().filter(of_family) {
                ports.entry(it.host_port).or_default().push(it);
            }
            if ports.is_empty() {
                continue;
            }
            match self.forget_flows_to(family, &ports, change) {
                Err(error) if is_untracked(&error) => {}
                result => result.map_err(NetError::netlink("forget connections"))?,
            }
        }
        Ok(())
    }

    fn forget_flows_to(
        &self,
        family: Family,
        ports: &BTreeMap<u16, Vec<&Publication>>,
        change: Change,
    ) -> Result<(), NetlinkError> {
        // The kernel looks through all flows each time: once for one port, once for many.
        let only = ports.keys().next().copied().filter(|_| ports.len() == 1);
        let mut flows = tables(self).flows(family, Protocol::Udp.number(), only)?;
        flows.retain(|flow| {
            let publications = ports.get(&flow.destination.port());
            publications.is_some_and(|all| all.iter().any(|it| concerns(it, flow, change)))
        });
        if change == Change::Published && !flows.is_empty() {
            let addresses = links(self).addresses()?;
            let own: BTreeSet<IpAddr> = addresses.into_iter().map(|it| it.address).collect();
            flows.retain(|it| own.contains(&it.destination.ip()));
        }
        tables(self).forget(&flows)
    }
}

/// Whether the flow is one that the change has made untrue, for all that the publication tells.
fn concerns(publication: &Publication, flow: &Flow, change: Change) -> bool {
    let container = SocketAddr::new(publication.container_address, publication.container_port);
    let address = publication.specific_address();
    match change {
        Change::TakenBack => flow.answered_by == container,
        Change::Published => {
            flow.answered_by != container && address.is_none_or(|it| it == flow.destination.ip())
        }
    }
}

/// The kernel does not track connections over netlink. Then UDP clients have to pause for their
/// flow to end.
fn is_untracked(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::OPNOTSUPP))
}
