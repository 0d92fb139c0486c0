//! Bridges: made, put right, removed.

use rustix::io::Errno;
use wadah_sys::{
    netlink::NetlinkError,
    rtnetlink::{self, Change, Link, UP},
};

use crate::{
    Bridge, Cidr, MacAddress, NetError,
    firewall::{self, Elements},
    sysctl,
};

use super::{FAMILIES, GROUP, Host, Wanted, links, tables, wanted};

impl Host {
    /// Makes the bridge and its place in the firewall, or puts right what differs: missing, down,
    /// other addresses, another MTU. Call [`Host::ensure_firewall`] first.
    pub fn ensure_bridge(&self, bridge: &Bridge) -> Result<(), NetError> {
        check_name(&bridge.name)?;
        let mut wanted = wanted(self);
        let before = wanted.bridges.insert(bridge.name.clone(), bridge.clone());
        let made = self.admit(&wanted, before.as_ref(), bridge);
        let made = made.and_then(|()| self.make_bridge(bridge).map(drop));
        if made.is_err() && before.is_none() {
            wanted.bridges.remove(&bridge.name);
        }
        made
    }

    /// Removes a bridge and its place in the firewall. Endpoints on it lose their network.
    pub fn remove_bridge(&self, name: &str) -> Result<(), NetError> {
        let mut wanted = wanted(self);
        let bridge = wanted.bridges.remove(name);
        let mut links = links(self);
        match links.link(name) {
            Ok(link) => {
                let doing = format!("remove bridge {name}");
                links
                    .apply(&[Change::DeleteLink { link: link.index }])
                    .map_err(NetError::netlink(doing))?;
            }
            Err(error) if is_absent(&error) => {}
            Err(source) => return Err(NetError::netlink(format!("find bridge {name}"))(source)),
        }
        drop(links);
        let Some(bridge) = bridge else { return Ok(()) };
        for family in FAMILIES {
            let elements = Elements::new(family, [&bridge], [], false);
            firewall::delete(&mut tables(self), family, &elements)
                .map_err(NetError::netlink("remove a bridge from the firewall"))?;
        }
        Ok(())
    }

    /// Gives the bridge its place in the firewall, before it exists.
    fn admit(
        &self,
        wanted: &Wanted,
        before: Option<&Bridge>,
        bridge: &Bridge,
    ) -> Result<(), NetError> {
        for family in FAMILIES.into_iter().filter(|it| wanted.needs(*it)) {
            let elements = Elements::new(family, [bridge], [], false);
            if let Some(before) = before {
                // Elements of its former self.
                let former = Elements::new(family, [before], [], false).without(&elements);
                firewall::delete(&mut tables(self), family, &former)
                    .map_err(NetError::netlink("change a bridge in the firewall"))?;
            }
            self.add_elements(wanted, family, &elements)?;
        }
        Ok(())
    }

    /// Makes the link, or puts it right; whether it had to be made.
    pub(super) fn make_bridge(&self, bridge: &Bridge) -> Result<bool, NetError> {
        let doing = || format!("make bridge {}", bridge.name);
        let mut socket = links(self);
        let (link, made) = match socket.link(&bridge.name) {
            Ok(link) => (link, false),
            Err(error) if is_absent(&error) => {
                socket.apply(&[add(bridge)]).map_err(|source| cannot_make(doing(), source))?;
                let link = socket.link(&bridge.name).map_err(NetError::netlink(doing()))?;
                (link, true)
            }
            Err(source) => return Err(NetError::netlink(doing())(source)),
        };
        if link.kind.as_deref() != Some("bridge") {
            return Err(NetError::NotABridge { name: bridge.name.clone() });
        }
        set_parameters(bridge)?;
        let addresses = if made {
            Vec::new()
        } else {
            let all = socket.addresses().map_err(NetError::netlink(doing()))?;
            let own = all.into_iter().filter(|it| it.link == link.index);
            own.filter_map(|it| Cidr::new(it.address, it.prefix)).collect()
        };
        let changes = corrections(bridge, &link, &addresses);
        socket.apply(&changes).map_err(NetError::netlink(doing()))?;
        Ok(made)
    }
}

/// Checks a name as the kernel does (`dev_valid_name`), for a better message.
pub(super) fn check_name(name: &str) -> Result<(), NetError> {
    let valid = (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|it| it == b'/' || it == b':' || it.is_ascii_whitespace() || it == 0);
    if valid { Ok(()) } else { Err(NetError::InterfaceName { name: name.to_owned() }) }
}

/// No link of that name.
pub(super) fn is_absent(error: &NetlinkError) -> bool {
    error.errno() == Some(Errno::NODEV)
}

/// A kind of link that the kernel does not know is answered by `EOPNOTSUPP`.
pub(super) fn cannot_make(doing: String, source: NetlinkError) -> NetError {
    if source.errno() == Some(Errno::OPNOTSUPP) {
        let options = "CONFIG_BRIDGE, CONFIG_VETH".to_owned();
        return NetError::KernelOption { doing, options, source };
    }
    NetError::Netlink { doing, source }
}

fn add(bridge: &Bridge) -> Change<'_> {
    let mac = bridge.gateways.first().map_or([2, 0x42, 0, 0, 0, 0], |gateway| {
        let MacAddress(mac) = MacAddress::for_address(gateway.address());
        mac
    });
    let (name, mtu, group) = (bridge.name.as_str(), bridge.mtu, GROUP);
    Change::AddBridge(rtnetlink::Bridge { name, mac, mtu, group })
}

/// What makes the link as it should be.
fn corrections(bridge: &Bridge, link: &Link, addresses: &[Cidr]) -> Vec<Change<'static>> {
    let mut changes = Vec::new();
    let index = link.index;
    let six = bridge.gateways.iter().any(|it| it.address().is_ipv6());
    for it in addresses.iter().filter(|it| !bridge.gateways.contains(it)) {
        // Link-local addresses are the kernel's own business.
        if it.address().is_ipv4() {
            let (address, prefix) = (it.address(), it.prefix());
            changes.push(Change::DeleteAddress { link: index, address, prefix });
        }
    }
    for it in bridge.gateways.iter().filter(|it| !addresses.contains(it)) {
        let (address, prefix) = (it.address(), it.prefix());
        changes.push(Change::AddAddress { link: index, address, prefix });
    }
    if let Some(mtu) = bridge.mtu.filter(|it| *it != link.mtu) {
        changes.push(Change::SetMtu { link: index, mtu });
    }
    if link.flags & UP == 0 {
        if !six {
            changes.push(Change::NoLinkLocal { link: index });
        }
        changes.push(Change::SetUp { link: index });
    }
    changes
}

/// The bridge's kernel parameters. The firewall's guard is in place before.
fn set_parameters(bridge: &Bridge) -> Result<(), NetError> {
    let name = &bridge.name;
    // Connections from the host's own loopback addresses may go out over it.
    sysctl::set(&format!("ipv4/conf/{name}/route_localnet"), "1")?;
    sysctl::set_if_present(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    let six = bridge.gateways.iter().any(|it| it.address().is_ipv6());
    let off = if six { "0" } else { "1" };
    sysctl::set_if_present(&format!("ipv6/conf/{name}/disable_ipv6"), off)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let is_valid = |name: &str| check_name(name).is_ok();
        for name in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx", "a\0"] {
            assert!(!is_valid(name), "{name:?}");
        }
        assert!(is_valid("wadah0"));
        assert!(is_valid("fifteen-bytes-x"));
    }
}
