//! What is listed: links, addresses, routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::{Attributes, NetlinkError};

use super::{
    ADDRESS_HEADER, IFA_ADDRESS, IFA_LOCAL, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_KIND,
    IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_OPERSTATE, LINK_HEADER, ROUTE_HEADER,
    RTA_DST, RTA_GATEWAY, RTA_OIF,
};

const RTN_UNICAST: u8 = 1;
const IF_OPER_UP: u8 = 6;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its flags: [`super::UP`] and others.
    pub flags: u32,
    /// Its kind: `bridge`, `veth`, …; `None` for plain devices.
    pub kind: Option<String>,
    /// The link it is a port of.
    pub master: Option<u32>,
    /// The link it stands on, a veth's other end; perhaps in another namespace.
    pub peer: Option<u32>,
    /// Its hardware address, where it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Its maximum transmission unit.
    pub mtu: u32,
    /// Whether it carries packets: up, with a carrier, and the kernel's queues set up for it.
    pub operational: bool,
    /// Its group; 0 unless somebody set it.
    pub group: u32,
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The link.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
}

/// A unicast route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network it leads to.
    pub destination: IpAddr,
    /// The length of its prefix; 0 for the default route.
    pub prefix: u8,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// The link it leaves by.
    pub link: Option<u32>,
}

impl Link {
    pub(super) fn read(payload: &[u8]) -> Result<Self, NetlinkError> {
        let attributes = Attributes::after(payload, LINK_HEADER)?;
        Ok(Self {
            index: number(payload, 4),
            name: attributes.text(IFLA_IFNAME).unwrap_or_default(),
            flags: number(payload, 8),
            kind: attributes.nested(IFLA_LINKINFO).text(IFLA_INFO_KIND),
            master: attributes.u32(IFLA_MASTER),
            peer: attributes.u32(IFLA_LINK),
            mac: attributes.find(IFLA_ADDRESS).and_then(|it| it.try_into().ok()),
            mtu: attributes.u32(IFLA_MTU).unwrap_or_default(),
            operational: attributes.find(IFLA_OPERSTATE) == Some(&[IF_OPER_UP]),
            group: attributes.u32(IFLA_GROUP).unwrap_or_default(),
        })
    }
}

impl InterfaceAddress {
    /// `None` for families other than IP.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Self>, NetlinkError> {
        let attributes = Attributes::after(payload, ADDRESS_HEADER)?;
        let bytes = attributes.find(IFA_LOCAL).or(attributes.find(IFA_ADDRESS));
        let (prefix, link) = (payload[1], number(payload, 4));
        Ok(bytes.and_then(address).map(|address| Self { link, address, prefix }))
    }
}

impl Route {
    /// `None` for other kinds (local, broadcast, blackhole, …) and families other than IP.
    pub(super) fn read(payload: &[u8]) -> Result<Option<Self>, NetlinkError> {
        let attributes = Attributes::after(payload, ROUTE_HEADER)?;
        let (family, prefix, kind) = (i32::from(payload[0]), payload[1], payload[7]);
        let unspecified = match family {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            libc::AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => return Ok(None),
        };
        let destination = attributes.find(RTA_DST).map_or(Some(unspecified), address);
        let gateway = attributes.find(RTA_GATEWAY).and_then(address);
        let link = attributes.u32(RTA_OIF);
        let route = destination.map(|destination| Self { destination, prefix, gateway, link });
        Ok(route.filter(|_| kind == RTN_UNICAST))
    }
}

/// A number of a header; the caller has checked that the header is whole.
fn number(payload: &[u8], at: usize) -> u32 {
    payload.get(at..).and_then(|it| it.first_chunk()).map_or(0, |it| u32::from_ne_bytes(*it))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
