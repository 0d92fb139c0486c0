//! Connection tracking: finding and forgetting flows.
//!
//! A flow is translated as its first packet was. A UDP client that never pauses keeps its flow,
//! and with it a translation to a container that is gone, or none at all; forgetting the flow
//! lets its next packet be judged anew.
//!
//! Looking at all flows is expensive in different ways. The kernel forgets what a [`FlowFilter`]
//! matches in one quick pass, a fifth of a millisecond with 262,144 buckets; a listing locks every
//! bucket, and takes a hundred times as long. A few filters are cheaper than a listing, thousands
//! are not.
//!
//! Format: kernel `Documentation/netlink/specs/conntrack.yaml`, `nfnetlink_conntrack.h`. A kernel
//! that cannot filter a listing (before 5.8) lists all flows, which is why they are checked again;
//! one that cannot forget by filter (before 6.8) refuses to (`EINVAL`).

use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::netlink::{Attributes, Messages, NetlinkError};

use super::{Family, HEADER, TableSocket};

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 1 << 8 | 1;
const DELETE: u16 = 1 << 8 | 2;
const NLM_F_ACK: u16 = 0x4;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Which fields of a filter's tuple count: the kernel's `CTA_FILTER_F_*`.
const SOURCE: u32 = 1 << 0;
const DESTINATION: u32 = 1 << 1;
const SOURCE_PORT: u32 = 1 << 4;
const PROTOCOL: u32 = 1 << 3;
const DESTINATION_PORT: u32 = 1 << 5;

/// A tracked flow of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The transport protocol's number.
    pub protocol: u8,
    /// Who sent the first packet.
    pub source: SocketAddr,
    /// Whom it was sent to, before translation.
    pub destination: SocketAddr,
    /// Who answers it, after translation.
    pub answered_by: SocketAddr,
}

/// Which flows of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFilter {
    /// Those sent to this address and port, before translation.
    SentTo(SocketAddr),
    /// Those answered from this address and port, after translation.
    AnsweredBy(SocketAddr),
}

impl TableSocket {
    /// Forgets the flows of a protocol that match any of `filters`.
    pub fn forget_matching(
        &mut self,
        protocol: u8,
        filters: &[FlowFilter],
    ) -> Result<(), NetlinkError> {
        let mut messages = Messages::new();
        filters.iter().for_each(|it| it.encode_delete(protocol, &mut messages));
        if filters.is_empty() { Ok(()) } else { self.0.send(&mut messages) }
    }

    /// Lists the flows of a protocol.
    pub fn flows(&mut self, family: Family, protocol: u8) -> Result<Vec<Flow>, NetlinkError> {
        let filter = |messages: &mut Messages| {
            let tuple = messages.open(CTA_TUPLE_ORIG);
            let transport = messages.open(CTA_TUPLE_PROTO);
            messages.attribute(CTA_PROTO_NUM, &[protocol]);
            messages.close(transport);
            messages.close(tuple);
            encode_flags(messages, PROTOCOL, 0);
        };
        let push = |all: &mut Vec<Flow>, _, payload: &[u8]| {
            all.extend(Flow::read(Attributes::after(payload, HEADER)?));
            Ok(())
        };
        let mut flows: Vec<Flow> = self.0.dump(GET, &header(family), filter, push)?;
        flows.retain(|it| it.protocol == protocol);
        Ok(flows)
    }

    /// Forgets flows; one that has ended meanwhile is forgotten already.
    pub fn forget(&mut self, flows: &[Flow]) -> Result<(), NetlinkError> {
        for flow in flows {
            let mut messages = Messages::new();
            flow.encode_delete(&mut messages);
            match self.0.send(&mut messages) {
                Err(error) if error.errno() == Some(Errno::NOENT) => {}
                result => result?,
            }
        }
        Ok(())
    }
}

impl Flow {
    /// `None` for flows without ports.
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let (protocol, source, destination) = read_tuple(attributes.nested(CTA_TUPLE_ORIG))?;
        let (_, answered_by, _) = read_tuple(attributes.nested(CTA_TUPLE_REPLY))?;
        Some(Self { protocol, source, destination, answered_by })
    }

    fn encode_delete(&self, messages: &mut Messages) {
        let (family, first) = match self.source.ip() {
            IpAddr::V4(_) => (Family::Ipv4, CTA_IP_V4_SRC),
            IpAddr::V6(_) => (Family::Ipv6, CTA_IP_V6_SRC),
        };
        messages.begin(DELETE, NLM_F_ACK, &header(family));
        let tuple = messages.open(CTA_TUPLE_ORIG);
        let ip = messages.open(CTA_TUPLE_IP);
        messages.address(first, self.source.ip());
        messages.address(first + 1, self.destination.ip());
        messages.close(ip);
        let transport = messages.open(CTA_TUPLE_PROTO);
        messages.attribute(CTA_PROTO_NUM, &[self.protocol]);
        messages.attribute(CTA_PROTO_SRC_PORT, &self.source.port().to_be_bytes());
        messages.attribute(CTA_PROTO_DST_PORT, &self.destination.port().to_be_bytes());
        messages.close(transport);
        messages.close(tuple);
    }
}

impl FlowFilter {
    fn encode_delete(self, protocol: u8, messages: &mut Messages) {
        let (Self::SentTo(at) | Self::AnsweredBy(at)) = self;
        let (family, first) = match at.ip() {
            IpAddr::V4(_) => (Family::Ipv4, CTA_IP_V4_SRC),
            IpAddr::V6(_) => (Family::Ipv6, CTA_IP_V6_SRC),
        };
        messages.begin(DELETE, NLM_F_ACK, &header(family));
        let (kind, address, port) = match self {
            Self::SentTo(_) => (CTA_TUPLE_ORIG, first + 1, CTA_PROTO_DST_PORT),
            Self::AnsweredBy(_) => (CTA_TUPLE_REPLY, first, CTA_PROTO_SRC_PORT),
        };
        let tuple = messages.open(kind);
        let ip = messages.open(CTA_TUPLE_IP);
        messages.address(address, at.ip());
        messages.close(ip);
        let transport = messages.open(CTA_TUPLE_PROTO);
        messages.attribute(CTA_PROTO_NUM, &[protocol]);
        messages.attribute(port, &at.port().to_be_bytes());
        messages.close(transport);
        messages.close(tuple);
        match self {
            Self::SentTo(_) => encode_flags(messages, PROTOCOL | DESTINATION | DESTINATION_PORT, 0),
            Self::AnsweredBy(_) => encode_flags(messages, 0, PROTOCOL | SOURCE | SOURCE_PORT),
        }
    }
}

/// Says which fields of the tuples count.
fn encode_flags(messages: &mut Messages, original: u32, reply: u32) {
    let filter = messages.open(CTA_FILTER);
    messages.u32(CTA_FILTER_ORIG_FLAGS, original);
    messages.u32(CTA_FILTER_REPLY_FLAGS, reply);
    messages.close(filter);
}

/// `struct nfgenmsg`; version 1 makes the kernel heed the family.
fn header(family: Family) -> [u8; HEADER] {
    [family.number(), 1, 0, 0]
}

/// A tuple's protocol, source and destination.
fn read_tuple(tuple: Attributes<'_>) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ip, transport) = (tuple.nested(CTA_TUPLE_IP), tuple.nested(CTA_TUPLE_PROTO));
    let address = |offset: u16| {
        let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(ip.find(CTA_IP_V4_SRC + offset)?).ok()?));
        let v6 =
            || Some(IpAddr::from(<[u8; 16]>::try_from(ip.find(CTA_IP_V6_SRC + offset)?).ok()?));
        v4().or_else(v6)
    };
    let port = |kind| Some(u16::from_be_bytes(transport.find(kind)?.try_into().ok()?));
    let protocol = *transport.find(CTA_PROTO_NUM)?.first()?;
    let source = SocketAddr::new(address(0)?, port(CTA_PROTO_SRC_PORT)?);
    Some((protocol, source, SocketAddr::new(address(1)?, port(CTA_PROTO_DST_PORT)?)))
}
