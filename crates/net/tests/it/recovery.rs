//! Recovery: whatever happened, a reconciled host is as one freshly set up.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use wadah_net::{Bridge, Expected, Host, Report};
use wadah_sys::rtnetlink::{Change, RouteSocket};
use wadah_testkit::wait_until;

use crate::world::{
    Container, HOST, NEIGHBOUR, PATIENCE, ask_tcp, default_bridge, in_a_host, neighbour, nft,
    second_bridge,
};

/// The ruleset as `nft` reads it, without handles, which count up.
fn ruleset() -> String {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.remove("handle");
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(list) => {
                list.iter_mut().for_each(strip);
                // Elements of a set come in no particular order.
                list.sort_by_key(ToString::to_string);
            }
            _ => {}
        }
    }
    let text = nft(&["-j", "list", "ruleset"]);
    let mut value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    strip(&mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

/// Compares rulesets line by line, so that a failure shows what differs.
#[track_caller]
fn assert_same(found: &str, expected: &str, when: &str) {
    let differing = found.lines().zip(expected.lines()).filter(|(one, other)| one != other);
    let differing: Vec<_> = differing.take(8).collect();
    assert!(found == expected, "{when}: {differing:#?}");
}

/// Our links: name, kind, addresses.
fn our_links() -> Vec<(String, Option<String>, Vec<String>)> {
    let mut socket = RouteSocket::open().unwrap();
    let addresses = socket.addresses().unwrap();
    let mut links: Vec<_> = socket
        .links()
        .unwrap()
        .into_iter()
        .filter(|it| it.group != 0)
        .map(|link| {
            let own = addresses.iter().filter(|it| it.link == link.index);
            (link.name, link.kind, own.map(|it| it.address.to_string()).collect())
        })
        .collect();
    links.sort();
    links
}

/// A fresh set-up of the usual things, and what it is made of.
struct Usual {
    host: Host,
    expected: Expected,
    web: Container,
    client: Container,
}

fn usual() -> Usual {
    let host = Host::open().unwrap();
    host.ensure_firewall().unwrap();
    let bridge = default_bridge();
    host.ensure_bridge(&bridge).unwrap();
    let web = Container::start(&host, &bridge, 2);
    let client = Container::start(&host, &bridge, 3);
    let publications = vec![web.tcp(8080, 80), web.udp(5353, 53)];
    host.publish(&publications).unwrap();
    let veths = vec![web.host_name.clone(), client.host_name.clone()];
    let expected = Expected { bridges: vec![bridge], publications, veths };
    Usual { host, expected, web, client }
}

#[test]
fn nothing_is_done_where_nothing_is_wrong() {
    in_a_host(|| {
        let usual = usual();
        let before = ruleset();
        assert_eq!(usual.host.reconcile(&usual.expected).unwrap(), Report::default());
        assert_eq!(Host::open().unwrap().reconcile(&usual.expected).unwrap(), Report::default());
        assert_same(&ruleset(), &before, "untouched");
        assert!(!usual.host.heal_firewall().unwrap());
    });
}

#[test]
fn a_new_daemon_keeps_what_it_has_not_heard_of_until_it_has() {
    in_a_host(|| {
        let (usual, neighbour) = (usual(), neighbour());
        let _server = usual.web.serve_tcp(80);
        let ask = || ask_tcp(neighbour.fd(), (HOST, 8080), PATIENCE);
        let rules = ruleset();
        for damage in ["list ruleset", "add rule ip wadah forward accept"] {
            nft(&[damage]);
            let host = Host::open().unwrap();
            host.ensure_firewall().unwrap();
            host.ensure_bridge(&default_bridge()).unwrap();
            assert_eq!(ask(), Some(NEIGHBOUR.into()));
            assert_same(&ruleset(), &rules, damage);
        }
        let none = Expected { publications: vec![], ..usual.expected.clone() };
        Host::open().unwrap().reconcile(&none).unwrap();
        assert!(!ruleset().contains("8080"));
    });
}

/// Does a thing to a fresh set-up, then lets the next daemon recover it.
fn check(damage: impl FnOnce(&Usual) + Send) -> Report {
    in_a_host(|| {
        let usual = usual();
        let (rules, links) = (ruleset(), our_links());
        damage(&usual);
        let report = Host::open().unwrap().reconcile(&usual.expected).unwrap();
        assert_same(&ruleset(), &rules, "as before");
        wait_until("the links are as before", || our_links() == links);
        let again = Host::open().unwrap().reconcile(&usual.expected).unwrap();
        assert_eq!(again, Report::default(), "a second recovery finds nothing to do");
        report
    })
}

#[test]
fn a_flushed_ruleset_is_restored() {
    let report = check(|_| {
        drop(nft(&["flush", "ruleset"]));
        // That the host was no router before us is lost with the ruleset, unless it shows.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    });
    assert_eq!(report.tables_rebuilt, 1);
}

#[test]
fn an_altered_table_is_written_anew() {
    for command in [
        "flush chain ip wadah forward",
        "add rule ip wadah forward accept",
        "insert rule ip wadah guard accept",
        "add chain ip wadah extra",
        "add set ip wadah extra { type ifname; }",
        "delete table ip wadah",
        "add table ip wadah { flags dormant; }",
    ] {
        let report = check(|_| {
            println!("{command}");
            drop(nft(&[command]));
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        });
        assert_eq!(report.tables_rebuilt, 1, "{command}");
    }
}

#[test]
fn missing_and_stray_elements_are_put_right() {
    let report = check(|_| {
        nft(&["flush map ip wadah ports"]);
        nft(&["add element ip wadah ports { tcp . 8080 : 172.17.0.99 . 80 }"]);
        nft(&["add element ip wadah ports { tcp . 9999 : 172.17.0.99 . 80 }"]);
        nft(&["add element ip wadah ports_at { 10.0.0.1 . tcp . 1 : 172.17.0.99 . 80 }"]);
        nft(&["flush set ip wadah masqueraded"]);
        nft(&["add element ip wadah masqueraded { 10.0.0.0/8 }"]);
        nft(&["add element ip wadah subnets { 10.0.0.0/8 . \"wadah9\" }"]);
        nft(&["add element ip wadah bridges { \"wadah9\" }"]);
    });
    assert_eq!(report.tables_rebuilt, 0);
    assert_eq!(
        (report.elements_added, report.elements_removed),
        (4, 8),
        "`nft` adds an end of nothing at 0.0.0.0"
    );
}

#[test]
fn a_deleted_bridge_is_made_anew_and_containers_are_plugged_in_again() {
    in_a_host(|| {
        let (usual, neighbour) = (usual(), neighbour());
        let _server = usual.web.serve_tcp(80);
        let ask = || ask_tcp(neighbour.fd(), (HOST, 8080), PATIENCE);
        assert_eq!(ask(), Some(NEIGHBOUR.into()));
        let mut links = RouteSocket::open().unwrap();
        let link = links.link("wadah0").unwrap().index;
        links.apply(&[Change::DeleteLink { link }]).unwrap();
        let report = Host::open().unwrap().reconcile(&usual.expected).unwrap();
        assert_eq!(report.bridges_made, ["wadah0"]);
        assert_eq!(report.replugged_veths, 2);
        assert_eq!(ask(), Some(NEIGHBOUR.into()));
        assert!(ask_tcp(usual.client.namespace.fd(), (usual.web.address, 80), PATIENCE).is_some());
    });
}

#[test]
fn attaching_heals_a_deleted_bridge() {
    in_a_host(|| {
        let usual = usual();
        usual.host.ensure_bridge(&second_bridge()).unwrap();
        let _server = usual.web.serve_tcp(80);
        let mut links = RouteSocket::open().unwrap();
        let link = links.link("wadah0").unwrap().index;
        links.apply(&[Change::DeleteLink { link }]).unwrap();
        let third = Container::start(&usual.host, &default_bridge(), 4);
        let seen = ask_tcp(third.namespace.fd(), (usual.web.address, 80), PATIENCE);
        assert_eq!(seen, Some(third.address));
    });
}

#[test]
fn a_bridge_that_is_down_is_set_up() {
    check(|_| {
        let status = Command::new("ip").args(["link", "set", "wadah0", "down"]).status();
        assert!(status.unwrap().success());
    });
}

#[test]
fn stray_bridges_and_pairs_are_removed_in_the_background() {
    in_a_host(|| {
        let usual = usual();
        let (rules, links) = (ruleset(), our_links());
        // What a killed daemon was doing: a second network, a third container.
        usual.host.ensure_bridge(&second_bridge()).unwrap();
        let stray = Container::start(&usual.host, &second_bridge(), 2);
        let third = Container::start(&usual.host, &default_bridge(), 4);
        usual.host.publish(&[third.tcp(9090, 90)]).unwrap();
        let report = Host::open().unwrap().reconcile(&usual.expected).unwrap();
        assert_eq!(report.stray_bridges, ["wadah1"]);
        let mut strays = vec![stray.host_name.clone(), third.host_name.clone()];
        strays.sort();
        let mut found = report.stray_veths.clone();
        found.sort();
        assert_eq!(found, strays);
        assert_same(&ruleset(), &rules, "as before");
        wait_until("the strays are gone", || our_links() == links);
    });
}

#[test]
fn what_is_being_attached_is_no_stray() {
    in_a_host(|| {
        let usual = usual();
        let fresh = Container::start(&usual.host, &default_bridge(), 4);
        let report = usual.host.reconcile(&usual.expected).unwrap();
        assert_eq!(report.stray_veths, Vec::<String>::new());
        drop(fresh);
    });
}

#[test]
fn a_container_that_lost_its_pair_is_reported() {
    in_a_host(|| {
        let usual = usual();
        let mut links = RouteSocket::open().unwrap();
        let link = links.link(&usual.client.host_name).unwrap().index;
        links.apply(&[Change::DeleteLink { link }]).unwrap();
        let report = Host::open().unwrap().reconcile(&usual.expected).unwrap();
        assert_eq!(report.missing_veths, std::slice::from_ref(&usual.client.host_name));
    });
}

#[test]
fn publishing_heals_a_flushed_ruleset() {
    in_a_host(|| {
        let usual = usual();
        usual.host.publish(&[usual.client.tcp(9090, 90)]).unwrap();
        let rules = ruleset();
        usual.host.unpublish(&[usual.client.tcp(9090, 90)]).unwrap();
        nft(&["flush", "ruleset"]);
        usual.host.publish(&[usual.client.tcp(9090, 90)]).unwrap();
        assert_same(&ruleset(), &rules, "as before");
        nft(&["flush", "ruleset"]);
        usual.host.unpublish(&[usual.client.tcp(9090, 90)]).unwrap();
        assert!(usual.host.heal_firewall().unwrap());
    });
}

/// Every prefix of the steps of a daemon's work, cut off: the next daemon ends in the same state.
#[test]
fn a_daemon_killed_after_any_step_leaves_nothing_that_stays() {
    type Step = fn(&Host, &mut Vec<Container>);
    let steps: [Step; 7] = [
        |host, _| host.ensure_firewall().unwrap(),
        |host, _| host.ensure_bridge(&default_bridge()).unwrap(),
        |host, all| all.push(Container::start(host, &default_bridge(), 2)),
        |host, all| host.publish(&[all[0].tcp(8080, 80), all[0].udp(53, 53)]).unwrap(),
        |host, _| host.ensure_bridge(&Bridge { icc: false, ..second_bridge() }).unwrap(),
        |host, all| all.push(Container::start(host, &second_bridge(), 2)),
        |host, all| host.unpublish(&[all[0].tcp(8080, 80)]).unwrap(),
    ];
    let nothing = Expected { bridges: vec![default_bridge()], ..Expected::default() };
    let fresh = in_a_host(|| {
        Host::open().unwrap().reconcile(&nothing).unwrap();
        (ruleset(), our_links())
    });
    for count in 0..=steps.len() {
        in_a_host(|| {
            let (host, mut containers) = (Host::open().unwrap(), vec![]);
            steps[..count].iter().for_each(|step| step(&host, &mut containers));
            drop(host);
            let next = Host::open().unwrap();
            next.reconcile(&nothing).unwrap();
            assert_same(&ruleset(), &fresh.0, &format!("after {count} steps"));
            wait_until("no stray link is left", || our_links() == fresh.1);
        });
    }
}

/// Set for the process that is the victim of [`a_daemon_killed_at_any_moment_leaves_nothing_that_stays`].
const VICTIM: &str = "WADAH_TEST_VICTIM";

/// Not a test: a daemon at work, without end, in the namespace it was started in.
#[test]
#[ignore = "works until it is killed"]
fn a_daemon_at_work() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    println!("at work");
    let host = Host::open().unwrap();
    for round in 0.. {
        host.ensure_firewall().unwrap();
        host.ensure_bridge(&default_bridge()).unwrap();
        let web = Container::start(&host, &default_bridge(), 2 + round % 5);
        host.publish(&[web.tcp(8080, 80), web.udp(5353, 53)]).unwrap();
        host.ensure_bridge(&Bridge { icc: round % 2 == 0, ..second_bridge() }).unwrap();
        let other = Container::start(&host, &second_bridge(), 2);
        host.publish(&[other.tcp(9090, 90)]).unwrap();
        host.unpublish(&[web.tcp(8080, 80), web.udp(5353, 53)]).unwrap();
        host.detach(&web.host_name).unwrap();
        host.unpublish(&[other.tcp(9090, 90)]).unwrap();
        if round % 3 == 2 {
            host.remove_bridge(&second_bridge().name).unwrap();
            host.remove_firewall().unwrap();
        }
    }
}

/// The real thing: another process, `kill -9`, many times, in one namespace.
#[test]
fn a_daemon_killed_at_any_moment_leaves_nothing_that_stays() {
    in_a_host(|| {
        let expected = Expected { bridges: vec![default_bridge()], ..Expected::default() };
        Host::open().unwrap().reconcile(&expected).unwrap();
        let (rules, links) = (ruleset(), our_links());
        for round in 0..25_u64 {
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "--nocapture", "recovery::a_daemon_at_work"])
                .env(VICTIM, "1")
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
            lines.find(|it| it.as_ref().unwrap().contains("at work")).unwrap().unwrap();
            // Not a wait for anything: the moment of death, spread over the first rounds of work.
            thread::sleep(Duration::from_micros(round * 617 % 15_000));
            victim.kill().unwrap();
            victim.wait().unwrap();
            Host::open().unwrap().reconcile(&expected).unwrap();
            assert_same(&ruleset(), &rules, &format!("in round {round}"));
            wait_until("no stray link is left", || our_links() == links);
        }
    });
}
