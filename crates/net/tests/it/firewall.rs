//! The firewall as an independent reader, `nft`, sees it.

use std::{fs, net::IpAddr, path::Path};

use wadah_net::{Bridge, Host, Protocol, Publication};

use crate::world::{cidr, default_bridge, in_a_host, nft};

/// Compares the document's listing with the real thing. `UPDATE_EXPECT=1` writes it.
#[test]
fn the_ruleset_reads_as_documented() {
    let listing = in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        let bridge = |name: &str, gateway| Bridge {
            name: name.to_owned(),
            gateways: vec![cidr(gateway)],
            ..default_bridge()
        };
        host.ensure_bridge(&default_bridge()).unwrap();
        host.ensure_bridge(&Bridge { icc: false, ..bridge("apart", "172.18.0.1/16") }).unwrap();
        host.ensure_bridge(&Bridge { internal: true, ..bridge("inside", "172.19.0.1/16") })
            .unwrap();
        let web = publication(Protocol::Tcp, None);
        let local = publication(Protocol::Udp, Some("127.0.0.1"));
        host.publish(&[web, local]).unwrap();
        nft(&["list", "table", "ip", "wadah"])
    });
    let (before, digest) = listing.split_once("layout ").unwrap();
    let listing = in_order(&format!("{before}layout …{}", &digest[16..]));

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/firewall.md");
    let document = fs::read_to_string(&path).unwrap();
    let (head, rest) = document.split_once("```nft\n").unwrap();
    let (documented, tail) = rest.split_once("```").unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, format!("{head}```nft\n{listing}```{tail}")).unwrap();
    } else {
        assert_eq!(documented, listing, "UPDATE_EXPECT=1 brings docs/firewall.md up to date");
    }
}

/// Sorts the elements of every set, which the kernel lists in no particular order.
fn in_order(listing: &str) -> String {
    let mut parts = listing.split("elements = {");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let (elements, rest) = part.split_once('}').unwrap();
        let mut elements: Vec<&str> = elements.split(',').map(str::trim).collect();
        elements.sort_unstable();
        text.push_str(&format!("elements = {{ {} }}{rest}", elements.join(", ")));
    }
    text
}

fn publication(protocol: Protocol, host_address: Option<&str>) -> Publication {
    Publication {
        protocol,
        host_address: host_address.map(|it| it.parse().unwrap()),
        host_port: 8080,
        container_address: "172.17.0.2".parse().unwrap(),
        container_port: 80,
    }
}

/// The elements of a set or map as `nft` lists them, on one line; empty if it has none.
fn elements(family: &str, set: &str) -> String {
    let kind = if set.starts_with("ports") { "map" } else { "set" };
    let listing = nft(&["list", kind, family, "wadah", set]);
    let elements = listing.split_once("elements = {").map(|(_, it)| it.split_once('}').unwrap().0);
    let words: Vec<&str> = elements.unwrap_or_default().split_whitespace().collect();
    words.join(" ")
}

#[test]
fn every_kind_of_bridge_is_in_its_sets() {
    for bits in 0..8 {
        let [icc, internal, masquerade] = [1, 2, 4].map(|it| bits & it != 0);
        in_a_host(|| {
            let host = Host::open().unwrap();
            let gateways = vec![cidr("10.7.3.1/20")];
            let name = "some-bridge".to_owned();
            let bridge = Bridge { name, gateways, mtu: None, icc, internal, masquerade };
            host.ensure_firewall().unwrap();
            host.ensure_bridge(&bridge).unwrap();
            let says = |set, text: &str, when: bool| {
                let expected = if when { text } else { "" };
                assert_eq!(elements("ip", set), expected, "{set} of {bridge:?}");
            };
            says("bridges", r#""some-bridge""#, true);
            says("within", r#""some-bridge" . "some-bridge""#, icc);
            says("internal", r#""some-bridge""#, internal);
            says("subnets", r#"10.7.0.0/20 . "some-bridge""#, true);
            says("masqueraded", "10.7.0.0/20", masquerade && !internal);
            says("closed", "ipv4", true);
            // What changes its mind leaves no element behind.
            let other = Bridge { icc: !icc, internal: !internal, ..bridge.clone() };
            host.ensure_bridge(&other).unwrap();
            host.ensure_bridge(&bridge).unwrap();
            says("within", r#""some-bridge" . "some-bridge""#, icc);
            says("internal", r#""some-bridge""#, internal);
        });
    }
}

#[test]
fn every_kind_of_publication_is_in_its_map() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            for address in [None, Some("0.0.0.0"), Some("127.0.0.1"), Some("10.99.0.1")] {
                let it = publication(protocol, address);
                host.publish(&[it]).unwrap();
                let specific = address.filter(|it| !it.parse::<IpAddr>().unwrap().is_unspecified());
                let leads = format!("{protocol} . 8080 : 172.17.0.2 . 80");
                let expected = match specific {
                    Some(address) => [String::new(), format!("{address} . {leads}")],
                    None => [leads, String::new()],
                };
                assert_eq!(["ports", "ports_at"].map(|it| elements("ip", it)), expected, "{it}");
                host.unpublish(&[it]).unwrap();
                assert_eq!(["ports", "ports_at"].map(|it| elements("ip", it)), ["", ""], "{it}");
            }
        }
    });
}

#[test]
fn a_network_with_ipv6_has_a_table_of_its_own_family() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&default_bridge()).unwrap();
        assert!(!nft(&["list", "tables"]).contains("ip6"));
        let gateways = vec![cidr("172.17.0.1/16"), cidr("fd00:17::1/64")];
        host.ensure_bridge(&Bridge { gateways, ..default_bridge() }).unwrap();
        assert_eq!(elements("ip6", "subnets"), r#"fd00:17::/64 . "wadah0""#);
        assert_eq!(elements("ip6", "masqueraded"), "fd00:17::/64");
        let publication = Publication {
            container_address: "fd00:17::2".parse().unwrap(),
            ..publication(Protocol::Tcp, Some("fd00::1"))
        };
        host.publish(&[publication]).unwrap();
        assert_eq!(elements("ip6", "ports_at"), "fd00::1 . tcp . 8080 : fd00:17::2 . 80");
        assert_eq!(elements("ip", "ports_at"), "");
        assert!(!host.heal_firewall().unwrap(), "the kernel lists what was written");
    });
}

#[test]
fn removing_the_firewall_leaves_none() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        host.remove_firewall().unwrap();
        host.remove_firewall().unwrap();
        assert_eq!(nft(&["list", "ruleset"]), "");
    });
}
