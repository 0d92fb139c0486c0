//! Bridges and endpoints.

use std::{fs, os::fd::AsFd, thread};

use wadah_net::{
    AddressPool, Bridge, Endpoint, Host, MacAddress, Namespace, NamespacePool, NetError, veth_name,
};
use wadah_sys::rtnetlink::{Change, RouteSocket, UP};

use crate::world::{
    Container, PATIENCE, ask_tcp, cidr, default_bridge, here, in_a_host, inside, neighbour,
    serve_tcp,
};

fn host() -> Host {
    let host = Host::open().unwrap();
    host.ensure_firewall().unwrap();
    host.ensure_bridge(&default_bridge()).unwrap();
    host
}

#[test]
fn an_endpoint_has_its_address_route_and_hardware_address() {
    in_a_host(|| {
        let host = host();
        let container = Container::start(&host, &default_bridge(), 2);
        let mut outside = RouteSocket::open().unwrap();
        let (bridge, plug) =
            (outside.link("wadah0").unwrap(), outside.link(&container.host_name).unwrap());
        assert_eq!(plug.master, Some(bridge.index));
        assert_ne!(plug.flags & UP, 0);
        assert_eq!(bridge.mac, Some([2, 0x42, 172, 17, 0, 1]));

        inside(container.namespace.fd(), || {
            let mut inside = RouteSocket::open().unwrap();
            let link = inside.link("eth0").unwrap();
            assert_eq!(link.mac, Some(MacAddress::for_address(container.address).0));
            assert_ne!(link.flags & UP, 0);
            let addresses = inside.addresses().unwrap();
            let own: Vec<_> = addresses.iter().filter(|it| it.link == link.index).collect();
            // One address, and that is IPv4: no link-local of the kernel's own making.
            assert_eq!(own.len(), 1, "{own:?}");
            assert_eq!((own[0].address, own[0].prefix), (container.address, 16));
            let routes = inside.routes().unwrap();
            let default = routes.iter().find(|it| it.prefix == 0).unwrap();
            assert_eq!(default.gateway, Some(cidr("172.17.0.1/16").address()));
        });
    });
}

#[test]
fn neither_the_host_s_thread_nor_its_parameters_leak_into_a_container() {
    in_a_host(|| {
        let namespace = Namespace::make().unwrap();
        inside(namespace.fd(), || {
            let read = |it: &str| fs::read_to_string(format!("/proc/sys/net/{it}")).unwrap();
            assert_eq!(read("ipv4/ip_forward"), "0\n");
            assert_eq!(read("ipv4/ip_unprivileged_port_start"), "0\n");
            assert_eq!(read("ipv4/ping_group_range"), "0\t2147483647\n");
            // Interfaces to come have no IPv6 and hear no router advertisements.
            assert_eq!(read("ipv6/conf/default/disable_ipv6"), "1\n");
            assert_eq!(read("ipv6/conf/default/accept_ra"), "0\n");
        });
        assert_eq!(
            fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap(),
            "0\n",
            "this test's host was made by the pool too"
        );
    });
}

#[test]
fn closing_a_namespace_removes_its_pair() {
    in_a_host(|| {
        let host = host();
        let container = Container::start(&host, &default_bridge(), 2);
        let name = container.host_name.clone();
        drop(container);
        host.detach(&name).unwrap();
        let mut links = RouteSocket::open().unwrap();
        wadah_testkit::wait_until("the pair is gone", || links.link(&name).is_err());
        host.detach(&name).unwrap();
    });
}

/// One attempt at finding out a hardware address, instead of one each second: a lost first packet
/// is a lost connection.
fn no_second_attempt(interface: &str) {
    let parameter = format!("/proc/sys/net/ipv4/neigh/{interface}/mcast_solicit");
    fs::write(parameter, "1").unwrap();
}

#[test]
fn the_first_packet_of_a_new_endpoint_arrives() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let _server = serve_tcp(here.as_fd(), 7);
        no_second_attempt("wadah0");
        for _ in 0..20 {
            let out = Container::start(&host, &default_bridge(), 2);
            inside(out.namespace.fd(), || no_second_attempt("eth0"));
            let gateway = (std::net::Ipv4Addr::new(172, 17, 0, 1), 7);
            assert!(ask_tcp(out.namespace.fd(), gateway, PATIENCE).is_some());
            host.detach(&out.host_name).unwrap();
        }
    });
}

#[test]
fn an_address_given_on_at_once_leads_to_its_new_owner() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let mut former = vec![];
        for _ in 0..10 {
            let owner = Container::start(&host, &default_bridge(), 2);
            let server = owner.serve_tcp(80);
            let seen = ask_tcp(here.as_fd(), (owner.address, 80), PATIENCE);
            assert!(seen.is_some());
            drop(server);
            host.detach(&owner.host_name).unwrap();
            // The kernel may take its time with the namespace: here, for ever.
            former.push(owner);
        }
    });
}

#[test]
fn a_bridge_is_put_right() {
    in_a_host(|| {
        let (host, mut links) = (host(), RouteSocket::open().unwrap());
        let index = links.link("wadah0").unwrap().index;
        let wrong = cidr("10.7.0.1/24").address();
        links.apply(&[Change::AddAddress { link: index, address: wrong, prefix: 24 }]).unwrap();
        let right = cidr("172.17.0.1/16").address();
        links.apply(&[Change::DeleteAddress { link: index, address: right, prefix: 16 }]).unwrap();
        let bridge = Bridge { mtu: Some(1400), ..default_bridge() };
        host.ensure_bridge(&bridge).unwrap();
        let own: Vec<_> =
            links.addresses().unwrap().into_iter().filter(|it| it.link == index).collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].address, right);
        assert_eq!(links.link("wadah0").unwrap().mtu, 1400);
        // Twice is as good as once.
        host.ensure_bridge(&bridge).unwrap();
        host.ensure_firewall().unwrap();
    });
}

#[test]
fn a_removed_bridge_leaves_nothing() {
    in_a_host(|| {
        let host = host();
        host.remove_bridge("wadah0").unwrap();
        host.remove_bridge("wadah0").unwrap();
        let gone = RouteSocket::open().unwrap().link("wadah0").unwrap_err();
        assert_eq!(gone.errno(), Some(rustix::io::Errno::NODEV));
        assert!(!crate::world::nft(&["list", "ruleset"]).contains("wadah0"));
        assert!(!crate::world::nft(&["list", "ruleset"]).contains("172.17"));
    });
}

#[test]
fn refusals_name_the_interface() {
    in_a_host(|| {
        let (host, _neighbour) = (host(), neighbour());
        let error = host.ensure_bridge(&Bridge { name: "uplink".to_owned(), ..default_bridge() });
        assert!(matches!(error, Err(NetError::NotABridge { .. })), "{error:?}");
        let error = host.ensure_bridge(&Bridge { name: "../x".to_owned(), ..default_bridge() });
        assert!(matches!(error, Err(NetError::InterfaceName { .. })), "{error:?}");
        let endpoint = Endpoint {
            host_name: veth_name().unwrap(),
            bridge: "nowhere".to_owned(),
            name: "eth0".to_owned(),
            addresses: vec![],
            gateways: vec![],
            mac: None,
            mtu: None,
            icc: true,
        };
        let error = host.attach(&Namespace::make().unwrap(), &endpoint).unwrap_err();
        assert_eq!(error.to_string(), "bridge nowhere does not exist");
    });
}

#[test]
fn the_default_network_keeps_clear_of_the_host_s_routes() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        let _neighbour = neighbour();
        assert_eq!(host.default_gateway("wadah0").unwrap(), cidr("172.17.0.1/16"));
        let mut links = RouteSocket::open().unwrap();
        let link = links.link("uplink").unwrap().index;
        let taken = Change::AddRoute {
            destination: Some((cidr("172.17.128.0/17").address(), 17)),
            gateway: cidr("10.99.0.2/24").address(),
            link,
        };
        links.apply(&[taken]).unwrap();
        let gateway = host.default_gateway("wadah0").unwrap();
        assert_eq!(gateway, cidr("172.18.0.1/16"));
        let error = host.check_free(cidr("172.17.0.0/16"), None).unwrap_err();
        let expected = "network 172.17.0.0/16 overlaps with the host's route to 172.17.128.0/17";
        assert_eq!(error.to_string(), expected);
        // Once it is there, its own route is no obstacle.
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&Bridge { gateways: vec![gateway], ..default_bridge() }).unwrap();
        assert_eq!(host.default_gateway("wadah0").unwrap(), gateway);
        host.check_free(gateway, Some("wadah0")).unwrap();
    });
}

#[test]
fn a_running_container_gets_a_second_interface() {
    in_a_host(|| {
        let host = host();
        let container = Container::start(&host, &default_bridge(), 2);
        let other = Bridge {
            name: "wadah1".to_owned(),
            gateways: vec![cidr("172.18.0.1/16")],
            ..default_bridge()
        };
        host.ensure_bridge(&other).unwrap();
        let fd = container.namespace.fd().try_clone_to_owned().unwrap();
        let endpoint = Endpoint {
            host_name: veth_name().unwrap(),
            bridge: other.name.clone(),
            name: "eth1".to_owned(),
            addresses: vec![cidr("172.18.0.2/16")],
            gateways: vec![],
            mac: None,
            mtu: None,
            icc: true,
        };
        host.attach(&Namespace::adopt(fd).unwrap(), &endpoint).unwrap();
        let friend = Container::start(&host, &other, 3);
        let _server = container.serve_tcp(80);
        let seen = ask_tcp(friend.namespace.fd(), (endpoint.addresses[0].address(), 80), PATIENCE);
        assert_eq!(seen, Some(friend.address));
    });
}

#[test]
fn sixteen_at_a_time_do_not_get_in_each_other_s_way() {
    in_a_host(|| {
        let (host, here) = (host(), here());
        let (pool, addresses) =
            (NamespacePool::new(4).unwrap(), AddressPool::new(cidr("172.17.0.0/16")));
        addresses.reserve(cidr("172.17.0.1/16").address()).unwrap();
        let work = |worker: u16| {
            for round in 0..6 {
                let address = addresses.allocate().unwrap();
                let namespace = pool.take().unwrap();
                let container = Container::plug_in(&host, &default_bridge(), namespace, address);
                let port = 1000 + worker * 10 + round;
                host.publish(&[container.tcp(port, 80)]).unwrap();
                let _server = container.serve_tcp(80);
                let loopback = (std::net::Ipv4Addr::LOCALHOST, port);
                assert!(ask_tcp(here.as_fd(), loopback, PATIENCE).is_some());
                host.unpublish(&[container.tcp(port, 80)]).unwrap();
                host.detach(&container.host_name).unwrap();
                addresses.release(address);
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..16)
                .map(|worker| {
                    let (work, here) = (&work, &here);
                    scope.spawn(move || inside(here.as_fd(), || work(worker)))
                })
                .collect();
            workers.into_iter().for_each(|it| it.join().unwrap());
        });
        assert_eq!(addresses.in_use(), 1);
        let mut links = RouteSocket::open().unwrap();
        wadah_testkit::wait_until("every pair is gone", || links.links().unwrap().len() == 2);
        assert!(!crate::world::nft(&["list", "map", "ip", "wadah", "ports"]).contains("elements"));
    });
}
