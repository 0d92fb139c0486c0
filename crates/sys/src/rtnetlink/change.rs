//! What can be changed: each change is one message.

use std::{
    net::IpAddr,
    os::fd::{AsRawFd, BorrowedFd},
};

use crate::netlink::Messages;

use super::{
    IFA_ADDRESS, IFA_LOCAL, IFLA_ADDRESS, IFLA_GROUP, IFLA_IFNAME, IFLA_INFO_KIND, IFLA_LINKINFO,
    IFLA_MASTER, IFLA_MTU, LINK_HEADER, RTA_DST, RTA_GATEWAY, RTA_OIF, RTM_DELADDR, RTM_DELLINK,
    RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE, UP,
};

const NLM_F_ACK: u16 = 0x4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;

const IFLA_INFO_DATA: u16 = 2;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_FLUSH: u16 = 24;
const BR_STATE_LISTENING: u8 = 1;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const VETH_INFO_PEER: u16 = 1;
const IFA_F_NODAD: u8 = 0x02;
const AF_INET6: u16 = 10;

const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTN_UNICAST: u8 = 1;

/// One change to links, addresses or routes.
#[derive(Clone, Debug)]
pub enum Change<'a> {
    /// Makes a bridge.
    AddBridge(Bridge<'a>),
    /// Makes a veth pair.
    AddVeth(Veth<'a>),
    /// Sets a link up.
    SetUp {
        /// The link.
        link: u32,
    },
    /// Makes a link a bridge's port.
    Join {
        /// The link.
        link: u32,
        /// The bridge.
        master: u32,
    },
    /// Sets a link's maximum transmission unit.
    SetMtu {
        /// The link.
        link: u32,
        /// The value.
        mtu: u32,
    },
    /// Keeps the kernel from giving the link an IPv6 address of its own.
    NoLinkLocal {
        /// The link.
        link: u32,
    },
    /// Sets what a bridge's port does.
    SetPort {
        /// The name of the link that is the port.
        name: &'a str,
        /// Whether it is cut off from the other isolated ports.
        isolated: bool,
        /// Whether what comes in by it may go out by it.
        hairpin: bool,
    },
    /// Shuts a bridge's port at once and forgets who was behind it, until its link goes down and
    /// up. The port is set to listen: it neither forwards nor learns then, and, other than a
    /// disabled one, is not opened again by whatever next happens to its link.
    ShutPort {
        /// The name of the link that is the port.
        name: &'a str,
    },
    /// Deletes a link, both ends of a veth pair. Slow: tens of milliseconds.
    DeleteLink {
        /// The link.
        link: u32,
    },
    /// Gives a link an address.
    AddAddress {
        /// The link.
        link: u32,
        /// The address.
        address: IpAddr,
        /// The length of its network's prefix.
        prefix: u8,
    },
    /// Takes an address from a link.
    DeleteAddress {
        /// The link.
        link: u32,
        /// The address.
        address: IpAddr,
        /// The length of its network's prefix.
        prefix: u8,
    },
    /// Adds a route to the main table.
    AddRoute {
        /// The network and the length of its prefix; `None` for everything.
        destination: Option<(IpAddr, u8)>,
        /// The next hop.
        gateway: IpAddr,
        /// The link it leaves by.
        link: u32,
    },
}

/// A bridge to be made: up, without forward delay.
#[derive(Clone, Debug)]
pub struct Bridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its hardware address. With one of its own it does not take on its ports', which would
    /// change as containers come and go.
    pub mac: [u8; 6],
    /// Its maximum transmission unit.
    pub mtu: Option<u32>,
    /// Its group: a number that marks whose it is.
    pub group: u32,
}

/// A veth pair to be made, the near end up.
#[derive(Clone, Debug)]
pub struct Veth<'a> {
    /// The near end's name.
    pub name: &'a str,
    /// The bridge that the near end joins.
    pub master: Option<u32>,
    /// The far end's name.
    pub peer_name: &'a str,
    /// The far end's hardware address.
    pub peer_mac: [u8; 6],
    /// The network namespace in which the far end is born.
    pub peer_namespace: BorrowedFd<'a>,
    /// Both ends' maximum transmission unit.
    pub mtu: Option<u32>,
    /// The near end's group: a number that marks whose it is.
    pub group: u32,
}

impl Change<'_> {
    pub(super) fn encode(&self, messages: &mut Messages) {
        match self {
            Self::AddBridge(bridge) => bridge.encode(messages),
            Self::AddVeth(veth) => veth.encode(messages),
            Self::SetUp { link } => {
                messages.begin(RTM_NEWLINK, NLM_F_ACK, &link_header(*link, UP));
            }
            Self::Join { link, master } => {
                messages.begin(RTM_NEWLINK, NLM_F_ACK, &link_header(*link, 0));
                messages.u32(IFLA_MASTER, *master);
            }
            Self::SetMtu { link, mtu } => {
                messages.begin(RTM_NEWLINK, NLM_F_ACK, &link_header(*link, 0));
                messages.u32(IFLA_MTU, *mtu);
            }
            Self::NoLinkLocal { link } => no_link_local(messages, *link),
            Self::SetPort { name, isolated, hairpin } => {
                let isolated = (IFLA_BRPORT_ISOLATED, u8::from(*isolated));
                encode_port(messages, name, [isolated, (IFLA_BRPORT_MODE, u8::from(*hairpin))]);
            }
            Self::ShutPort { name } => {
                let state = (IFLA_BRPORT_STATE, BR_STATE_LISTENING);
                encode_port(messages, name, [state, (IFLA_BRPORT_FLUSH, 1)]);
            }
            Self::DeleteLink { link } => {
                messages.begin(RTM_DELLINK, NLM_F_ACK, &link_header(*link, 0));
            }
            Self::AddAddress { link, address, prefix } => {
                let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
                encode_address(messages, RTM_NEWADDR, flags, *link, *address, *prefix);
            }
            Self::DeleteAddress { link, address, prefix } => {
                encode_address(messages, RTM_DELADDR, NLM_F_ACK, *link, *address, *prefix);
            }
            Self::AddRoute { destination, gateway, link } => {
                encode_route(messages, *destination, *gateway, *link);
            }
        }
    }
}

impl Bridge<'_> {
    fn encode(&self, messages: &mut Messages) {
        messages.begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &link_header(0, 0));
        messages.text(IFLA_IFNAME, self.name);
        messages.attribute(IFLA_ADDRESS, &self.mac);
        messages.u32(IFLA_GROUP, self.group);
        if let Some(mtu) = self.mtu {
            messages.u32(IFLA_MTU, mtu);
        }
        let info = messages.open(IFLA_LINKINFO);
        messages.text(IFLA_INFO_KIND, "bridge");
        let data = messages.open(IFLA_INFO_DATA);
        messages.u32(IFLA_BR_FORWARD_DELAY, 0);
        messages.close(data);
        messages.close(info);
    }
}

impl Veth<'_> {
    fn encode(&self, messages: &mut Messages) {
        messages.begin(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &link_header(0, UP));
        messages.text(IFLA_IFNAME, self.name);
        messages.u32(IFLA_GROUP, self.group);
        self.encode_queues(messages);
        if let Some(master) = self.master {
            messages.u32(IFLA_MASTER, master);
        }
        let info = messages.open(IFLA_LINKINFO);
        messages.text(IFLA_INFO_KIND, "veth");
        let data = messages.open(IFLA_INFO_DATA);
        let peer = messages.open(VETH_INFO_PEER);
        // Not up yet: until the pair is tied together, a peer refuses to be set up (ENOTCONN).
        messages.raw(&link_header(0, 0));
        messages.text(IFLA_IFNAME, self.peer_name);
        messages.attribute(IFLA_ADDRESS, &self.peer_mac);
        messages.attribute(IFLA_NET_NS_FD, &self.peer_namespace.as_raw_fd().to_ne_bytes());
        self.encode_queues(messages);
        messages.close(peer);
        messages.close(data);
        messages.close(info);
    }

    fn encode_queues(&self, messages: &mut Messages) {
        if let Some(mtu) = self.mtu {
            messages.u32(IFLA_MTU, mtu);
        }
        // The kernel's default is a queue per processor and direction, each with its objects in
        // sysfs: slow to make, and of use only to XDP.
        messages.u32(IFLA_NUM_TX_QUEUES, 1);
        messages.u32(IFLA_NUM_RX_QUEUES, 1);
    }
}

/// `struct ifinfomsg`: family, type, index, flags and which of them to change.
fn link_header(index: u32, flags: u32) -> [u8; LINK_HEADER] {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

fn encode_port(messages: &mut Messages, name: &str, settings: [(u16, u8); 2]) {
    messages.begin(RTM_NEWLINK, NLM_F_ACK, &link_header(0, 0));
    messages.text(IFLA_IFNAME, name);
    let info = messages.open(IFLA_LINKINFO);
    messages.text(IFLA_INFO_SLAVE_KIND, "bridge");
    let data = messages.open(IFLA_INFO_SLAVE_DATA);
    settings.into_iter().for_each(|(kind, value)| messages.attribute(kind, &[value]));
    messages.close(data);
    messages.close(info);
}

fn no_link_local(messages: &mut Messages, link: u32) {
    messages.begin(RTM_NEWLINK, NLM_F_ACK, &link_header(link, 0));
    let families = messages.open(IFLA_AF_SPEC);
    let family = messages.open(AF_INET6);
    messages.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    messages.close(family);
    messages.close(families);
}

fn encode_address(
    messages: &mut Messages,
    kind: u16,
    flags: u16,
    link: u32,
    address: IpAddr,
    prefix: u8,
) {
    // `struct ifaddrmsg`: family, prefix, flags, scope, index. No duplicate detection: an address
    // of ours is unique by the pool, and must work at once.
    let nodad = if address.is_ipv6() { IFA_F_NODAD } else { 0 };
    let [a, b, c, d] = link.to_ne_bytes();
    messages.begin(kind, flags, &[family(address), prefix, nodad, 0, a, b, c, d]);
    messages.address(IFA_LOCAL, address);
    messages.address(IFA_ADDRESS, address);
}

fn encode_route(
    messages: &mut Messages,
    destination: Option<(IpAddr, u8)>,
    gateway: IpAddr,
    link: u32,
) {
    let prefix = destination.map_or(0, |(_, prefix)| prefix);
    // `struct rtmsg`: family, prefixes of destination and source, type of service, table, who set
    // it, scope, type, flags.
    let header = [
        [family(gateway), prefix, 0, 0],
        [RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST],
        [0; 4],
    ];
    messages.begin(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, header.as_flattened());
    if let Some((network, _)) = destination {
        messages.address(RTA_DST, network);
    }
    messages.address(RTA_GATEWAY, gateway);
    messages.u32(RTA_OIF, link);
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    u8::try_from(family).expect("BUG: address families fit a byte")
}
