//! What is listed: a table's chains, rules, sets and their elements.

use std::collections::BTreeSet;

use rustix::io::Errno;

use crate::netlink::{Attributes, Messages, NetlinkError};

use super::{
    Family, HEADER, SUBSYSTEM, TableSocket,
    batch::{
        Element, NFTA_SET_ELEM_DATA, NFTA_SET_ELEM_FLAGS, NFTA_SET_ELEM_KEY, NFTA_SET_ELEM_KEY_END,
        Set,
    },
};

const NFT_MSG_GETTABLE: u16 = SUBSYSTEM | 1;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | 4;
const NFT_MSG_GETRULE: u16 = SUBSYSTEM | 7;
const NFT_MSG_GETSET: u16 = SUBSYSTEM | 10;
const NFT_MSG_GETSETELEM: u16 = SUBSYSTEM | 13;

/// The attribute that names the table, in chains, rules, sets and lists of elements alike.
const TABLE: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_RULE_USERDATA: u16 = 7;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_DATA_VALUE: u16 = 1;
const NFT_SET_ANONYMOUS: u32 = 0x1;

/// A table without its elements: what is written once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What its author attached: the comment; `None` when there is no such table.
    pub user_data: Option<Vec<u8>>,
    /// Its flags: 1 when it is dormant.
    pub flags: u32,
    /// Its chains, in the kernel's order.
    pub chains: Vec<ListedChain>,
    /// Its rules, chain by chain, in order.
    pub rules: Vec<ListedRule>,
    /// Its sets and maps, in the kernel's order.
    pub sets: Vec<ListedSet>,
}

/// A chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChain {
    /// Its name.
    pub name: String,
    /// Its type; empty for one that is only jumped to.
    pub kind: String,
    /// The hook's number and the chain's priority, as they are on the wire.
    pub hook: Vec<u8>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRule {
    /// Its chain.
    pub chain: String,
    /// Its instructions, as they are on the wire.
    pub expressions: Vec<u8>,
    /// What its author attached: the comment.
    pub user_data: Vec<u8>,
}

/// A set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSet {
    /// Its name.
    pub name: String,
    /// Its flags.
    pub flags: u32,
    /// The type of its key.
    pub key_type: u32,
    /// The type of its data, 0 in a set.
    pub data_type: u32,
}

impl TableSocket {
    /// Reads a table's chains, rules and sets; all empty when there is no such table.
    pub fn table(&mut self, family: Family, table: &str) -> Result<Table, NetlinkError> {
        let itself = |it: Attributes<'_>| {
            let flags = it.be32(NFTA_TABLE_FLAGS).unwrap_or_default();
            Some((it.find(NFTA_TABLE_USERDATA).unwrap_or_default().to_vec(), flags))
        };
        let found = self.list(NFT_MSG_GETTABLE, family, table, itself)?.pop();
        let Some((user_data, flags)) = found else { return Ok(Table::default()) };
        let chains = self.list(NFT_MSG_GETCHAIN, family, table, ListedChain::read)?;
        let rules = self.list(NFT_MSG_GETRULE, family, table, ListedRule::read)?;
        let sets = self.list(NFT_MSG_GETSET, family, table, ListedSet::read)?;
        Ok(Table { user_data: Some(user_data), flags, chains, rules, sets })
    }

    /// Reads the elements of a set or map; none when it or its table does not exist.
    pub fn elements(
        &mut self,
        family: Family,
        table: &str,
        set: &str,
    ) -> Result<BTreeSet<Element>, NetlinkError> {
        let filter = |messages: &mut Messages| {
            messages.text(TABLE, table);
            messages.text(NFTA_SET_ELEM_LIST_SET, set);
        };
        let read = |all: &mut BTreeSet<Element>, _, payload: &[u8]| {
            let attributes = Attributes::after(payload, HEADER)?;
            let list = attributes.nested(NFTA_SET_ELEM_LIST_ELEMENTS);
            all.extend(list.filter_map(|(_, it)| Element::read(Attributes::new(it))));
            Ok(())
        };
        let found = self.0.dump(NFT_MSG_GETSETELEM, &family.header(), filter, read);
        match found {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(BTreeSet::new()),
            found => found,
        }
    }

    fn list<T>(
        &mut self,
        kind: u16,
        family: Family,
        table: &str,
        read: impl Fn(Attributes<'_>) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let filter = |messages: &mut Messages| messages.text(TABLE, table);
        let push = |all: &mut Vec<T>, _, payload: &[u8]| {
            let attributes = Attributes::after(payload, HEADER)?;
            // Not every kernel filters by table in every listing.
            if attributes.text(TABLE).as_deref() == Some(table) {
                all.extend(read(attributes));
            }
            Ok(())
        };
        match self.0.dump(kind, &family.header(), filter, push) {
            Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Vec::new()),
            found => found,
        }
    }
}

impl ListedChain {
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let hook = attributes.nested(NFTA_CHAIN_HOOK);
        let parts = [NFTA_HOOK_HOOKNUM, NFTA_HOOK_PRIORITY].map(|it| hook.find(it));
        Some(Self {
            name: attributes.text(NFTA_CHAIN_NAME)?,
            kind: attributes.text(NFTA_CHAIN_TYPE).unwrap_or_default(),
            hook: parts.into_iter().flatten().flatten().copied().collect(),
        })
    }
}

impl ListedRule {
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        Some(Self {
            chain: attributes.text(NFTA_RULE_CHAIN)?,
            expressions: attributes.find(NFTA_RULE_EXPRESSIONS).unwrap_or_default().to_vec(),
            user_data: attributes.find(NFTA_RULE_USERDATA).unwrap_or_default().to_vec(),
        })
    }
}

impl ListedSet {
    /// Whether this is how the kernel lists `set`.
    pub fn is(&self, set: &Set) -> bool {
        (self.name.as_str(), self.flags, self.key_type, self.data_type)
            == (set.name, set.flags(), set.key_type(), set.data_type())
    }

    /// `None` for a set that belongs to a single rule.
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let flags = attributes.be32(NFTA_SET_FLAGS).unwrap_or_default();
        let set = Self {
            name: attributes.text(NFTA_SET_NAME)?,
            flags,
            key_type: attributes.be32(NFTA_SET_KEY_TYPE).unwrap_or_default(),
            data_type: attributes.be32(NFTA_SET_DATA_TYPE).unwrap_or_default(),
        };
        (flags & NFT_SET_ANONYMOUS == 0).then_some(set)
    }
}

impl Element {
    fn read(attributes: Attributes<'_>) -> Option<Self> {
        let value =
            |kind| Some(Attributes::new(attributes.find(kind)?).find(NFTA_DATA_VALUE)?.to_vec());
        Some(Self {
            key: value(NFTA_SET_ELEM_KEY)?,
            key_end: value(NFTA_SET_ELEM_KEY_END),
            data: value(NFTA_SET_ELEM_DATA).unwrap_or_default(),
            end: attributes.be32(NFTA_SET_ELEM_FLAGS).unwrap_or_default() & 1 != 0,
        })
    }
}
