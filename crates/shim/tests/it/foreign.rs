//! Containers made by another OCI runtime: as much of the shim's behaviour as does not depend on
//! whose they are. With `runc`, where it is installed.

use std::{fs, path::Path};

use serde_json::json;
use wadah_shim::protocol::{Call, Event, FailureClass, Kind, Rootfs, Seccomp};

use crate::harness::{Output, Recipe, is_alive, recipe, script};

const RUNC: [&str; 2] = ["/usr/sbin/runc", "/usr/bin/runc"];

/// Has a container made by `runc`; says loudly if there is none.
fn by_runc(recipe: Recipe) -> Option<Recipe> {
    let Some(runc) = RUNC.into_iter().find(|path| Path::new(path).exists()) else {
        wadah_testkit::skip("runc is not installed");
        return None;
    };
    Some(recipe.with(|launch| {
        launch.runtime = Some(runc.into());
        launch.seccomp = Seccomp::Spec;
    }))
}

#[test]
fn its_output_exit_code_and_sessions_are_as_ours() {
    let Some(recipe) = by_runc(script("echo out; echo err >&2; sleep 1000")) else { return };
    let (mut container, mut client) = recipe.start_attached();
    let mut output = Output::default();
    client.read_until(&mut output, "out\n");
    let mut session = container.connect();
    session.exec("s", &["sh", "-c", "echo session; exit 3"]).unwrap();
    assert_eq!(session.read_output().text(), "session\n");
    assert!(matches!(session.event(), Event::ExecExited { exit, .. } if exit.code == 3));
    container.client.call(Call::Stats).unwrap();
    container.client.call(Call::Pause).unwrap();
    container.client.call(Call::Resume).unwrap();
    container.client.call(Call::Signal { exec: None, signal: 9, all: false }).unwrap();
    assert_eq!(container.wait().code, 137);
    container.client.call(Call::Shutdown).unwrap();
    container.wait_for_shim();
    assert!(!container.has_cgroup());
}

#[test]
fn it_makes_terminals() {
    let Some(recipe) = by_runc(script("stty size; read x; echo got $x")) else { return };
    let recipe = recipe.with(|launch| {
        (launch.stdin, launch.terminal, launch.terminal_size) = (true, true, Some((30, 100)));
    });
    let (mut container, mut client) = recipe.start_attached();
    let mut output = Output::default();
    client.read_until(&mut output, "30 100\r\n");
    client.send(Kind::Stdin, b"it\n");
    assert!(client.read_output().text().ends_with("got it\r\n"));
    assert_eq!(container.wait().code, 0);
}

#[test]
fn it_stands_on_an_overlay_that_the_host_does_not_see() {
    let Some(recipe) = by_runc(script("echo changed > /file; sleep 1000")) else { return };
    let recipe = recipe.with(|launch| {
        let directory = launch.run_dir.parent().unwrap().to_owned();
        for name in ["upper", "work"] {
            fs::create_dir(directory.join(name)).unwrap();
        }
        launch.rootfs = Rootfs::Overlay {
            lower: vec![directory.join("rootfs")],
            upper: directory.join("upper"),
            work: directory.join("work"),
            volatile: true,
        };
    });
    let container = recipe.start();
    let changed = container.directory.path().join("upper/file");
    wadah_testkit::wait_until("it writes", || {
        fs::read_to_string(&changed).is_ok_and(|text| text == "changed\n")
    });
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(container.directory.path().to_str().unwrap()));
}

#[test]
fn its_failures_are_classified() {
    let Some(recipe) = by_runc(recipe(&["nope"])) else { return };
    let mut container = recipe.launch();
    let failure =
        container.client.call(Call::Created).and_then(|_| container.client.call(Call::Start));
    let failure = failure.unwrap_err();
    assert_eq!(failure.class, FailureClass::ExecutableNotFound, "{failure:?}");
    assert!(failure.message.contains("nope"), "{failure:?}");
}

#[test]
fn what_a_killed_shim_leaves_of_it_can_be_buried() {
    let Some(recipe) = by_runc(recipe(&["sleep", "1000"])) else { return };
    let recipe = recipe.with_spec(|spec| {
        spec["linux"]["resources"] = json!({ "pids": { "limit": 10 } });
    });
    let mut container = recipe.start();
    let pid = container.client.state().pid;
    // Dropping kills the shim, and buries what is left.
    drop(container);
    assert!(!is_alive(pid));
}
