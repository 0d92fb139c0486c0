//! Addresses: an address with its prefix ([`Cidr`]) and a hardware address ([`MacAddress`]).
//!
//! **Invariant:** a [`Cidr`]'s prefix never exceeds the width of its family (32 or 128).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An address and the length of its network's prefix: `172.17.0.1/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// A hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

/// Why a text is no [`Cidr`] or [`MacAddress`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseAddressError {
    /// Not `ADDRESS/PREFIX`, or a prefix longer than the address.
    #[error("{text:?} is not an address with a prefix length, like 172.17.0.0/16")]
    Cidr {
        /// What was given.
        text: String,
    },
    /// Not six hexadecimal bytes joined by colons.
    #[error("{text:?} is not a hardware address, like 02:42:ac:11:00:02")]
    Mac {
        /// What was given.
        text: String,
    },
}

impl Cidr {
    /// Joins an address and a prefix length; `None` when the prefix is longer than the address.
    pub fn new(address: impl Into<IpAddr>, prefix: u8) -> Option<Self> {
        let address = address.into();
        (prefix <= width(address)).then_some(Self { address, prefix })
    }

    /// The address, host part included.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The length of the network's prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The network: the same prefix, host part zero.
    pub fn network(&self) -> Self {
        self.with_bits(bits(self.address) & self.mask())
    }

    /// The last address of the network: IPv4's broadcast address.
    pub fn last(&self) -> IpAddr {
        let host = self.host_mask();
        self.with_bits((bits(self.address) & !host) | host).address
    }

    /// The `offset`th address of the network, 0 being the network's own; `None` beyond its end.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        let first = bits(self.address) & self.mask();
        (offset <= self.host_mask()).then(|| self.with_bits(first | offset).address)
    }

    /// How far `address` lies from the network's first; `None` outside of it.
    pub fn offset_of(&self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| bits(address) & self.host_mask())
    }

    /// Whether `address` lies in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4()
            && bits(self.address) & self.mask() == bits(address) & self.mask()
    }

    /// Whether the two networks share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }

    /// How many addresses the network has, minus one: the mask of the host part.
    pub(crate) fn host_mask(&self) -> u128 {
        u128::MAX.checked_shr(128 - u32::from(width(self.address) - self.prefix)).unwrap_or(0)
    }

    fn mask(&self) -> u128 {
        !self.host_mask()
    }

    fn with_bits(&self, bits: u128) -> Self {
        let address = match self.address {
            // The upper 96 bits of an IPv4 address's number are zero: the cast drops nothing.
            #[allow(clippy::cast_possible_truncation, reason = "an IPv4 number fits 32 bits")]
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        };
        Self { address, prefix: self.prefix }
    }
}

impl MacAddress {
    /// The address a container gets unless it asks for one: `02:42` and the IPv4 address, as
    /// Docker does. The same address always has the same hardware address, so that neighbours'
    /// ARP entries stay true when a container is replaced.
    pub fn for_address(address: IpAddr) -> Self {
        let tail = match address {
            IpAddr::V4(v4) => v4.octets(),
            IpAddr::V6(v6) => {
                let [.., a, b, c, d] = v6.octets();
                [a, b, c, d]
            }
        };
        Self([0x02, 0x42, tail[0], tail[1], tail[2], tail[3]])
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            Self::new(address.parse::<IpAddr>().ok()?, prefix.parse().ok()?)
        };
        parse().ok_or_else(|| ParseAddressError::Cidr { text: text.to_owned() })
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for MacAddress {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let mut bytes = [0; 6];
            let mut parts = text.split([':', '-']);
            for byte in &mut bytes {
                let part = parts.next().filter(|it| it.len() == 2)?;
                *byte = u8::from_str_radix(part, 16).ok()?;
            }
            parts.next().is_none().then_some(Self(bytes))
        };
        parse().ok_or_else(|| ParseAddressError::Mac { text: text.to_owned() })
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_knows_its_bounds() {
        let net = cidr("172.17.3.4/16");
        assert_eq!(net.network(), cidr("172.17.0.0/16"));
        assert_eq!(net.last().to_string(), "172.17.255.255");
        assert_eq!(net.nth(258).unwrap().to_string(), "172.17.1.2");
        assert_eq!(net.nth(65536), None);
        assert_eq!(net.offset_of("172.17.1.2".parse().unwrap()), Some(258));
        assert_eq!(net.offset_of("172.18.0.1".parse().unwrap()), None);
    }

    #[test]
    fn the_shortest_and_longest_prefixes_hold() {
        assert!(cidr("0.0.0.0/0").contains("255.1.2.3".parse().unwrap()));
        assert!(!cidr("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert_eq!(cidr("10.0.0.1/32").nth(1), None);
        assert!(cidr("::/0").overlaps(&cidr("fd00::1/128")));
        assert_eq!(cidr("fd00::7/64").nth(2).unwrap().to_string(), "fd00::2");
    }

    #[test]
    fn overlap_is_symmetric() {
        let (wide, narrow, other) = (cidr("10.0.0.0/8"), cidr("10.9.8.7/24"), cidr("11.0.0.0/8"));
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
        assert!(!wide.overlaps(&other) && !other.overlaps(&narrow));
    }

    #[test]
    fn nonsense_is_no_address() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "a/8", "10.0.0.0/8/8", "::/129"]
        {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        for text in ["", "02:42", "02:42:ac:11:00:0", "02:42:ac:11:00:02:03", "zz:42:ac:11:00:02"] {
            assert!(text.parse::<MacAddress>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hardware_address_follows_from_the_address() {
        let mac = MacAddress::for_address("172.17.0.2".parse().unwrap());
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        assert_eq!("02:42:ac:11:00:02".parse(), Ok(mac));
    }
}
