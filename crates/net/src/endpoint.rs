//! What the engine asks of a host: bridges and the endpoints on them.
//!
//! Plain data. Addresses come as lists so that one description serves IPv4, IPv6 and both.

use std::net::IpAddr;

use rustix::{io::Errno, rand};

use crate::{Cidr, MacAddress};

/// The name of the bridge of the default network.
pub const DEFAULT_BRIDGE: &str = "wadah0";

/// How the host's side of every veth pair begins.
pub const VETH_PREFIX: &str = "wv";

/// A bridge: the host's side of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The interface's name, at most 15 bytes.
    pub name: String,
    /// The host's addresses on it: the containers' gateways.
    pub gateways: Vec<Cidr>,
    /// Its maximum transmission unit; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// Whether containers reach the outside under the host's address.
    pub masquerade: bool,
    /// Whether containers on it reach each other's unpublished ports.
    pub icc: bool,
    /// Whether it is cut off from the outside.
    pub internal: bool,
}

/// A container's place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The name of the host's side, from [`veth_name`].
    pub host_name: String,
    /// The bridge it is plugged into.
    pub bridge: String,
    /// The interface's name inside: `eth0`.
    pub name: String,
    /// Its addresses inside.
    pub addresses: Vec<Cidr>,
    /// Where its default routes lead, one per family at most.
    pub gateways: Vec<IpAddr>,
    /// Its hardware address; `None` for the one that follows from the first address.
    pub mac: Option<MacAddress>,
    /// Its maximum transmission unit; `None` for the kernel's default.
    pub mtu: Option<u32>,
    /// Whether it reaches other endpoints of the bridge directly: the bridge's `icc`.
    pub icc: bool,
}

/// What an endpoint got: the facts for `inspect`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// The hardware address.
    pub mac: MacAddress,
    /// The index of the interface inside its namespace.
    pub index: u32,
}

/// A fresh name for the host's side of a veth pair: `wv` and eight hexadecimal digits.
///
/// Names are never used twice on purpose: the interface of a container that has just ended may
/// stay for a moment, since the kernel tears its namespace down in the background.
pub fn veth_name() -> Result<String, Errno> {
    let mut bytes = [0; 4];
    rand::getrandom(&mut bytes[..], rand::GetRandomFlags::empty())?;
    Ok(format!("{VETH_PREFIX}{:08x}", u32::from_ne_bytes(bytes)))
}
