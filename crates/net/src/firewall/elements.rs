//! Elements: what bridges and publications become in sets and maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use wadah_sys::nfnetlink::{Element, Family};

use crate::{Bridge, Cidr, Publication};

use super::layout::set;

/// Elements by set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Elements(BTreeMap<&'static str, BTreeSet<Element>>);

static NONE: BTreeSet<Element> = BTreeSet::new();

impl Elements {
    /// What `family`'s table holds for these bridges and publications.
    pub(crate) fn new<'a>(
        family: Family,
        bridges: impl IntoIterator<Item = &'a Bridge>,
        publications: impl IntoIterator<Item = &'a Publication>,
        closed: bool,
    ) -> Self {
        let mut elements = Self::default();
        bridges.into_iter().for_each(|it| elements.add_bridge(family, it));
        publications.into_iter().for_each(|it| elements.add_publication(family, it));
        if closed {
            elements.add(set::CLOSED, Element::new(vec![element::family(family)]));
        }
        elements
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &BTreeSet<Element>)> {
        self.0.iter().map(|(set, elements)| (*set, elements))
    }

    pub(crate) fn of(&self, set: &str) -> &BTreeSet<Element> {
        self.0.get(set).unwrap_or(&NONE)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are not in `other`.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.0.iter_mut().for_each(|(set, elements)| {
            elements.retain(|it| !other.of(set).contains(it));
        });
        self
    }

    /// A bridge is known to both families, whatever addresses it has: what is dropped on it must
    /// be dropped for both.
    fn add_bridge(&mut self, family: Family, bridge: &Bridge) {
        let name = element::interface(&bridge.name);
        self.add(set::BRIDGES, Element::new(name.clone()));
        if bridge.icc {
            self.add(set::WITHIN, Element::new([name.clone(), name.clone()].concat()));
        }
        if bridge.internal {
            self.add(set::INTERNAL, Element::new(name.clone()));
        }
        let ours = bridge.gateways.iter().filter(|it| family_of(it.address()) == family);
        for subnet in ours.map(Cidr::network) {
            let (first, last) = (subnet.address(), subnet.last());
            self.add(set::SUBNETS, element::subnet(first, last, &name));
            if bridge.masquerade && !bridge.internal {
                self.add_range(set::MASQUERADE, first, last);
            }
        }
    }

    fn add_publication(&mut self, family: Family, publication: &Publication) {
        if family_of(publication.container_address) == family {
            let (set, element) = element::publication(publication);
            self.add(set, element);
        }
    }

    fn add(&mut self, set: &'static str, element: Element) {
        self.0.entry(set).or_default().insert(element);
    }

    /// In a set of ranges with a single field, a range is two elements: its first key, and the
    /// key behind its last. A range up to the very last address has no end.
    fn add_range(&mut self, set: &'static str, first: IpAddr, last: IpAddr) {
        self.add(set, Element::new(element::address(first)));
        let behind = match last {
            IpAddr::V4(v4) => v4.to_bits().checked_add(1).map(|it| it.to_be_bytes().to_vec()),
            IpAddr::V6(v6) => v6.to_bits().checked_add(1).map(|it| it.to_be_bytes().to_vec()),
        };
        if let Some(key) = behind {
            self.add(set, Element { end: true, ..Element::new(key) });
        }
    }
}

/// Encodings of fields and elements.
pub(crate) mod element {
    use super::{Element, Family, IpAddr, Publication, set};

    /// An interface's name: 16 bytes, the rest zero.
    pub(crate) fn interface(name: &str) -> Vec<u8> {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    }

    pub(crate) fn address(address: IpAddr) -> Vec<u8> {
        match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    pub(super) fn subnet(first: IpAddr, last: IpAddr, interface: &[u8]) -> Element {
        let key = [address(first), interface.to_vec()].concat();
        let key_end = Some([address(last), interface.to_vec()].concat());
        Element { key, key_end, ..Element::default() }
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    pub(crate) fn family(family: Family) -> u8 {
        match family {
            Family::Ipv4 => 2,
            Family::Ipv6 => 10,
        }
    }

    /// The map and the element of a published port.
    pub(crate) fn publication(publication: &Publication) -> (&'static str, Element) {
        let port = |number: u16| {
            let [high, low] = number.to_be_bytes();
            [high, low, 0, 0]
        };
        let specific = publication.specific_address();
        let mut key = specific.map(address).unwrap_or_default();
        key.extend([publication.protocol.number(), 0, 0, 0]);
        key.extend(port(publication.host_port));
        let mut data = address(publication.container_address);
        data.extend(port(publication.container_port));
        let map = if specific.is_some() { set::PORTS_AT } else { set::PORTS };
        (map, Element { key, data, ..Element::default() })
    }
}

pub(crate) fn family_of(address: IpAddr) -> Family {
    if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}
