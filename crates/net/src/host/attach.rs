//! Endpoints: a container's namespace is plugged into a bridge.

use std::{net::IpAddr, os::fd::AsFd, thread, time::Duration};

use rustix::io::Errno;
use wadah_sys::{
    netlink::NetlinkError,
    rtnetlink::{Change, Link, RouteSocket, Veth},
};

use crate::{Cidr, Endpoint, EndpointSettings, MacAddress, Namespace, NetError, sysctl};

use super::{
    GROUP, Host,
    bridge::{cannot_make, check_name, is_absent},
    links, wanted,
};

/// How often, and how far apart, a new link is looked at until it carries packets.
const OPERATIONAL_ATTEMPTS: u32 = 100;
const OPERATIONAL_PAUSE: Duration = Duration::from_millis(1);

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
        let bridge = Some(endpoint.bridge.clone());
        wanted(self).veths.insert(endpoint.host_name.clone(), bridge);
        let mac = endpoint.mac.unwrap_or_else(|| {
            let first = endpoint.addresses.first();
            first.map_or(MacAddress([2, 0x42, 0, 0, 0, 1]), |it| {
                MacAddress::for_address(it.address())
            })
        });
        self.plug_in(namespace, endpoint, mac)?;
        let doing = || format!("configure interface {}", endpoint.name);
        let mut inside = namespace.links();
        let index = configure(&mut inside, endpoint).map_err(NetError::netlink(doing()))?;
        // In this order: a port that opens gives its bridge a carrier.
        let mut outside = links(self);
        for name in [&endpoint.host_name, &endpoint.bridge] {
            wait_until_operational(&mut outside, name).map_err(NetError::netlink(doing()))?;
        }
        drop(outside);
        let ready = wait_until_operational(&mut inside, &endpoint.name);
        inside.rest();
        ready.map_err(NetError::netlink(doing()))?;
        Ok(EndpointSettings { mac, index })
    }

    /// Shuts the bridge's port of an endpoint whose container has ended, so that its address can
    /// be given to another at once. The pair goes when the namespace is closed.
    pub fn detach(&self, host_name: &str) -> Result<(), NetError> {
        wanted(self).veths.remove(host_name);
        match links(self).apply(&[Change::ShutPort { name: host_name }]) {
            // Gone already, on no bridge, or without the other end.
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) if matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::NETDOWN)) => {
                Ok(())
            }
            result => result.map_err(NetError::netlink(format!("shut port {host_name}"))),
        }
    }

    fn plug_in(
        &self,
        namespace: &Namespace,
        endpoint: &Endpoint,
        mac: MacAddress,
    ) -> Result<(), NetError> {
        let name = &endpoint.bridge;
        let found = links(self).link(name);
        let bridge = match found {
            Err(error) if is_absent(&error) => self.remake_bridge(name)?,
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
        links(self).apply(&changes).map_err(|source| cannot_make(doing, source))
    }

    /// Makes a bridge of ours anew that somebody has deleted, and plugs in again what was on it.
    fn remake_bridge(&self, name: &str) -> Result<Link, NetError> {
        let missing = || NetError::MissingBridge { name: name.to_owned() };
        let wanted = wanted(self);
        self.make_bridge(wanted.bridges.get(name).ok_or_else(missing)?)?;
        self.replug(&wanted)?;
        drop(wanted);
        links(self).link(name).map_err(NetError::netlink(format!("find bridge {name}")))
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
fn configure(links: &mut RouteSocket, endpoint: &Endpoint) -> Result<u32, NetlinkError> {
    let link = links.link(&endpoint.name)?.index;
    let address =
        |it: &Cidr| Change::AddAddress { link, address: it.address(), prefix: it.prefix() };
    let mut changes: Vec<Change<'_>> = endpoint.addresses.iter().map(address).collect();
    changes.push(Change::SetUp { link });
    let route = |gateway: &IpAddr| Change::AddRoute { destination: None, gateway: *gateway, link };
    changes.extend(endpoint.gateways.iter().map(route));
    links.apply(&changes).map(|()| link)
}

/// Waits until a link that is up carries packets.
///
/// The kernel notes a carrier in the background, and throws away what is sent before that: a lost
/// first packet costs a second. Being asked about a link makes it catch up at once, since Linux
/// 6.8; before, it takes a millisecond or so. A link that has no carrier yet is no error.
fn wait_until_operational(links: &mut RouteSocket, name: &str) -> Result<(), NetlinkError> {
    for _ in 0..OPERATIONAL_ATTEMPTS {
        if links.link(name)?.operational {
            break;
        }
        thread::sleep(OPERATIONAL_PAUSE);
    }
    Ok(())
}
