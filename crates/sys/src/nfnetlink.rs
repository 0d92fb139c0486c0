//! nf_tables: tables, chains, rules, sets and maps with their elements.
//!
//! A [`TableSocket`] works on the network namespace in which it was opened. A [`Batch`] is taken
//! by the kernel as a whole or not at all, and changes nothing that another sees half-way. Every
//! committed batch raises the namespace's generation; a batch may demand the generation it was
//! computed from and is refused (`ERESTART`) if somebody else was faster.
//!
//! Present is what Wadah's firewall is made of, no more: no counters, limits, objects, flow
//! tables or named hooks.
//!
//! Format: kernel `Documentation/netlink/specs/nftables.yaml`, `linux/netfilter/nf_tables.h`.

mod batch;
mod conntrack;
mod expression;
mod listing;

use crate::netlink::{Attributes, Messages, NetlinkError, Protocol, Socket};

pub use batch::{Batch, Chain, ChainKind, DataType, Element, Hook, Rule, Set, user_data};
pub use conntrack::{Flow, FlowFilter};
pub use expression::{
    ConntrackKey, Expression, FibAddress, MetaKey, PayloadBase, Register, Verdict, state, status,
};
pub use listing::{ListedChain, ListedRule, ListedSet, Table};

/// `NFNL_SUBSYS_NFTABLES`, in a message type's upper byte.
const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_GETGEN: u16 = SUBSYSTEM | 16;
const NFTA_GEN_ID: u16 = 1;
/// `struct nfgenmsg`.
const HEADER: usize = 4;

/// An address family with tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `ip`.
    Ipv4,
    /// `ip6`.
    Ipv6,
}

/// A socket for nf_tables.
#[derive(Debug)]
pub struct TableSocket(Socket);

impl Family {
    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// `struct nfgenmsg`: family, version 0, resource 0.
    fn header(self) -> [u8; HEADER] {
        [self.number(), 0, 0, 0]
    }
}

impl TableSocket {
    /// Opens one in the calling thread's network namespace.
    pub fn open() -> Result<Self, NetlinkError> {
        Socket::open(Protocol::Netfilter).map(Self)
    }

    /// The generation: a number that every committed batch raises, whoever sent it.
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        let mut messages = Messages::new();
        messages.begin(NFT_MSG_GETGEN, 0, &[0; HEADER]);
        self.0.get(&mut messages, |_, payload| {
            let generation = Attributes::after(payload, HEADER)?.be32(NFTA_GEN_ID);
            generation.ok_or(NetlinkError::Malformed { what: "no generation" })
        })
    }

    /// Commits a batch. An error's `index` counts the batch's own changes from 1; 0 is the batch
    /// as a whole.
    pub fn commit(&mut self, batch: Batch) -> Result<(), NetlinkError> {
        match batch.finish() {
            Some(mut messages) => self.0.send_atomic(&mut messages),
            None => Ok(()),
        }
    }
}
