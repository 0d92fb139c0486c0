//! A batch: changes that the kernel takes together.

use crate::netlink::Messages;

use super::{
    Family, SUBSYSTEM,
    expression::{Expression, encode_value},
};

const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NFNL_BATCH_GENID: u16 = 1;
/// `struct nfgenmsg` with the subsystem as its resource, in network byte order.
const BATCH_HEADER: [u8; 4] = [0, 0, 0, 10];

const NFT_MSG_NEWTABLE: u16 = SUBSYSTEM;
const NFT_MSG_DELTABLE: u16 = SUBSYSTEM | 2;
const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM | 3;
const NFT_MSG_NEWRULE: u16 = SUBSYSTEM | 6;
const NFT_MSG_NEWSET: u16 = SUBSYSTEM | 9;
const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM | 12;
const NFT_MSG_DELSETELEM: u16 = SUBSYSTEM | 14;

const NLM_F_ACK: u16 = 0x4;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_FIELD_LEN: u16 = 1;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_SET_ELEM_KEY: u16 = 1;
pub(super) const NFTA_SET_ELEM_DATA: u16 = 2;
pub(super) const NFTA_SET_ELEM_FLAGS: u16 = 3;
pub(super) const NFTA_SET_ELEM_KEY_END: u16 = 10;

const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_CONCAT: u32 = 0x80;
const NFT_SET_ELEM_INTERVAL_END: u32 = 0x1;
const NF_ACCEPT: u32 = 1;

/// How libnftables stores a comment in user data: type 0, length, text with its NUL.
const COMMENT: u8 = 0;

/// Changes to one table, taken together or not at all.
#[derive(Debug)]
pub struct Batch {
    family: Family,
    table: &'static str,
    messages: Messages,
    sets: u32,
}

/// A base chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: &'static str,
    /// What it may do.
    pub kind: ChainKind,
    /// Where it sees packets.
    pub hook: Hook,
    /// Its place among the chains of that hook, lowest first.
    pub priority: i32,
}

/// What a chain may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainKind {
    /// Accept and drop.
    Filter,
    /// Translate addresses; sees only the first packet of a connection.
    Nat,
}

/// Where a chain sees packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// As they come in.
    Prerouting,
    /// On their way through.
    Forward,
    /// As they leave a program of this host.
    Output,
    /// As they go out.
    Postrouting,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its chain.
    pub chain: &'static str,
    /// Why it is there, in at most 120 bytes; `nft` shows it.
    pub comment: &'static str,
    /// What it does.
    pub expressions: Vec<Expression>,
}

/// A set, or a map when it has data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: &'static str,
    /// The fields of its key.
    pub key: &'static [DataType],
    /// The fields of its data.
    pub data: &'static [DataType],
    /// Whether its elements are ranges of keys.
    pub interval: bool,
    /// What it is for, in at most 120 bytes; `nft` shows it.
    pub comment: &'static str,
}

/// The type of a field, as `nft` numbers and shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// `nf_proto`.
    Family,
    /// `ipv4_addr`.
    Ipv4,
    /// `ipv6_addr`.
    Ipv6,
    /// `inet_proto`.
    Protocol,
    /// `inet_service`.
    Port,
    /// `ifname`.
    Interface,
}

/// An element of a set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// Its key, every field padded to four bytes; the first key of a range.
    pub key: Vec<u8>,
    /// The last key of the range, in a set of ranges with several fields.
    pub key_end: Option<Vec<u8>>,
    /// What the key leads to; empty in a set.
    pub data: Vec<u8>,
    /// Whether this is not an element but the end of one: in a set of ranges with a single field,
    /// the first key behind the range.
    pub end: bool,
}

impl Batch {
    /// Begins a batch, bound to `generation` if one is given.
    pub fn new(family: Family, table: &'static str, generation: Option<u32>) -> Self {
        let mut messages = Messages::new();
        messages.begin(NFNL_MSG_BATCH_BEGIN, 0, &BATCH_HEADER);
        if let Some(generation) = generation {
            messages.be32(NFNL_BATCH_GENID, generation);
        }
        Self { family, table, messages, sets: 0 }
    }

    /// How many changes it holds.
    pub fn changes(&self) -> usize {
        self.messages.count() - 1
    }

    /// Adds the table, unless it is there.
    pub fn add_table(&mut self, comment: &str) {
        self.begin(NFT_MSG_NEWTABLE, NLM_F_CREATE);
        self.messages.text(NFTA_TABLE_NAME, self.table);
        self.messages.attribute(NFTA_TABLE_USERDATA, &user_data(comment));
    }

    /// Deletes the table with all it holds.
    pub fn delete_table(&mut self) {
        self.begin(NFT_MSG_DELTABLE, 0);
        self.messages.text(NFTA_TABLE_NAME, self.table);
    }

    /// Adds a base chain whose policy is to accept.
    pub fn add_chain(&mut self, chain: &Chain) {
        self.begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
        let messages = &mut self.messages;
        messages.text(NFTA_CHAIN_TABLE, self.table);
        messages.text(NFTA_CHAIN_NAME, chain.name);
        let hook = messages.open(NFTA_CHAIN_HOOK);
        messages.be32(NFTA_HOOK_HOOKNUM, chain.hook.number());
        messages.attribute(NFTA_HOOK_PRIORITY, &chain.priority.to_be_bytes());
        messages.close(hook);
        messages.be32(NFTA_CHAIN_POLICY, NF_ACCEPT);
        messages.text(NFTA_CHAIN_TYPE, chain.kind.name());
    }

    /// Adds a rule at the end of its chain.
    pub fn add_rule(&mut self, rule: &Rule) {
        self.begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
        let messages = &mut self.messages;
        messages.text(NFTA_RULE_TABLE, self.table);
        messages.text(NFTA_RULE_CHAIN, rule.chain);
        let list = messages.open(NFTA_RULE_EXPRESSIONS);
        rule.expressions.iter().for_each(|it| it.encode(messages));
        messages.close(list);
        messages.attribute(NFTA_RULE_USERDATA, &user_data(rule.comment));
    }

    /// Adds a set or map.
    pub fn add_set(&mut self, set: &Set) {
        self.begin(NFT_MSG_NEWSET, NLM_F_CREATE);
        self.sets += 1;
        let messages = &mut self.messages;
        messages.text(NFTA_SET_TABLE, self.table);
        messages.text(NFTA_SET_NAME, set.name);
        messages.be32(NFTA_SET_FLAGS, set.flags());
        messages.be32(NFTA_SET_KEY_TYPE, set.key_type());
        messages.be32(NFTA_SET_KEY_LEN, length(set.key));
        if !set.data.is_empty() {
            messages.be32(NFTA_SET_DATA_TYPE, set.data_type());
            messages.be32(NFTA_SET_DATA_LEN, length(set.data));
        }
        messages.be32(NFTA_SET_ID, self.sets);
        messages.attribute(NFTA_SET_USERDATA, &set_user_data(set));
        if set.key.len() > 1 {
            encode_fields(messages, set.key);
        }
    }

    /// Adds elements to a set or map; one that is there already stays, unless its data differ,
    /// which the kernel refuses (`EEXIST`, or `EBUSY` before Linux 6.12).
    pub fn add_elements<'a>(
        &mut self,
        set: &'static str,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        self.elements(NFT_MSG_NEWSETELEM, NLM_F_CREATE, set, elements);
    }

    /// Deletes elements; one that is not there is refused (`ENOENT`).
    pub fn delete_elements<'a>(
        &mut self,
        set: &'static str,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        self.elements(NFT_MSG_DELSETELEM, 0, set, elements);
    }

    /// The messages, the last change to be acknowledged; `None` when there is no change.
    pub(super) fn finish(mut self) -> Option<Messages> {
        if self.changes() == 0 {
            return None;
        }
        self.messages.begin(NFNL_MSG_BATCH_END, 0, &BATCH_HEADER);
        Some(self.messages)
    }

    fn begin(&mut self, kind: u16, flags: u16) {
        // Only the last answer is waited for, but which change is the last is not known yet, and
        // acknowledgements are cheap.
        self.messages.begin(kind, flags | NLM_F_ACK, &self.family.header());
    }

    /// A list longer than an attribute may be continues in a further message.
    fn elements<'a>(
        &mut self,
        kind: u16,
        flags: u16,
        set: &'static str,
        elements: impl IntoIterator<Item = &'a Element>,
    ) {
        let mut elements = elements.into_iter().peekable();
        while elements.peek().is_some() {
            self.begin(kind, flags);
            let messages = &mut self.messages;
            messages.text(NFTA_SET_ELEM_LIST_TABLE, self.table);
            messages.text(NFTA_SET_ELEM_LIST_SET, set);
            let list = messages.open(NFTA_SET_ELEM_LIST_ELEMENTS);
            while let Some(element) = elements.next_if(|it| messages.has_room(&list, it.room())) {
                element.encode(messages);
            }
            messages.close(list);
        }
    }
}

impl Set {
    pub(super) fn flags(&self) -> u32 {
        let flag = |on: bool, flag| if on { flag } else { 0 };
        flag(self.interval, NFT_SET_INTERVAL)
            | flag(!self.data.is_empty(), NFT_SET_MAP)
            | flag(self.key.len() > 1, NFT_SET_CONCAT)
    }

    pub(super) fn key_type(&self) -> u32 {
        joined(self.key)
    }

    pub(super) fn data_type(&self) -> u32 {
        joined(self.data)
    }
}

impl Element {
    /// An element of a set.
    pub fn new(key: Vec<u8>) -> Self {
        Self { key, ..Self::default() }
    }

    /// An upper bound of its encoded length.
    fn room(&self) -> usize {
        64 + self.key.len() + self.key_end.as_ref().map_or(0, Vec::len) + self.data.len()
    }

    fn encode(&self, messages: &mut Messages) {
        let element = messages.open(NFTA_LIST_ELEM);
        encode_value(messages, NFTA_SET_ELEM_KEY, &self.key);
        if let Some(end) = &self.key_end {
            encode_value(messages, NFTA_SET_ELEM_KEY_END, end);
        }
        if !self.data.is_empty() {
            encode_value(messages, NFTA_SET_ELEM_DATA, &self.data);
        }
        if self.end {
            messages.be32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
        }
        messages.close(element);
    }
}

impl DataType {
    /// nftables' own number of the type (`enum datatypes`); the kernel only stores it.
    fn number(self) -> u32 {
        match self {
            Self::Family => 2,
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Interface => 41,
        }
    }

    fn length(self) -> u32 {
        match self {
            Self::Family | Self::Protocol => 1,
            Self::Port => 2,
            Self::Ipv4 => 4,
            Self::Ipv6 | Self::Interface => 16,
        }
    }
}

impl ChainKind {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Nat => "nat",
        }
    }
}

impl Hook {
    /// `enum nf_inet_hooks`.
    fn number(self) -> u32 {
        match self {
            Self::Prerouting => 0,
            Self::Forward => 2,
            Self::Output => 3,
            Self::Postrouting => 4,
        }
    }
}

/// The types of a key's fields in one number, six bits each.
fn joined(fields: &[DataType]) -> u32 {
    fields.iter().fold(0, |all, field| all << 6 | field.number())
}

/// The length of a key: a single field's own, or that of all fields, each padded to four bytes.
fn length(fields: &[DataType]) -> u32 {
    match fields {
        [one] => one.length(),
        fields => fields.iter().map(|it| it.length().next_multiple_of(4)).sum(),
    }
}

/// What libnftables wants to know for showing the set: the byte order of its key (1 the host's, 2
/// the network's), and the comment.
fn set_user_data(set: &Set) -> Vec<u8> {
    const BYTE_ORDER: u8 = 0;
    const SET_COMMENT: u8 = 7;
    let order: u32 = if set.key == [DataType::Interface] { 1 } else { 2 };
    let mut data = vec![BYTE_ORDER, 4];
    data.extend(order.to_ne_bytes());
    let mut comment = user_data(set.comment);
    comment[0] = SET_COMMENT;
    data.extend(comment);
    data
}

fn encode_fields(messages: &mut Messages, fields: &[DataType]) {
    let description = messages.open(NFTA_SET_DESC);
    let list = messages.open(NFTA_SET_DESC_CONCAT);
    for field in fields {
        let element = messages.open(NFTA_LIST_ELEM);
        messages.be32(NFTA_SET_FIELD_LEN, field.length());
        messages.close(element);
    }
    messages.close(list);
    messages.close(description);
}

/// A comment as it is stored in a table's or rule's user data, where `nft` finds it.
pub fn user_data(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).expect("BUG: a comment is short");
    [&[COMMENT, length], comment.as_bytes(), &[0]].concat()
}
