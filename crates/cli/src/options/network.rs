//! Networks: where a container is attached, and under which names and addresses.

use std::{collections::HashMap, net::IpAddr};

use bollard_stubs::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig,
};

use crate::{failure::Failure, flag::Invalid};

/// One `--network`, or what the flags beside it say about the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attachment {
    pub target: String,
    pub aliases: Vec<String>,
    pub ip: Option<String>,
    pub ip6: Option<String>,
    pub link_local: Vec<String>,
    pub mac: Option<String>,
    pub driver_options: HashMap<String, String>,
    pub gateway_priority: Option<i64>,
}

/// Reads `NAME` or `name=NAME,alias=…,ip=…,…`.
pub(super) fn attachment(text: &str) -> Result<Attachment, Invalid> {
    if !text.contains('=') {
        return Ok(Attachment { target: text.to_owned(), ..Attachment::default() });
    }
    let mut it = Attachment::default();
    for field in text.split(',') {
        let invalid = || Invalid(format!("invalid field {field}"));
        let (key, value) = field.split_once('=').ok_or_else(invalid)?;
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => it.target = value.to_owned(),
            "alias" => it.aliases.push(value.to_owned()),
            "ip" => it.ip = Some(address(value)?),
            "ip6" => it.ip6 = Some(address(value)?),
            "link-local-ip" => it.link_local.push(address(value)?),
            "mac-address" => it.mac = Some(mac(value)?),
            "driver-opt" => {
                let (key, value) = super::pair(value)?;
                it.driver_options.insert(key, value);
            }
            "gw-priority" => it.gateway_priority = Some(crate::unit::whole(value)?),
            _ => return Err(Invalid(format!("invalid field key {key}"))),
        }
    }
    if it.target.is_empty() {
        return Err(Invalid("network name/id is not specified".to_owned()));
    }
    Ok(it)
}

/// Puts the networks into the request. `beside` belongs to the first of them.
pub(super) fn apply(
    mut networks: Vec<Attachment>,
    beside: Attachment,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), Failure> {
    if networks.is_empty() {
        networks.push(Attachment { target: "default".to_owned(), ..Attachment::default() });
    }
    merge(&mut networks[0], beside)?;
    host.network_mode = Some(networks[0].target.clone());
    let mut endpoints = HashMap::new();
    for network in networks {
        let bare = network == Attachment { target: network.target.clone(), ..Default::default() };
        let own = !["default", "bridge", "host", "none"].contains(&network.target.as_str())
            && !network.target.starts_with("container:");
        if bare && !own {
            continue;
        }
        if endpoints.contains_key(&network.target) {
            let message = format!("network \"{}\" is specified multiple times", network.target);
            return Err(Failure::refused(message));
        }
        endpoints.insert(network.target.clone(), settings(network));
    }
    if !endpoints.is_empty() {
        body.networking_config = Some(NetworkingConfig { endpoints_config: Some(endpoints) });
    }
    Ok(())
}

/// Puts what was said beside `--network` into it, unless both say the same thing.
fn merge(network: &mut Attachment, beside: Attachment) -> Result<(), Failure> {
    let conflict = |flag: &str| {
        Failure::refused(format!(
            "conflicting options: cannot specify both --{flag} and per-network {flag}"
        ))
    };
    for (flag, own, other) in [
        ("ip", &mut network.ip, beside.ip),
        ("ip6", &mut network.ip6, beside.ip6),
        ("mac-address", &mut network.mac, beside.mac),
    ] {
        match (own.is_some(), other) {
            (true, Some(_)) => return Err(conflict(flag)),
            (false, Some(other)) => *own = Some(other),
            (_, None) => {}
        }
    }
    network.aliases.extend(beside.aliases);
    network.link_local.extend(beside.link_local);
    Ok(())
}

fn settings(it: Attachment) -> EndpointSettings {
    let addresses = it.ip.is_some() || it.ip6.is_some() || !it.link_local.is_empty();
    EndpointSettings {
        ipam_config: addresses.then_some(EndpointIpamConfig {
            ipv4_address: it.ip,
            ipv6_address: it.ip6,
            link_local_ips: (!it.link_local.is_empty()).then_some(it.link_local),
        }),
        aliases: (!it.aliases.is_empty()).then_some(it.aliases),
        mac_address: it.mac,
        driver_opts: (!it.driver_options.is_empty()).then_some(it.driver_options),
        gw_priority: it.gateway_priority,
        ..EndpointSettings::default()
    }
}

/// Checks an IP address.
pub(super) fn address(text: &str) -> Result<String, Invalid> {
    match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(Invalid(format!("IP address is not correctly formatted: {text}"))),
    }
}

/// Checks a MAC address: six pairs of hexadecimal digits.
pub(super) fn mac(text: &str) -> Result<String, Invalid> {
    let pairs: Vec<&str> = text.split([':', '-']).collect();
    let proper = |it: &&str| it.len() == 2 && it.bytes().all(|it| it.is_ascii_hexdigit());
    if pairs.len() == 6 && pairs.iter().all(proper) {
        return Ok(text.to_owned());
    }
    Err(Invalid(format!("{text} is not a valid mac address")))
}

/// Reads `NAME:IP` or `NAME=IP`; `host-gateway` is for the daemon to fill in.
pub(super) fn extra_host(text: &str) -> Result<String, Invalid> {
    let bad = || Invalid(format!("bad format for add-host: \"{text}\""));
    let (name, ip) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    let bare = ip.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(ip);
    if name.is_empty() {
        return Err(bad());
    }
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(Invalid(format!("invalid IP address in add-host: \"{ip}\"")));
    }
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_named_or_described() {
        assert_eq!(attachment("web").map(|it| it.target), Ok("web".to_owned()));
        let it = attachment("name=web,alias=a,alias=b,ip=10.0.0.2,driver-opt=x=y").unwrap();
        assert_eq!((it.target.as_str(), it.aliases.len()), ("web", 2));
        assert_eq!(it.driver_options["x"], "y");
        attachment("alias=a").unwrap_err();
        attachment("name=a,ip=nope").unwrap_err();
    }

    #[test]
    fn flags_beside_a_network_belong_to_the_first() {
        let mut body = ContainerCreateBody::default();
        let mut host = HostConfig::default();
        let beside = Attachment { ip: Some("10.0.0.9".to_owned()), ..Attachment::default() };
        let networks = vec![attachment("one").unwrap(), attachment("two").unwrap()];
        apply(networks, beside.clone(), &mut body, &mut host).unwrap();
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("one"));
        assert_eq!(endpoints.len(), 2);
        let ipam = endpoints["one"].ipam_config.clone().unwrap();
        assert_eq!(ipam.ipv4_address.as_deref(), Some("10.0.0.9"));

        let both = vec![attachment("name=one,ip=10.0.0.8").unwrap()];
        let result = apply(both, beside, &mut ContainerCreateBody::default(), &mut host);
        assert!(result.unwrap_err().to_string().contains("both --ip"));
    }

    #[test]
    fn the_default_network_needs_no_description() {
        let mut body = ContainerCreateBody::default();
        let mut host = HostConfig::default();
        apply(Vec::new(), Attachment::default(), &mut body, &mut host).unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("default"));
        assert_eq!(body.networking_config, None);
    }

    #[test]
    fn extra_hosts_are_names_and_addresses() {
        assert_eq!(extra_host("a:10.0.0.1").as_deref(), Ok("a:10.0.0.1"));
        assert_eq!(extra_host("a=[::1]").as_deref(), Ok("a:::1"));
        assert_eq!(extra_host("a:host-gateway").as_deref(), Ok("a:host-gateway"));
        extra_host("a:x").unwrap_err();
        extra_host("a").unwrap_err();
    }
}
