//! Endpoints: a container's namespace is plugged into a bridge.

use std::{net::IpAddr, os::fd::AsFd};

use wadah_sys::rtnetlink::{Change, RouteSocket, Veth};

use crate::{Cidr, Endpoint, EndpointSettings, MacAddress, Namespace, NetError, sysctl};

use super::{
    GROUP, Host,
    bridge::{cannot_make, check_name, is_absent},
    links, wanted,
};

impl Host {
    /// Plugs a namespace into a bridge: a veth pair, addresses, default routes.
    ///
    /// There is no way back but to close the namespace. When this fails, what was made goes with
    /// the namespace too.
    pub fn attach(
        &self,
        namespace: &Namespace,
        endpoint: &Endpoint,
    ) -> Result<EndpointSettings, NetError> {
        check_name(&endpoint.host_name)?;
        check_name(&endpoint.name)?;
        // Before it exists, so that nobody takes it for a stray.
        wanted(self).veths.insert(endpoint.host_name.clone());
        let mac = endpoint.mac.unwrap_or_else(|| {
            let first = endpoint.addresses.first();
            first.map_or(MacAddress([2, 0x42, 0, 0, 0, 1]), |it| {
                MacAddress::for_address(it.address())
            })
        });
        self.plug_in(namespace, endpoint, mac)?;
        let index = configure(&mut namespace.links(), endpoint)
            .map_err(NetError::netlink(format!("configure interface {}", endpoint.name)))?;
        Ok(EndpointSettings { mac, index })
    }

    /// Forgets the host's side of an endpoint whose namespace has been closed.
    pub fn detach(&self, host_name: &str) {
        wanted(self).veths.remove(host_name);
    }

    fn plug_in(
        &self,
        namespace: &Namespace,
        endpoint: &Endpoint,
        mac: MacAddress,
    ) -> Result<(), NetError> {
        let name = &endpoint.bridge;
        let mut socket = links(self);
        let bridge = match socket.link(name) {
            Err(error) if is_absent(&error) => {
                return Err(NetError::MissingBridge { name: name.clone() });
            }
            found => found.map_err(NetError::netlink(format!("find bridge {name}")))?,
        };
        let veth = Veth {
            name: &endpoint.host_name,
            master: Some(bridge.index),
            peer_name: &endpoint.name,
            peer_mac: mac.0,
            peer_namespace: namespace.as_fd(),
            mtu: endpoint.mtu,
            group: GROUP,
        };
        let mut changes = vec![Change::AddVeth(veth)];
        let hairpin = filters_bridged_packets();
        let isolated = !endpoint.icc && !hairpin;
        if isolated || hairpin {
            changes.push(Change::SetPort { name: &endpoint.host_name, isolated, hairpin });
        }
        let doing = format!("plug {} into bridge {name}", endpoint.host_name);
        socket.apply(&changes).map_err(|source| cannot_make(doing, source))
    }
}

/// Whether the kernel shows bridged packets to the firewall (`br_netfilter`).
///
/// It then translates the destination while it is still bridging, and a container that calls
/// itself by a published port is sent back by the port it came from: only if hairpin is on. And
/// one that calls another by a published port never leaves the bridge, where isolated ports would
/// not let it pass; but then the firewall's forward chain sees what they would have stopped.
fn filters_bridged_packets() -> bool {
    // Without `br_netfilter` there is no such parameter.
    sysctl::is_on("bridge/bridge-nf-call-iptables").unwrap_or(false)
}

/// Addresses, up, routes: one system call inside the namespace.
fn configure(
    links: &mut RouteSocket,
    endpoint: &Endpoint,
) -> Result<u32, wadah_sys::netlink::NetlinkError> {
    let link = links.link(&endpoint.name)?.index;
    let address =
        |it: &Cidr| Change::AddAddress { link, address: it.address(), prefix: it.prefix() };
    let mut changes: Vec<Change<'_>> = endpoint.addresses.iter().map(address).collect();
    changes.push(Change::SetUp { link });
    let route = |gateway: &IpAddr| Change::AddRoute { destination: None, gateway: *gateway, link };
    changes.extend(endpoint.gateways.iter().map(route));
    let result = links.apply(&changes);
    links.rest();
    result.map(|()| link)
}
