//! Expressions: the instructions a rule is made of.
//!
//! A rule runs its expressions in order over sixteen registers of four bytes. A comparison or
//! lookup that fails ends the rule.

use crate::netlink::Messages;

use super::Family;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFT_REG_VERDICT: u32 = 0;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;
const NFT_LOOKUP_F_INV: u32 = 1;
const NFT_NAT_DNAT: u32 = 1;
const NFTA_FIB_F_DADDR: u32 = 2;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;

/// One of the sixteen registers of four bytes; longer values fill those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(u8);

impl Register {
    /// The first.
    pub const FIRST: Self = Self(0);

    /// The register `bytes` further on.
    pub const fn after(self, bytes: u8) -> Self {
        Self(self.0 + bytes.div_ceil(4))
    }

    /// Every fourth is `NFT_REG_1` and on, the others `NFT_REG32_00` and on: the kernel's own way
    /// of listing them.
    fn number(self) -> u32 {
        let index = u32::from(self.0);
        if index.is_multiple_of(4) { 1 + index / 4 } else { 8 + index }
    }
}

/// What a packet's own record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaKey {
    /// The name of the interface it came in by, 16 bytes.
    InputName,
    /// The name of the interface it goes out by, 16 bytes.
    OutputName,
    /// The family, one byte.
    Family,
    /// The transport protocol, one byte.
    Transport,
}

/// Where an offset into the packet counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadBase {
    /// The IP header.
    Network,
    /// The transport header.
    Transport,
}

/// What connection tracking tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConntrackKey {
    /// The connection's [`state`] bits.
    State,
    /// The connection's [`status`] bits.
    Status,
}

/// Bits of [`ConntrackKey::State`].
pub mod state {
    /// Packets in both directions were seen.
    pub const ESTABLISHED: u32 = 2;
    /// Belongs to another connection: ICMP errors.
    pub const RELATED: u32 = 4;
}

/// Bits of [`ConntrackKey::Status`].
pub mod status {
    /// The destination was translated.
    pub const DESTINATION_TRANSLATED: u32 = 1 << 5;
}

/// What the routing table says of the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibAddress {
    /// An address of this host.
    Local,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This chain is content; those of later priority still see the packet.
    Accept,
    /// The packet is gone.
    Drop,
    /// Back to the calling chain, or the base chain's policy.
    Return,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// Loads a fact about the packet.
    Meta(MetaKey, Register),
    /// Loads a piece of the packet.
    Payload(PayloadBase, u32, u32, Register),
    /// Loads a fact about the connection.
    Conntrack(ConntrackKey, Register),
    /// Goes on if the destination is of this kind; spoils the register.
    Destination(FibAddress, Register),
    /// Masks a register's first bytes.
    Mask(Register, Vec<u8>),
    /// Goes on if the register holds the value.
    Equal(Register, Vec<u8>),
    /// Goes on unless the register holds the value.
    NotEqual(Register, Vec<u8>),
    /// Goes on if the set has the register's value.
    In(Register, &'static str),
    /// Goes on unless the set has the register's value.
    NotIn(Register, &'static str),
    /// Looks the register's value up in a map and puts what it finds into the second register.
    Map(Register, &'static str, Register),
    /// Rewrites the destination: address and port from registers.
    DestinationNat(Family, Register, Register),
    /// Rewrites the source to the address of the interface the packet leaves by.
    Masquerade,
    /// Ends the rule.
    Verdict(Verdict),
}

impl Expression {
    /// The expression's name in the kernel.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Meta(..) => "meta",
            Self::Payload(..) => "payload",
            Self::Conntrack(..) => "ct",
            Self::Destination(..) => "fib",
            Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::In(..) | Self::NotIn(..) | Self::Map(..) => "lookup",
            Self::DestinationNat(..) => "nat",
            Self::Masquerade => "masq",
            Self::Verdict(_) => "immediate",
        }
    }

    /// One element of the rule's list; two for `fib`, which loads and then compares.
    pub(super) fn encode(&self, messages: &mut Messages) {
        if let Self::Destination(FibAddress::Local, register) = self {
            self.encode_one(messages);
            // RTN_LOCAL
            Self::Equal(*register, 2_u32.to_ne_bytes().to_vec()).encode_one(messages);
        } else {
            self.encode_one(messages);
        }
    }

    fn encode_one(&self, messages: &mut Messages) {
        let element = messages.open(NFTA_LIST_ELEM);
        messages.text(NFTA_EXPR_NAME, self.name());
        let data = messages.open(NFTA_EXPR_DATA);
        self.encode_data(messages);
        messages.close(data);
        messages.close(element);
    }

    /// The attributes' numbers are those of the expression's own `enum nft_*_attributes`.
    fn encode_data(&self, m: &mut Messages) {
        match self {
            Self::Meta(key, register) => be32s(m, &[(1, register.number()), (2, key.number())]),
            Self::Payload(base, offset, length, register) => {
                let numbers = [register.number(), base.number(), *offset, *length];
                (1..).zip(numbers).for_each(|(kind, number)| m.be32(kind, number));
            }
            Self::Conntrack(key, register) => {
                be32s(m, &[(1, register.number()), (2, key.number())]);
            }
            Self::Destination(FibAddress::Local, register) => be32s(
                m,
                &[(1, register.number()), (2, NFT_FIB_RESULT_ADDRTYPE), (3, NFTA_FIB_F_DADDR)],
            ),
            Self::Mask(register, mask) => encode_mask(m, *register, mask),
            Self::Equal(register, value) => encode_compare(m, *register, NFT_CMP_EQ, value),
            Self::NotEqual(register, value) => encode_compare(m, *register, NFT_CMP_NEQ, value),
            Self::In(register, set) => {
                m.text(1, set);
                m.be32(2, register.number());
            }
            Self::NotIn(register, set) => {
                m.text(1, set);
                be32s(m, &[(2, register.number()), (5, NFT_LOOKUP_F_INV)]);
            }
            Self::Map(register, map, result) => {
                m.text(1, map);
                be32s(m, &[(2, register.number()), (3, result.number())]);
            }
            Self::DestinationNat(family, address, port) => {
                be32s(m, &[(1, NFT_NAT_DNAT), (2, family.number().into())]);
                be32s(m, &[(3, address.number()), (5, port.number())]);
            }
            Self::Masquerade => {}
            Self::Verdict(verdict) => {
                m.be32(1, NFT_REG_VERDICT);
                encode_verdict(m, 2, *verdict);
            }
        }
    }
}

impl MetaKey {
    /// `enum nft_meta_keys`.
    fn number(self) -> u32 {
        match self {
            Self::InputName => 6,
            Self::OutputName => 7,
            Self::Family => 15,
            Self::Transport => 16,
        }
    }
}

impl PayloadBase {
    /// `enum nft_payload_bases`.
    fn number(self) -> u32 {
        match self {
            Self::Network => 1,
            Self::Transport => 2,
        }
    }
}

impl ConntrackKey {
    /// `enum nft_ct_keys`.
    fn number(self) -> u32 {
        match self {
            Self::State => 0,
            Self::Status => 2,
        }
    }
}

impl Verdict {
    /// `NF_DROP`, `NF_ACCEPT`, `NFT_RETURN`.
    fn code(self) -> i32 {
        match self {
            Self::Drop => 0,
            Self::Accept => 1,
            Self::Return => -5,
        }
    }
}

fn be32s(messages: &mut Messages, pairs: &[(u16, u32)]) {
    pairs.iter().for_each(|(kind, value)| messages.be32(*kind, *value));
}

pub(super) fn encode_value(messages: &mut Messages, kind: u16, value: &[u8]) {
    let data = messages.open(kind);
    messages.attribute(NFTA_DATA_VALUE, value);
    messages.close(data);
}

fn encode_verdict(messages: &mut Messages, kind: u16, verdict: Verdict) {
    let data = messages.open(kind);
    let inner = messages.open(NFTA_DATA_VERDICT);
    messages.attribute(NFTA_VERDICT_CODE, &verdict.code().to_be_bytes());
    messages.close(inner);
    messages.close(data);
}

fn encode_compare(messages: &mut Messages, register: Register, operator: u32, value: &[u8]) {
    be32s(messages, &[(1, register.number()), (2, operator)]);
    encode_value(messages, 3, value);
}

fn encode_mask(messages: &mut Messages, register: Register, mask: &[u8]) {
    let length = u32::try_from(mask.len()).expect("BUG: a mask is as long as a register");
    be32s(messages, &[(1, register.number()), (2, register.number()), (3, length)]);
    encode_value(messages, 4, mask);
    encode_value(messages, 5, &vec![0; mask.len()]);
}
