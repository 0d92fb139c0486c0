//! Which networks are free on this host.

use std::net::Ipv4Addr;

use crate::{Cidr, NetError};

use super::{Host, links};

impl Host {
    /// The gateway of the default network: the one that `bridge` has already, or the first address
    /// of the first network, from 172.17.0.0/16 on, that no route of the host overlaps.
    pub fn default_gateway(&self, bridge: &str) -> Result<Cidr, NetError> {
        if let Some(address) = self.address_of(bridge)? {
            return Ok(address);
        }
        let taken = self.routed_networks(None)?;
        let candidates = candidates();
        let free = candidates.iter().find(|it| !taken.iter().any(|taken| taken.overlaps(it)));
        let gateway = free.and_then(|it| Cidr::new(it.nth(1)?, it.prefix()));
        let purpose = "the default bridge";
        gateway.ok_or(NetError::NoFreeNetwork { purpose, candidates: candidates.len() })
    }

    /// Checks that no route of the host overlaps `wanted`, apart from those of the link `own`.
    pub fn check_free(&self, wanted: Cidr, own: Option<&str>) -> Result<(), NetError> {
        let taken = self.routed_networks(own)?;
        match taken.into_iter().find(|it| it.overlaps(&wanted)) {
            Some(existing) => Err(NetError::Overlap { wanted, existing }),
            None => Ok(()),
        }
    }

    /// The networks that the host's routes lead to, default routes aside.
    pub fn routed_networks(&self, except_link: Option<&str>) -> Result<Vec<Cidr>, NetError> {
        let mut socket = links(self);
        let except = except_link.and_then(|it| socket.link(it).ok()).map(|it| it.index);
        let routes = socket.routes().map_err(NetError::netlink("list routes"))?;
        let counted = routes.iter().filter(|it| it.prefix > 0);
        let counted = counted.filter(|it| except.is_none() || it.link != except);
        Ok(counted.filter_map(|it| Cidr::new(it.destination, it.prefix)).collect())
    }

    fn address_of(&self, bridge: &str) -> Result<Option<Cidr>, NetError> {
        let mut socket = links(self);
        let Ok(link) = socket.link(bridge) else { return Ok(None) };
        let all = socket.addresses().map_err(NetError::netlink("list addresses"))?;
        let mut own = all.iter().filter(|it| it.link == link.index && it.address.is_ipv4());
        Ok(own.find_map(|it| Cidr::new(it.address, it.prefix)))
    }
}

/// Docker's order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 and on.
fn candidates() -> Vec<Cidr> {
    let wide = (17..=31).map(|it| (Ipv4Addr::new(172, it, 0, 0), 16));
    let narrow = (0..=240).step_by(16).map(|it| (Ipv4Addr::new(192, 168, it, 0), 20));
    wide.chain(narrow).filter_map(|(address, prefix)| Cidr::new(address, prefix)).collect()
}
