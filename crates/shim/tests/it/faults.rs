//! Daemons that die, clients that lie, shims that are killed.

use std::{fs, net::Shutdown};

use rustix::process::{Signal, kill_process};
use wadah_shim::{
    launch::{bury, reattach, remains},
    protocol::{Call, Event, Kind, Status},
};
use wadah_testkit::wait_until;

use crate::harness::{Client, is_alive, recipe, script};

#[test]
fn a_container_goes_on_without_a_daemon_and_is_adopted_by_the_next() {
    let count = "i=0; while [ $i -lt 100 ]; do echo $i; i=$((i+1)); sleep 0.005; done; exit 9";
    let mut container = script(count).start();
    container.shim.connection.shutdown(Shutdown::Both).unwrap();
    container.client = container.connect();
    container.client.call(Call::Subscribe).unwrap();
    assert_eq!(container.wait().code, 9);
    let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
    assert_eq!(container.logged(), expected);
}

#[test]
fn the_exit_of_a_container_without_a_daemon_waits_on_disk() {
    let container = script("while [ ! -e /go ]; do sleep 0.01; done; echo last; exit 11").start();
    let (run_dir, go) = (container.launch.run_dir.clone(), container.file("go"));
    container.shim.connection.shutdown(Shutdown::Both).unwrap();
    fs::write(go, "").unwrap();
    container.wait_for_shim();
    assert_eq!(remains(&run_dir).exit.unwrap().code, 11);
    assert_eq!(remains(&run_dir).state.unwrap().status, Status::Running);
    assert_eq!(container.logged(), "last\n");
    assert!(!container.has_cgroup());
    reattach(&run_dir).unwrap_err();
}

#[test]
fn a_created_container_survives_the_daemon_and_is_started_by_the_next() {
    let container = script("exit 6").create();
    container.shim.connection.shutdown(Shutdown::Both).unwrap();
    let mut client = container.connect();
    assert_eq!(client.state().status, Status::Created);
    client.call(Call::Subscribe).unwrap();
    client.call(Call::Start).unwrap();
    assert!(matches!(client.event(), Event::Exited(exit) if exit.code == 6));
}

#[test]
fn a_killed_shim_takes_its_container_with_it() {
    let mut container = script("sleep 1000 & sleep 1000").start();
    let pid = container.client.state().pid;
    let mut session = container.connect();
    let exec = session.exec("e", &["sleep", "1000"]).unwrap();
    kill_process(container.shim.process.pid(), Signal::KILL).unwrap();
    container.wait_for_shim();
    wait_until("the container dies", || !is_alive(pid) && !is_alive(exec));
    assert_eq!(remains(&container.launch.run_dir).state.unwrap().pid, pid);
    assert!(container.persisted_exit().is_none());
    assert!(container.has_cgroup());
    bury(&container.launch.run_dir).unwrap();
    assert!(!container.has_cgroup());
    bury(&container.launch.run_dir).unwrap();
}

#[test]
fn garbage_closes_its_own_connection_and_no_other() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let garbage: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &[0; 64],
        &[0xff; 64],
        b"\x00\x00\x00\x00\x02{}",
        b"\x00\xff\xff\xff\xff",
        b"\x01\x00\x00\x00\x01x",
        b"\x04\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x05hello",
    ];
    for bytes in garbage {
        let mut client = container.connect();
        client.send_raw(bytes);
        assert_eq!(client.frame(), None, "{bytes:?}");
    }
    assert_eq!(container.client.state().status, Status::Running);
}

#[test]
fn a_call_of_a_later_release_is_refused_politely() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let json = br#"{"id":77,"call":{"method":"teleport","to":"mars"}}"#;
    container.client.send(Kind::Control, json);
    container.client.answer(77).unwrap_err();
    container.client.state();
}

#[test]
fn half_a_request_that_never_continues_harms_nobody() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let mut clients: Vec<Client> = (0..50).map(|_| container.connect()).collect();
    for client in &mut clients {
        client.send_raw(b"\x00\x00\x00");
    }
    container.client.state();
    drop(clients);
    let pid = container.shim.process.pid().as_raw_nonzero();
    let descriptors = || fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    wait_until("the descriptors are closed", || descriptors() < 30);
}

#[test]
fn clients_that_vanish_at_any_moment_cost_nothing() {
    let mut container =
        script("i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); sleep 0.002; done").start();
    let mut round = 0_u64;
    while container.persisted_exit().is_none() {
        let Ok(socket) = reattach(&container.launch.run_dir) else { break };
        let mut client = Client::new(socket);
        let bytes = request(round);
        // All of it, or a part that depends on the round.
        let cut = usize::try_from(round).unwrap() * 7 % (bytes.len() + 1);
        client.send_raw(&bytes[..cut]);
        if round.is_multiple_of(3) {
            for _ in 0..round % 50 {
                container.client.state();
            }
        }
        round += 1;
    }
    assert_eq!(container.wait().code, 0);
    let expected: String = (0..300).map(|n| format!("line {n}\n")).collect();
    assert_eq!(container.logged(), expected);
}

/// A request, another each round.
fn request(round: u64) -> Vec<u8> {
    let call = match round % 3 {
        0 => Call::Attach { exec: None, stdin: true, stdout: true, stderr: true },
        1 => Call::Subscribe,
        _ => Call::State,
    };
    let mut bytes = Vec::new();
    let request = wadah_shim::protocol::Request { id: round, call };
    wadah_shim::protocol::encode_message(&request, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_quiet_shim_gives_its_memory_back() {
    let mut container = script("seq 1 200000; sleep 1000").start();
    wait_until("it has logged", || container.logged().ends_with("200000\n"));
    let pid = container.shim.process.pid().as_raw_nonzero();
    let heap = || {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.ends_with("[heap]"));
        let resident = lines.find_map(|line| line.strip_prefix("Rss:"));
        resident.unwrap().trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    wait_until("memory is given back", || heap() < 100);
    container.client.state();
}

#[test]
fn a_run_directory_with_a_long_name_is_as_good_as_any() {
    let mut container = recipe(&["sleep", "1000"])
        .with(|launch| launch.run_dir.extend(["x".repeat(100), "y".repeat(100)]))
        .start();
    assert_eq!(container.connect().state().status, Status::Running);
    container.client.state();
}

#[test]
fn a_storm_of_garbage_harms_nobody() {
    let mut container = recipe(&["sleep", "1000"]).start();
    // A generator that is the same each time: Knuth's multiplier.
    let mut seed = 1_u64;
    let mut random = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for round in 0..300 {
        let mut bytes = request(round);
        for _ in 0..1 + random() % 8 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = u8::try_from(random() % 256).unwrap();
        }
        container.connect().send_raw(&bytes);
    }
    assert_eq!(container.client.state().status, Status::Running);
}
