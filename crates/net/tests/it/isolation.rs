//! Who does not reach whom.

use std::{fs, net::Ipv4Addr, os::fd::AsFd};

use wadah_net::{Bridge, Host, Namespace};
use wadah_sys::rtnetlink::{Change, RouteSocket, Veth};

use crate::world::{
    Container, HOST, NEIGHBOUR, PATIENCE, SILENCE, ask_tcp, cidr, default_bridge, here, in_a_host,
    inside, neighbour, second_bridge, serve_tcp,
};

fn host() -> Host {
    let host = Host::open().unwrap();
    host.ensure_firewall().unwrap();
    host
}

#[test]
fn a_neighbour_reaches_no_unpublished_port_by_routing() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        host.ensure_bridge(&default_bridge()).unwrap();
        let web = Container::start(&host, &default_bridge(), 2);
        let (_one, _two) = (web.serve_tcp(80), web.serve_tcp(81));
        host.publish(&[web.tcp(8080, 80)]).unwrap();
        assert!(ask_tcp(neighbour.fd(), (HOST, 8080), PATIENCE).is_some());
        // Its default route leads to the host; not even the published port is reached past it.
        for port in [80, 81] {
            assert_eq!(ask_tcp(neighbour.fd(), (web.address, port), SILENCE), None);
        }
        assert_eq!(ask_tcp(neighbour.fd(), (HOST, 81), SILENCE), None);
        // The host itself reaches everything.
        assert!(ask_tcp(here().as_fd(), (web.address, 81), PATIENCE).is_some());
    });
}

#[test]
fn bridges_are_kept_apart() {
    in_a_host(|| {
        let host = host();
        host.ensure_bridge(&default_bridge()).unwrap();
        host.ensure_bridge(&second_bridge()).unwrap();
        let web = Container::start(&host, &default_bridge(), 2);
        let friend = Container::start(&host, &default_bridge(), 3);
        let stranger = Container::start(&host, &second_bridge(), 2);
        let _server = web.serve_tcp(80);
        assert_eq!(
            ask_tcp(friend.namespace.fd(), (web.address, 80), PATIENCE),
            Some(friend.address)
        );
        assert_eq!(ask_tcp(stranger.namespace.fd(), (web.address, 80), SILENCE), None);
    });
}

#[test]
fn without_icc_containers_reach_only_published_ports_of_each_other() {
    for bridged_packets_filtered in ["0", "1"] {
        keep_containers_apart(bridged_packets_filtered);
    }
}

fn keep_containers_apart(bridged_packets_filtered: &str) {
    in_a_host(|| {
        let parameter = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        if fs::write(parameter, bridged_packets_filtered).is_err() {
            wadah_testkit::skip("this kernel has no br_netfilter");
        }
        let host = host();
        let bridge = Bridge { icc: false, ..default_bridge() };
        host.ensure_bridge(&bridge).unwrap();
        let (web, client) =
            (Container::start(&host, &bridge, 2), Container::start(&host, &bridge, 3));
        let _server = web.serve_tcp(80);
        host.publish(&[web.tcp(8080, 80)]).unwrap();
        let from = client.namespace.fd();
        assert_eq!(ask_tcp(from, (web.address, 80), SILENCE), None);
        assert!(ask_tcp(from, (HOST_OF_BRIDGE, 8080), PATIENCE).is_some());
        // Nor by asking the gateway to route it.
        inside(from, || {
            let mut links = RouteSocket::open().unwrap();
            let link = links.link("eth0").unwrap().index;
            let route = Change::AddRoute {
                destination: Some((web.address, 32)),
                gateway: HOST_OF_BRIDGE.into(),
                link,
            };
            links.apply(&[route]).unwrap();
        });
        assert_eq!(ask_tcp(from, (web.address, 80), SILENCE), None);
    });
}

const HOST_OF_BRIDGE: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);

#[test]
fn an_internal_network_is_cut_off() {
    in_a_host(|| {
        let (host, neighbour) = (host(), neighbour());
        let internal = Bridge { internal: true, ..second_bridge() };
        host.ensure_bridge(&internal).unwrap();
        let (one, two) =
            (Container::start(&host, &internal, 2), Container::start(&host, &internal, 3));
        let (_server, _outside) = (one.serve_tcp(80), serve_tcp(neighbour.fd(), 80));
        assert!(ask_tcp(two.namespace.fd(), (one.address, 80), PATIENCE).is_some());
        // Containers that know a way out are not let through.
        for container in [&one, &two] {
            inside(container.namespace.fd(), || {
                let mut links = RouteSocket::open().unwrap();
                let link = links.link("eth0").unwrap().index;
                let gateway = internal.gateways[0].address();
                let route = Change::AddRoute { destination: None, gateway, link };
                links.apply(&[route]).unwrap();
            });
        }
        assert_eq!(ask_tcp(two.namespace.fd(), (NEIGHBOUR, 80), SILENCE), None);
        assert_eq!(ask_tcp(neighbour.fd(), (one.address, 80), SILENCE), None);
        // Not even by a published port.
        host.publish(&[one.tcp(8080, 80)]).unwrap();
        assert_eq!(ask_tcp(neighbour.fd(), (HOST, 8080), SILENCE), None);
        assert!(ask_tcp(here().as_fd(), (HOST, 8080), PATIENCE).is_some(), "but from the host");
    });
}

#[test]
fn a_host_that_was_no_router_forwards_nothing_for_others() {
    in_a_host(|| {
        let (one, two) = (neighbour(), second_neighbour());
        let _server = serve_tcp(two.fd(), 80);
        let beyond = Ipv4Addr::new(10, 98, 0, 2);
        let ask = || ask_tcp(one.fd(), (beyond, 80), SILENCE);
        let forwarding = "/proc/sys/net/ipv4/ip_forward";
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "0\n");
        host();
        assert_eq!(fs::read_to_string(forwarding).unwrap(), "1\n");
        assert_eq!(ask(), None);
        // The next daemon finds the host forwarding, and still knows.
        host();
        assert_eq!(ask(), None);
    });
}

#[test]
fn a_router_goes_on_routing() {
    in_a_host(|| {
        let (one, two) = (neighbour(), second_neighbour());
        let _server = serve_tcp(two.fd(), 80);
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        host();
        let seen = ask_tcp(one.fd(), (Ipv4Addr::new(10, 98, 0, 2), 80), PATIENCE);
        assert_eq!(seen, Some(NEIGHBOUR.into()));
    });
}

/// Another neighbour, on another network.
fn second_neighbour() -> Namespace {
    let neighbour = Namespace::make().unwrap();
    let mut here = RouteSocket::open().unwrap();
    let veth = Veth {
        name: "second",
        master: None,
        peer_name: "uplink",
        peer_mac: [2, 0, 0, 0, 0, 3],
        peer_namespace: neighbour.as_fd(),
        mtu: None,
        group: 0,
    };
    here.apply(&[Change::AddVeth(veth)]).unwrap();
    let link = here.link("second").unwrap().index;
    let address = cidr("10.98.0.1/24").address();
    here.apply(&[Change::AddAddress { link, address, prefix: 24 }]).unwrap();
    inside(neighbour.fd(), || {
        let mut there = RouteSocket::open().unwrap();
        let link = there.link("uplink").unwrap().index;
        let own = cidr("10.98.0.2/24").address();
        let changes = [
            Change::AddAddress { link, address: own, prefix: 24 },
            Change::SetUp { link },
            Change::AddRoute { destination: None, gateway: address, link },
        ];
        there.apply(&changes).unwrap();
    });
    neighbour
}
