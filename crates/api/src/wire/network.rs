//! Networks, inspected and listed.

use std::collections::BTreeMap;

use serde::Serialize;
use wadah_engine::networks::{NetworkEndpoint, NetworkSnapshot};

use super::{Empty, rfc3339};

/// A network. In a listing, its containers are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Network<'a> {
    name: &'a str,
    id: &'a str,
    created: String,
    scope: &'static str,
    driver: &'a str,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam<'a>,
    internal: bool,
    attachable: bool,
    ingress: bool,
    config_from: ConfigFrom,
    config_only: bool,
    containers: BTreeMap<&'a str, Endpoint<'a>>,
    options: &'a BTreeMap<String, String>,
    labels: Empty,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam<'a> {
    driver: &'static str,
    options: Option<Empty>,
    config: Vec<IpamConfig<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpamConfig<'a> {
    subnet: &'a str,
    gateway: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint<'a> {
    name: &'a str,
    #[serde(rename = "EndpointID")]
    endpoint_id: &'a str,
    mac_address: &'a str,
    #[serde(rename = "IPv4Address")]
    ipv4_address: &'a str,
    #[serde(rename = "IPv6Address")]
    ipv6_address: &'static str,
}

impl<'a> Network<'a> {
    /// A network with the containers in it.
    pub(crate) fn inspected(it: &'a NetworkSnapshot) -> Self {
        let containers = it.endpoints.iter().map(|it| (it.container.as_str(), it.into()));
        Self { containers: containers.collect(), ..Self::listed(it) }
    }

    /// A network in a listing.
    pub(crate) fn listed(it: &'a NetworkSnapshot) -> Self {
        let subnet = it.subnet.iter();
        Self {
            name: &it.name,
            id: &it.id,
            created: rfc3339(Some(it.created)),
            scope: "local",
            driver: &it.driver,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: Ipam {
                driver: "default",
                options: None,
                config: subnet.map(|(subnet, gateway)| IpamConfig { subnet, gateway }).collect(),
            },
            internal: false,
            attachable: false,
            ingress: false,
            config_from: ConfigFrom { network: "" },
            config_only: false,
            containers: BTreeMap::new(),
            options: &it.options,
            labels: Empty {},
        }
    }
}

impl<'a> From<&'a NetworkEndpoint> for Endpoint<'a> {
    fn from(it: &'a NetworkEndpoint) -> Self {
        Self {
            name: &it.name,
            endpoint_id: &it.endpoint_id,
            mac_address: &it.mac_address,
            ipv4_address: &it.ipv4_address,
            ipv6_address: "",
        }
    }
}
