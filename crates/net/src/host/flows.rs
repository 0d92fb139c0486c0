//! UDP flows that a change to the published ports has made untrue.
//!
//! The kernel keeps a flow, and the translation of its first packet, for as long as its client
//! does not pause. TCP needs none of this: a connection ends with its container.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use rustix::io::Errno;
use wadah_sys::{netlink::NetlinkError, nfnetlink::FlowFilter};

use crate::{NetError, Protocol, Publication};

use super::{FAMILIES, Host, links, tables};

/// Up to so many filters are cheaper than a listing.
const FEW: usize = 64;

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
        let udp = publications.iter().filter(|it| it.protocol == Protocol::Udp);
        let udp: Vec<&Publication> = udp.collect();
        if udp.is_empty() {
            return Ok(());
        }
        let forget = || {
            let untrue = self.untrue_flows(&udp, change)?;
            if untrue.len() <= FEW {
                let forgotten = tables(self).forget_matching(Protocol::Udp.number(), &untrue);
                // Linux before 6.8 does not know the filter.
                if forgotten.as_ref().err().and_then(NetlinkError::errno) != Some(Errno::INVAL) {
                    return forgotten;
                }
            }
            self.forget_listed(&untrue)
        };
        match forget() {
            Err(error) if is_untracked(&error) => Ok(()),
            result => result.map_err(NetError::netlink("forget connections")),
        }
    }

    /// Which flows the change has made untrue.
    fn untrue_flows(
        &self,
        publications: &[&Publication],
        change: Change,
    ) -> Result<Vec<FlowFilter>, NetlinkError> {
        if change == Change::TakenBack {
            let container = |it: &&Publication| {
                let container = SocketAddr::new(it.container_address, it.container_port);
                FlowFilter::AnsweredBy(container)
            };
            return Ok(publications.iter().map(container).collect());
        }
        let links = links(self).addresses()?;
        let own: BTreeSet<IpAddr> = links.into_iter().map(|it| it.address).collect();
        let mut untrue = Vec::new();
        for it in publications {
            let sent_to = |address| FlowFilter::SentTo(SocketAddr::new(address, it.host_port));
            match it.specific_address() {
                Some(address) => untrue.push(sent_to(address)),
                None => {
                    let six = it.container_address.is_ipv6();
                    let own = own.iter().filter(|own| own.is_ipv6() == six);
                    untrue.extend(own.copied().map(sent_to));
                }
            }
        }
        Ok(untrue)
    }

    /// The same from a listing, for many.
    fn forget_listed(&self, untrue: &[FlowFilter]) -> Result<(), NetlinkError> {
        let (mut sent_to, mut answered_by) = (BTreeSet::new(), BTreeSet::new());
        for filter in untrue {
            match filter {
                FlowFilter::SentTo(at) => sent_to.insert(*at),
                FlowFilter::AnsweredBy(at) => answered_by.insert(*at),
            };
        }
        for family in FAMILIES {
            let mut flows = tables(self).flows(family, Protocol::Udp.number())?;
            flows.retain(|it| {
                sent_to.contains(&it.destination) || answered_by.contains(&it.answered_by)
            });
            tables(self).forget(&flows)?;
        }
        Ok(())
    }
}

/// The kernel does not show the connections it tracks. Then UDP clients have to pause for their
/// flow to end.
fn is_untracked(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::OPNOTSUPP))
}
