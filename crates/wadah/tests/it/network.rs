//! The default bridge, published ports, and the other ways to have a network.

use wadah_testkit::{Sandbox, wait_for};

use crate::sandbox;

const SERVER: &str = "echo hello > /tmp/index.html; exec httpd -f -p 80 -h /tmp";

/// Fetches a page as simply as can be: busybox's wget crashes when it is linked statically.
fn script(host: &str, port: u16) -> String {
    format!("printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port} | tail -n 1")
}

fn fetch(sandbox: &Sandbox, host: &str, port: u16) -> String {
    wait_for(&format!("{host}:{port} answers"), || {
        let output = sandbox
            .inside("/bin/busybox")
            .args(["sh", "-c", &script(host, port)])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    })
}

#[test]
fn a_published_port_is_reached_by_loopback_by_address_and_from_other_containers() {
    let sandbox = sandbox();
    sandbox
        .wadah(["run", "-d", "--name", "web", "-p", "8080:80", "busybox", "sh", "-c", SERVER])
        .ok();
    assert_eq!(fetch(&sandbox, "127.0.0.1", 8080), "hello");
    let of_bridge = |field: &str| {
        let template = format!("{{{{.NetworkSettings.Networks.bridge.{field}}}}}");
        sandbox.wadah(["inspect", "-f", &template, "web"]).ok()
    };
    let (gateway, own) = (of_bridge("Gateway"), of_bridge("IPAddress"));
    assert_eq!(fetch(&sandbox, &gateway, 8080), "hello");
    let get = |host: &str, port| {
        sandbox.wadah(["run", "--rm", "busybox", "sh", "-c", &script(host, port)]).ok()
    };
    assert_eq!(get(&own, 80), "hello");
    assert_eq!(get(&gateway, 8080), "hello");
    assert_eq!(sandbox.wadah(["ps", "--format", "{{.Ports}}"]).ok(), "0.0.0.0:8080->80/tcp");
}

#[test]
fn a_port_that_is_taken_names_who_has_it() {
    let sandbox = sandbox();
    sandbox
        .wadah(["run", "-d", "--name", "first", "-p", "8080:80", "busybox", "sleep", "1000"])
        .ok();
    let taken = sandbox
        .wadah(["run", "-d", "--name", "second", "-p", "8080:80", "busybox", "sleep", "1000"])
        .fails(125);
    assert!(taken.contains("8080") && taken.contains("port is already allocated"), "{taken}");
}

#[test]
fn a_container_without_a_network_has_only_its_loopback() {
    let sandbox = sandbox();
    let list =
        sandbox.wadah(["run", "--rm", "--network", "none", "busybox", "ls", "/sys/class/net"]).ok();
    assert_eq!(list, "lo");
}

#[test]
fn containers_share_the_hosts_or_each_others_network_when_asked() {
    let sandbox = sandbox();
    let read = ["readlink", "/proc/self/ns/net"];
    let host = sandbox.inside("readlink").arg("/proc/self/ns/net").output().unwrap();
    let host = String::from_utf8_lossy(&host.stdout).trim().to_owned();
    assert_eq!(
        sandbox.wadah([&["run", "--rm", "--network", "host", "busybox"], &read[..]].concat()).ok(),
        host
    );
    sandbox.wadah(["run", "-d", "--name", "owner", "busybox", "sleep", "1000"]).ok();
    let owner = sandbox.wadah([&["exec", "owner"], &read[..]].concat()).ok();
    assert_ne!(owner, host);
    assert_eq!(
        sandbox
            .wadah(
                [&["run", "--rm", "--network", "container:owner", "busybox"], &read[..]].concat()
            )
            .ok(),
        owner
    );
}

#[test]
fn addresses_come_back_and_are_used_again() {
    let sandbox = Sandbox::with_arguments(&["--bip", "10.99.0.1/29"]).unwrap();
    sandbox.load_busybox().unwrap();
    // A /29 has five addresses for containers.
    for _ in 0..20 {
        sandbox.wadah(["run", "--rm", "busybox", "true"]).ok();
    }
    for _ in 0..5 {
        sandbox.wadah(["run", "-d", "busybox", "sleep", "1000"]).ok();
    }
    let full = sandbox.wadah(["run", "-d", "busybox", "sleep", "1000"]).fails(125);
    assert!(full.contains("10.99.0.0/29"), "{full}");
}
