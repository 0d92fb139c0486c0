//! Published ports: from everywhere they should be reached, and seen by the container.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
};

use wadah_net::{Host, NetError, Publication};
use wadah_sys::rtnetlink::{Change, RouteSocket};

use crate::world::{
    Container, HOST, NEIGHBOUR, PATIENCE, SILENCE, ask_tcp, ask_udp, ask_udp_with, default_bridge,
    here, in_a_host, inside, neighbour, nft, second_bridge, serve_tcp,
};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

fn host() -> Host {
    let host = Host::open().unwrap();
    host.ensure_firewall().unwrap();
    host.ensure_bridge(&default_bridge()).unwrap();
    host
}

fn at(publication: Publication, address: impl Into<IpAddr>) -> Publication {
    Publication { host_address: Some(address.into()), ..publication }
}

fn port(address: Ipv4Addr, port: u16) -> SocketAddr {
    (address, port).into()
}

#[test]
fn a_port_published_on_all_addresses_is_reached_from_everywhere() {
    for bridged_packets_filtered in ["0", "1"] {
        reach_a_port_from_everywhere(bridged_packets_filtered);
    }
}

fn reach_a_port_from_everywhere(bridged_packets_filtered: &str) {
    in_a_host(|| {
        let parameter = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if std::fs::write(parameter, bridged_packets_filtered).is_err() {
            wadah_testkit::skip("this kernel has no br_netfilter");
        }
        let (host, neighbour, here) = (host(), neighbour(), here());
        let (web, client) = (
            Container::start(&host, &default_bridge(), 2),
            Container::start(&host, &default_bridge(), 3),
        );
        host.ensure_bridge(&second_bridge()).unwrap();
        let stranger = Container::start(&host, &second_bridge(), 2);
        let _server = web.serve_tcp(80);
        host.publish(&[web.tcp(8080, 80)]).unwrap();

        let ask = |from, address| ask_tcp(from, port(address, 8080), PATIENCE);
        // The neighbour and other networks are seen as who they are.
        assert_eq!(ask(neighbour.fd(), HOST), Some(NEIGHBOUR.into()));
        assert_eq!(ask(stranger.namespace.fd(), HOST), Some(stranger.address));
        // So is the host, but for its loopback.
        assert_eq!(ask(here.as_fd(), HOST), Some(HOST.into()));
        assert_eq!(ask(here.as_fd(), GATEWAY), Some(GATEWAY.into()));
        assert_eq!(ask(here.as_fd(), Ipv4Addr::LOCALHOST), Some(GATEWAY.into()));
        // Containers of its own network, itself included, come by way of the gateway.
        assert_eq!(ask(client.namespace.fd(), HOST), Some(GATEWAY.into()));
        assert_eq!(ask(client.namespace.fd(), GATEWAY), Some(GATEWAY.into()));
        assert_eq!(ask(web.namespace.fd(), HOST), Some(GATEWAY.into()));

        host.unpublish(&[web.tcp(8080, 80)]).unwrap();
        assert_eq!(ask_tcp(neighbour.fd(), port(HOST, 8080), SILENCE), None);
        assert_eq!(ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, 8080), SILENCE), None);
    });
}

#[test]
fn a_udp_port_is_reached_from_everywhere() {
    in_a_host(|| {
        let (host, neighbour, here) = (host(), neighbour(), here());
        let dns = Container::start(&host, &default_bridge(), 2);
        let _server = dns.serve_udp(53);
        host.publish(&[dns.udp(5353, 53)]).unwrap();

        let ask = |from, address| ask_udp(from, port(address, 5353), PATIENCE);
        assert_eq!(ask(neighbour.fd(), HOST), Some(NEIGHBOUR.into()));
        assert_eq!(ask(here.as_fd(), HOST), Some(HOST.into()));
        assert_eq!(ask(here.as_fd(), Ipv4Addr::LOCALHOST), Some(GATEWAY.into()));
        assert_eq!(ask(dns.namespace.fd(), HOST), Some(GATEWAY.into()));
    });
}

#[test]
fn a_port_published_on_one_address_is_reached_there_only() {
    in_a_host(|| {
        let (host, neighbour, here) = (host(), neighbour(), here());
        let web = Container::start(&host, &default_bridge(), 2);
        let _server = web.serve_tcp(80);
        host.publish(&[at(web.tcp(8080, 80), HOST)]).unwrap();

        let ask = |from, address, patience| ask_tcp(from, port(address, 8080), patience);
        assert_eq!(ask(neighbour.fd(), HOST, PATIENCE), Some(NEIGHBOUR.into()));
        assert_eq!(ask(here.as_fd(), HOST, PATIENCE), Some(HOST.into()));
        assert_eq!(ask(here.as_fd(), Ipv4Addr::LOCALHOST, SILENCE), None);
        assert_eq!(ask(neighbour.fd(), GATEWAY, SILENCE), None);
    });
}

#[test]
fn a_port_published_on_loopback_is_the_host_s_alone() {
    in_a_host(|| {
        let (host, neighbour, here) = (host(), neighbour(), here());
        // An administrator may have opened this door; ours stays shut.
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        let (web, other) = (
            Container::start(&host, &default_bridge(), 2),
            Container::start(&host, &default_bridge(), 3),
        );
        let _server = web.serve_tcp(80);
        host.publish(&[at(web.tcp(8080, 80), Ipv4Addr::LOCALHOST)]).unwrap();

        assert_eq!(
            ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, 8080), PATIENCE),
            Some(GATEWAY.into())
        );
        let ask = |from, address, number| ask_tcp(from, port(address, number), SILENCE);
        assert_eq!(ask(neighbour.fd(), HOST, 8080), None);
        assert_eq!(ask(other.namespace.fd(), HOST, 8080), None);
        // By a route to the container's address.
        assert_eq!(ask(neighbour.fd(), Ipv4Addr::new(172, 17, 0, 2), 80), None);
        // By sending packets for 127.0.0.1 over the wire. Without the guard they would arrive.
        let outsiders = [neighbour.fd(), other.namespace.fd()];
        outsiders.into_iter().for_each(send_loopback_over_the_wire);
        let loopback = port(Ipv4Addr::LOCALHOST, 8080);
        let reached = |patience| outsiders.map(|it| ask_tcp(it, loopback, patience).is_some());
        assert_eq!(reached(SILENCE), [false, false]);
        nft(&["flush chain ip wadah guard"]);
        assert_eq!(reached(PATIENCE), [true, true]);
    });
}

#[test]
fn nobody_outside_passes_for_the_host_s_loopback() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        for parameter in ["route_localnet", "accept_local"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/all/{parameter}"), "1").unwrap();
        }
        let dns = Container::start(&host, &default_bridge(), 2);
        let server = inside(dns.namespace.fd(), || UdpSocket::bind("0.0.0.0:53").unwrap());
        host.publish(&[dns.udp(5353, 53)]).unwrap();
        let spoofed_packet_arrives = |patience| {
            inside(neighbour.fd(), || {
                std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
                let liar = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
                liar.send_to(b"it is me", port(HOST, 5353)).unwrap();
            });
            server.set_read_timeout(Some(patience)).unwrap();
            server.recv_from(&mut [0; 8]).is_ok()
        };
        assert!(!spoofed_packet_arrives(SILENCE));
        nft(&["flush chain ip wadah guard"]);
        assert!(spoofed_packet_arrives(PATIENCE), "without the guard it would");
    });
}

/// Makes 127.0.0.1 a place like any other for a namespace: behind its default route.
fn send_loopback_over_the_wire(namespace: BorrowedFd<'_>) {
    inside(namespace, || {
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        let mut links = RouteSocket::open().unwrap();
        let address = Ipv4Addr::LOCALHOST.into();
        links.apply(&[Change::DeleteAddress { link: 1, address, prefix: 8 }]).unwrap();
    });
}

#[test]
fn a_host_s_own_drop_wins_and_its_own_translation_too() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        let (web, other) = (
            Container::start(&host, &default_bridge(), 2),
            Container::start(&host, &default_bridge(), 3),
        );
        let (_server, _other) = (web.serve_tcp(80), other.serve_tcp(81));
        host.publish(&[web.tcp(8080, 80)]).unwrap();
        let ask = |patience| ask_tcp(neighbour.fd(), port(HOST, 8080), patience);
        assert_eq!(ask(PATIENCE), Some(NEIGHBOUR.into()));

        for rule in [
            // As a firewall sees it that drops what is forwarded, before us and after us.
            "forward { type filter hook forward priority 0; policy drop; }",
            "forward { type filter hook forward priority 50; tcp dport 80 drop; }",
            "forward { type filter hook forward priority 0; tcp dport 80 ct original proto-dst 8080 drop; }",
            "before { type filter hook prerouting priority -150; tcp dport 8080 drop; }",
        ] {
            nft(&[&format!("table inet admin {{ chain {rule}; }}")]);
            assert_eq!(ask(SILENCE), None, "{rule}");
            nft(&["delete table inet admin"]);
            assert_eq!(ask(PATIENCE), Some(NEIGHBOUR.into()));
        }
        let elsewhere = "chain mine { type nat hook prerouting priority dstnat; \
                         tcp dport 8080 dnat to 172.17.0.3:81; }";
        nft(&[&format!("table ip admin {{ {elsewhere}; }}")]);
        drop(_server);
        assert_eq!(
            ask(PATIENCE),
            Some(NEIGHBOUR.into()),
            "the administrator's translation leads to the other"
        );
    });
}

#[test]
fn a_client_that_never_pauses_reaches_the_next_container() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        let client = inside(neighbour.fd(), || UdpSocket::bind("0.0.0.0:4444").unwrap());
        let address = port(HOST, 5353);
        for number in 2..6 {
            let dns = Container::start(&host, &default_bridge(), number);
            // One port, and so many that looking for each would take too long.
            let others = if number < 4 { 0 } else { 1000 };
            let ports: Vec<_> = (5353..=5353 + others).map(|it| dns.udp(it, 53)).collect();
            let server = dns.serve_udp(53);
            // It talks to nobody, then to the first container, to nobody, to the second …
            assert_eq!(ask_udp_with(&client, address, SILENCE), None);
            host.publish(&ports).unwrap();
            assert_eq!(ask_udp_with(&client, address, PATIENCE), Some(NEIGHBOUR.into()));
            host.unpublish(&ports).unwrap();
            drop(server);
        }
    });
}

#[test]
fn publications_are_taken_together_or_not_at_all() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let (one, two) = (
            Container::start(&host, &default_bridge(), 2),
            Container::start(&host, &default_bridge(), 3),
        );
        let _server = two.serve_tcp(80);
        host.publish(&[one.tcp(8080, 80)]).unwrap();
        let error = host.publish(&[two.tcp(8081, 80), two.tcp(8080, 80)]).unwrap_err();
        assert!(matches!(error, NetError::PortLeadsElsewhere { .. }), "{error}");
        assert_eq!(ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, 8081), SILENCE), None);
        // Taking back what is not published, with what is, leaves nothing.
        host.unpublish(&[two.tcp(8081, 80), one.tcp(8080, 80)]).unwrap();
        host.publish(&[two.tcp(8080, 80)]).unwrap();
        assert!(ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, 8080), PATIENCE).is_some());
    });
}

#[test]
fn a_stray_element_does_not_block_its_port() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let web = Container::start(&host, &default_bridge(), 2);
        let _server = web.serve_tcp(80);
        nft(&["add element ip wadah ports { tcp . 8080 : 172.17.0.99 . 1 }"]);
        host.publish(&[web.tcp(8080, 80)]).unwrap();
        assert!(ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, 8080), PATIENCE).is_some());
    });
}

#[test]
fn an_address_of_another_family_is_refused() {
    in_a_host(|| {
        let (host, address) = (host(), "fd00::2".parse().unwrap());
        let web = Container::start(&host, &default_bridge(), 2);
        let publication = Publication { container_address: address, ..web.tcp(8080, 80) };
        let error = host.publish(&[at(publication, HOST)]).unwrap_err();
        let expected = "cannot publish 10.99.0.1:8080->[fd00::2]:80/tcp: \
                        the two addresses are of different families";
        assert_eq!(error.to_string(), expected);
    });
}

#[test]
fn ten_thousand_ports_are_one_batch() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let web = Container::start(&host, &default_bridge(), 2);
        let _server = web.serve_tcp(80);
        let all: Vec<Publication> = (20_000..30_000).map(|it| web.tcp(it, 80)).collect();
        host.publish(&all).unwrap();
        for number in [20_000, 24_999, 29_999] {
            assert!(ask_tcp(here.as_fd(), port(Ipv4Addr::LOCALHOST, number), PATIENCE).is_some());
        }
        host.unpublish(&all).unwrap();
        assert!(!nft(&["list", "map", "ip", "wadah", "ports"]).contains("elements"));
    });
}

#[test]
fn containers_reach_the_outside_under_the_host_s_address() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        let client = Container::start(&host, &default_bridge(), 2);
        let _server = serve_tcp(neighbour.fd(), 80);
        let seen = ask_tcp(client.namespace.fd(), port(NEIGHBOUR, 80), PATIENCE);
        assert_eq!(seen, Some(HOST.into()));
    });
}
