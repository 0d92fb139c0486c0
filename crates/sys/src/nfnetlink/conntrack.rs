//! Connection tracking: forgetting flows.
//!
//! A flow is translated as its first packet was. A UDP client that never pauses keeps its flow,
//! and with it a translation to a container that is gone, or none at all; forgetting the flow
//! lets its next packet be judged anew.
//!
//! Format: kernel `Documentation/netlink/specs/conntrack.yaml`, `nfnetlink_conntrack.h`. Filters
//! need Linux 5.8.

use std::net::IpAddr;

use crate::netlink::{Messages, NetlinkError};

use super::TableSocket;

/// `NFNL_SUBSYS_CTNETLINK`, `IPCTNL_MSG_CT_DELETE`.
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
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Which fields of the filter's tuple count: the kernel's `CTA_FILTER_F_*`.
const SOURCE: u32 = 1 << 0;
const DESTINATION: u32 = 1 << 1;
const PROTOCOL: u32 = 1 << 3;
const SOURCE_PORT: u32 = 1 << 4;
const DESTINATION_PORT: u32 = 1 << 5;

/// Which flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFilter {
    /// Those whose client talks to this address and port, as the client sees it.
    Towards {
        /// The transport protocol's number.
        protocol: u8,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Those that are answered from this address and port, after translation.
    AnsweredBy {
        /// The transport protocol's number.
        protocol: u8,
        /// The address.
        address: IpAddr,
        /// The port.
        port: u16,
    },
}

impl TableSocket {
    /// Forgets the flows that match any of `filters`.
    pub fn forget_flows(&mut self, filters: &[FlowFilter]) -> Result<(), NetlinkError> {
        let mut messages = Messages::new();
        filters.iter().for_each(|it| it.encode(&mut messages));
        if filters.is_empty() { Ok(()) } else { self.0.send(&mut messages) }
    }
}

impl FlowFilter {
    fn encode(&self, messages: &mut Messages) {
        let (Self::Towards { protocol, address, port }
        | Self::AnsweredBy { protocol, address, port }) = self;
        // Version 1 makes the kernel heed the family.
        let (family, addresses) = match address {
            IpAddr::V4(_) => (2, (CTA_IP_V4_SRC, CTA_IP_V4_DST)),
            IpAddr::V6(_) => (10, (CTA_IP_V6_SRC, CTA_IP_V6_DST)),
        };
        messages.begin(DELETE, NLM_F_ACK, &[family, 1, 0, 0]);
        let (tuple, address_kind, port_kind, flags) = match self {
            Self::Towards { .. } => {
                let flags = [PROTOCOL | DESTINATION | DESTINATION_PORT, 0];
                (CTA_TUPLE_ORIG, addresses.1, CTA_PROTO_DST_PORT, flags)
            }
            Self::AnsweredBy { .. } => {
                let flags = [0, PROTOCOL | SOURCE | SOURCE_PORT];
                (CTA_TUPLE_REPLY, addresses.0, CTA_PROTO_SRC_PORT, flags)
            }
        };
        let tuple = messages.open(tuple);
        let ip = messages.open(CTA_TUPLE_IP);
        messages.address(address_kind, *address);
        messages.close(ip);
        let transport = messages.open(CTA_TUPLE_PROTO);
        messages.attribute(CTA_PROTO_NUM, &[*protocol]);
        messages.attribute(port_kind, &port.to_be_bytes());
        messages.close(transport);
        messages.close(tuple);
        let filter = messages.open(CTA_FILTER);
        messages.u32(CTA_FILTER_ORIG_FLAGS, flags[0]);
        messages.u32(CTA_FILTER_REPLY_FLAGS, flags[1]);
        messages.close(filter);
    }
}
