//! How long things take. Printed, never asserted: `cargo test -p wadah-net timing -- --ignored --nocapture`.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use wadah_net::{Cidr, Endpoint, Host, Namespace, NamespacePool, Publication, veth_name};

use crate::world::{Container, PATIENCE, ask_tcp, default_bridge, here, in_a_host, serve_tcp};

const ROUNDS: u16 = 200;

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what:<32} median {:>9.1?}  p90 {:>9.1?}  p99 {:>9.1?}", at(50), at(90), at(99));
}

fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = work();
    times.push(begin.elapsed());
    result
}

#[test]
#[ignore = "prints times"]
fn the_steps_of_a_container_s_network() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&default_bridge()).unwrap();
        let pool = NamespacePool::new(4).unwrap();
        let [mut make, mut take, mut attach, mut publish, mut unpublish, mut heal] =
            [const { Vec::new() }; 6];
        let gateway = default_bridge().gateways[0];
        let mut kept = vec![];
        for round in 0..ROUNDS {
            drop(timed(&mut make, || Namespace::make().unwrap()));
            let namespace = timed(&mut take, || pool.take().unwrap());
            let address = gateway.nth(u128::from(round) + 2).unwrap();
            let endpoint = Endpoint {
                host_name: veth_name().unwrap(),
                bridge: "wadah0".to_owned(),
                name: "eth0".to_owned(),
                addresses: vec![Cidr::new(address, 16).unwrap()],
                gateways: vec![gateway.address()],
                mac: None,
                mtu: None,
                icc: true,
            };
            timed(&mut attach, || host.attach(&namespace, &endpoint).unwrap());
            let port = [Publication {
                protocol: wadah_net::Protocol::Tcp,
                host_address: None,
                host_port: 1000 + round,
                container_address: address,
                container_port: 80,
            }];
            timed(&mut publish, || host.publish(&port).unwrap());
            if round % 2 == 0 {
                timed(&mut unpublish, || host.unpublish(&port).unwrap());
            }
            timed(&mut heal, || host.heal_firewall().unwrap());
            kept.push(namespace);
        }
        report("make a namespace", make);
        report("take one from the pool", take);
        report("attach", attach);
        report("publish a port", publish);
        report("take it back", unpublish);
        report("heal a healthy firewall", heal);
    });
}

/// How soon a new endpoint carries packets: a lost first packet costs a second.
#[test]
#[ignore = "prints times"]
fn the_first_connection_of_a_new_endpoint() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&default_bridge()).unwrap();
        let [mut out, mut again, mut into, mut detach] = [const { Vec::new() }; 4];
        let _server = serve_tcp(here().as_fd(), 7);
        let gateway = (std::net::Ipv4Addr::new(172, 17, 0, 1), 7);
        for round in 0..60 {
            let one = Container::start(&host, &default_bridge(), 2 + round % 7);
            timed(&mut out, || ask_tcp(one.namespace.fd(), gateway, PATIENCE).unwrap());
            timed(&mut again, || ask_tcp(one.namespace.fd(), gateway, PATIENCE).unwrap());
            let two = Container::start(&host, &default_bridge(), 10 + round % 7);
            let _server = two.serve_tcp(80);
            timed(&mut into, || ask_tcp(here().as_fd(), (two.address, 80), PATIENCE).unwrap());
            timed(&mut detach, || host.detach(&one.host_name).unwrap());
            timed(&mut detach, || host.detach(&two.host_name).unwrap());
        }
        report("first connection outwards", out);
        report("second connection outwards", again);
        report("first connection inwards", into);
        report("detach", detach);
    });
}

/// UDP ports have flows to forget, and a table to look for them in.
#[test]
#[ignore = "prints times"]
fn a_udp_port_among_other_flows() {
    in_a_host(|| {
        let host = Host::open().unwrap();
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&default_bridge()).unwrap();
        let dns = Container::start(&host, &default_bridge(), 2);
        let _server = dns.serve_tcp(80);
        assert!(ask_tcp(here().as_fd(), (dns.address, 80), PATIENCE).is_some());
        let [mut publish, mut unpublish] = [const { Vec::new() }; 2];
        for round in 0..ROUNDS {
            let port = [dns.udp(1000 + round, 53)];
            timed(&mut publish, || host.publish(&port).unwrap());
            timed(&mut unpublish, || host.unpublish(&port).unwrap());
        }
        report("publish a UDP port", publish);
        report("take it back", unpublish);
    });
}
