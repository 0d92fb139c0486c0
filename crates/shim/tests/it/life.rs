//! From creation to the end: states, exit codes, signals, limits, and who cleans up.

use serde_json::json;
use wadah_shim::protocol::{Answer, Call, FailureClass, Status};
use wadah_testkit::wait_until;

use crate::harness::{is_alive, recipe, script};

#[test]
fn the_exit_code_is_reported_after_it_was_written_down() {
    for code in [0, 1, 42, 255] {
        let mut container = script(&format!("exit {code}")).start();
        let exit = container.wait();
        assert_eq!((exit.code, exit.signal), (code, None));
        assert_eq!(container.persisted_exit(), Some(exit));
    }
}

#[test]
fn a_container_waits_at_its_gate() {
    let mut container = script("echo started").create();
    let state = container.client.state();
    assert_eq!(state.status, Status::Created);
    assert!(is_alive(state.pid));
    assert_eq!(container.logged(), "");
    container.client.call(Call::Subscribe).unwrap();
    container.client.call(Call::Start).unwrap();
    container.wait();
    assert_eq!(container.logged(), "started\n");
    let state = container.client.state();
    assert_eq!(state.status, Status::Stopped);
    assert!(state.started_at > 0 && state.exit.unwrap().at > state.started_at);
}

#[test]
fn a_missing_executable_is_told_apart_from_one_that_cannot_run() {
    for (arguments, class, code) in [
        (["nope"], FailureClass::ExecutableNotFound, 127),
        (["/tmp"], FailureClass::NotExecutable, 126),
    ] {
        let mut container = recipe(&arguments).launch();
        let failure =
            container.client.call(Call::Created).and_then(|_| container.client.call(Call::Start));
        let failure = failure.unwrap_err();
        assert_eq!(failure.class, class, "{failure:?}");
        let exit = container.persisted_exit().unwrap();
        assert_eq!((exit.code, exit.error), (code, Some(failure.message)));
        container.client.call(Call::Shutdown).unwrap();
        container.wait_for_shim();
        assert!(!container.has_cgroup());
    }
}

#[test]
fn signals_reach_the_process_and_its_death_tells_which() {
    let mut container =
        script("trap 'echo caught; exit 3' TERM; echo up; while :; do sleep 0.01; done").start();
    wait_until("the trap is set", || container.logged() == "up\n");
    let term = Call::Signal { exec: None, signal: 15, all: false };
    container.client.call(term).unwrap();
    assert_eq!(container.wait().code, 3);
    assert_eq!(container.logged(), "up\ncaught\n");

    let mut container = recipe(&["sleep", "1000"]).start();
    let kill = Call::Signal { exec: None, signal: 9, all: false };
    container.client.call(kill.clone()).unwrap();
    let exit = container.wait();
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), false));
    let failure = container.client.call(kill).unwrap_err();
    assert_eq!(failure.class, FailureClass::WrongState);
}

#[test]
fn a_dismissed_shim_leaves_nothing_behind() {
    let mut container = recipe(&["true"]).start();
    container.wait();
    container.client.call(Call::Shutdown).unwrap();
    container.wait_for_shim();
    assert!(!container.has_cgroup());
    assert!(!container.launch.run_dir.join("shim.sock").exists());
    assert!(!container.launch.run_dir.join("shim.log").exists());
}

#[test]
fn a_running_container_keeps_its_shim() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let failure = container.client.call(Call::Shutdown).unwrap_err();
    assert_eq!(failure.class, FailureClass::WrongState);
    assert_eq!(container.client.state().status, Status::Running);
}

#[test]
fn a_container_that_was_never_started_can_be_dismissed() {
    let mut container = recipe(&["true"]).create();
    let pid = container.client.state().pid;
    container.client.call(Call::Shutdown).unwrap();
    container.wait_for_shim();
    assert!(!is_alive(pid));
    assert!(!container.has_cgroup());
}

#[test]
fn a_paused_container_stands_still_and_can_be_killed() {
    let mut container = script("while :; do echo x; sleep 0.01; done").start();
    wait_until("it runs", || !container.logged().is_empty());
    container.client.call(Call::Pause).unwrap();
    assert_eq!(container.client.state().status, Status::Paused);
    assert_eq!(container.client.call(Call::Pause).unwrap_err().class, FailureClass::WrongState);
    let before = container.logged();
    // Time enough for a running one to write.
    for _ in 0..1000 {
        container.client.state();
    }
    assert_eq!(container.logged(), before);
    container.client.call(Call::Resume).unwrap();
    wait_until("it runs again", || container.logged() != before);
    container.client.call(Call::Pause).unwrap();
    container.client.call(Call::Signal { exec: None, signal: 9, all: false }).unwrap();
    assert_eq!(container.wait().code, 137);
}

#[test]
fn pids_stats_and_limits_are_those_of_the_cgroup() {
    let mut container = script("sleep 1000 & sleep 1000 & wait").start();
    let mut pids = || match container.client.call(Call::Pids).unwrap() {
        Answer::Pids { pids } => pids,
        other => panic!("{other:?}"),
    };
    wait_until("three processes run", || pids().len() == 3);
    let limit = json!({ "memory": { "limit": 64 << 20 } });
    container.client.call(Call::Update { resources: limit }).unwrap();
    let Answer::Stats { stats } = container.client.call(Call::Stats).unwrap() else { panic!() };
    assert_eq!(stats["memory"]["limit"], 64 << 20);
    assert_eq!(stats["pids"]["current"], 3);
}

#[test]
fn want_of_memory_is_noticed() {
    let mut container = recipe(&["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"])
        .with_spec(|spec| {
            spec["linux"]["resources"] =
                json!({ "memory": { "limit": 16 << 20, "swap": 16 << 20 } });
        })
        .start();
    let mut told = false;
    let exit = loop {
        match container.client.event() {
            wadah_shim::protocol::Event::Oom => told = true,
            wadah_shim::protocol::Event::Exited(exit) => break exit,
            _ => {}
        }
    };
    assert!(told);
    assert!(exit.oom_killed, "{exit:?}");
    assert_eq!(exit.code, 137);
}

#[test]
fn every_process_of_a_container_can_be_signalled() {
    let mut container = script("sleep 1000 & sleep 1000 & wait; echo waited").start();
    wait_until(
        "three processes run",
        || matches!(container.client.call(Call::Pids).unwrap(), Answer::Pids { pids } if pids.len() == 3),
    );
    // The shell, as pid 1 without a handler, is not killed by it.
    container.client.call(Call::Signal { exec: None, signal: 15, all: true }).unwrap();
    assert_eq!(container.wait().code, 0);
    assert_eq!(container.logged(), "waited\n");
}

#[test]
fn a_container_can_be_killed_at_its_gate() {
    let mut container = recipe(&["true"]).create();
    container.client.call(Call::Subscribe).unwrap();
    container.client.call(Call::Signal { exec: None, signal: 9, all: false }).unwrap();
    assert_eq!(container.wait().code, 137);
    let failure = container.client.call(Call::Start).unwrap_err();
    assert_eq!(failure.class, FailureClass::WrongState);
    wait_until("its cgroup is deleted", || !container.has_cgroup());
}

#[test]
fn no_process_inherits_the_signals_that_the_shim_blocks() {
    let recipe = script(
        "while read line; do case $line in Sig*) echo $line; esac; done < /proc/self/status",
    );
    let hooked = recipe.launch.run_dir.parent().unwrap().join("hooked");
    let hook = json!({
        "path": "/bin/sh",
        "args": ["sh", "-c", format!("grep ^Sig /proc/self/status > {}", hooked.display())]
    });
    let mut container =
        recipe.with_spec(|spec| spec["hooks"] = json!({ "createRuntime": [hook] })).start();
    container.wait();
    for status in [container.logged(), std::fs::read_to_string(hooked).unwrap()] {
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        assert_eq!(of("SigBlk:"), 0, "{status}");
        // A program written in Rust ignores it.
        let pipe = 1 << (13 - 1);
        assert_eq!(of("SigIgn:") & pipe, 0, "{status}");
    }
}
