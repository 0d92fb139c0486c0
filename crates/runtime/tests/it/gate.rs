//! Starting, terminals and hooks.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::fd::OwnedFd,
    path::PathBuf,
};

use serde_json::{Value, json};
use wadah_runtime::{ExecRequest, Gate, SeccompPolicy, Stdio, exec, gate};

use super::{Bundle, pipes, read, wait};

#[test]
fn another_process_starts_it_through_a_socket() {
    let bundle = Bundle::new("echo started");
    let path = bundle.directory.path().join("a-rather-long-name-for-a-directory-".repeat(4));
    fs::create_dir(&path).unwrap();
    let socket = path.join("start.sock");
    let (stdio, stdout, _stderr) = pipes();
    let created = bundle.create(stdio, Gate::Socket(socket.clone())).unwrap();
    gate::open(&socket).unwrap();
    assert_eq!((wait(&created.pidfd), read(stdout).as_str()), (0, "started\n"));
    gate::open(&socket).unwrap_err();
    created.cgroup.delete().unwrap();
}

#[test]
fn who_starts_it_through_a_socket_learns_what_fails() {
    let mut bundle = Bundle::new("");
    bundle.spec["process"]["args"] = json!(["/garbage"]);
    let socket = bundle.directory.path().join("start.sock");
    let (stdio, _stdout, _stderr) = pipes();
    let created = bundle.create(stdio, Gate::Socket(socket.clone())).unwrap();
    let error = gate::open(&socket).unwrap_err();
    assert_eq!(error.launch().unwrap().exit_code(), 126);
    wait(&created.pidfd);
    created.cgroup.delete().unwrap();
}

#[test]
fn one_that_is_never_started_dies_with_its_creator() {
    let bundle = Bundle::new("echo must not run");
    let (stdio, stdout, _stderr) = pipes();
    let created = bundle.create(stdio, Gate::Pipe).unwrap();
    let pidfd = created.pidfd.try_clone().unwrap();
    let location = created.cgroup.location().clone();
    drop(created);
    assert_eq!((wait(&pidfd), read(stdout).as_str()), (1, ""));
    wadah_runtime::cgroup::Cgroup::open(&location).unwrap().delete().unwrap();
}

/// Everything that comes out of a terminal until its other side is gone.
fn drain(terminal: OwnedFd) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    let mut file = File::from(terminal);
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_terminal_is_the_containers_own() {
    let script = "tty; stty size; ls -l /dev/console | cut -c1-1; echo typed > /dev/console; \
                  test -t 0 && test -t 2 && read line && echo got $line";
    let bundle = Bundle::new(script);
    let mut created = bundle.create(Stdio::Terminal { size: Some((33, 99)) }, Gate::Pipe).unwrap();
    let terminal = created.terminal.take().unwrap();
    let running = created.start().unwrap();
    File::from(terminal.try_clone().unwrap()).write_all(b"hello\n").unwrap();
    let text = drain(terminal);
    for expected in ["/dev/pts/0\r\n", "33 99\r\n", "c\r\n", "typed\r\n", "got hello\r\n"] {
        assert!(text.contains(expected), "{text:?}");
    }
    assert_eq!(wait(&running.pidfd), 0);
    running.cgroup.delete().unwrap();
}

#[test]
fn an_interrupt_typed_at_a_terminal_reaches_the_process_below_init_once() {
    let mut bundle = Bundle::new(
        "trap 'n=$((n+1))' INT; n=0; echo ready; until [ $n -gt 0 ]; do sleep 0.05; done; \
         sleep 0.2; echo $n",
    );
    bundle.init = true;
    let mut created = bundle.create(Stdio::Terminal { size: None }, Gate::Pipe).unwrap();
    let terminal = created.terminal.take().unwrap();
    let running = created.start().unwrap();
    let mut ready = [0; 7];
    let mut writer = File::from(terminal.try_clone().unwrap());
    writer.read_exact(&mut ready).unwrap();
    writer.write_all(b"\x03").unwrap();
    drop(writer);
    let text = drain(terminal);
    assert!(text.ends_with("1\r\n"), "{text:?}");
    assert_eq!(wait(&running.pidfd), 0);
    running.cgroup.delete().unwrap();
}

/// A hook that adds a line to a file of the host's.
fn hook(bundle: &Bundle, name: &str, script: &str) -> Value {
    let log = bundle.directory.path().join("log");
    let script = format!("echo {name} >> {log:?}; {script}", log = log.to_str().unwrap());
    json!({"path": "/usr/bin/busybox", "args": ["busybox", "sh", "-c", script], "env": ["A=b"]})
}

fn log(bundle: &Bundle) -> String {
    fs::read_to_string(bundle.directory.path().join("log")).unwrap_or_default()
}

#[test]
fn hooks_run_in_their_order_and_places_and_get_the_state() {
    let mut bundle = Bundle::new("cat /from-hook");
    let state = bundle.directory.path().join("state");
    let state = state.to_str().unwrap();
    bundle.spec["annotations"] = json!({"some": "thing"});
    bundle.spec["hooks"] = json!({
        "prestart": [hook(&bundle, "prestart", "")],
        "createRuntime": [hook(&bundle, "createRuntime", &format!("cat > {state}; test -d /proc/$PPID"))],
        "createContainer": [hook(&bundle, "createContainer", "test $(hostname) = box")],
        "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", "echo inside > /from-hook"], "env": ["PATH=/bin"]}],
        "poststart": [hook(&bundle, "poststart", "cat > /dev/null; exit 3")],
    });
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "inside\n", "{outcome:?}");
    assert_eq!(log(&bundle), "prestart\ncreateRuntime\ncreateContainer\npoststart\n");
    assert!(outcome.warnings.iter().any(|it| it.contains("poststart")), "{outcome:?}");
    let state: Value = serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    assert_eq!(
        (&state["status"], &state["annotations"]["some"]),
        (&json!("creating"), &json!("thing"))
    );
    assert!(state["pid"].as_i64().unwrap() > 1);
    let warnings = wadah_runtime::hooks::poststop(&bundle.spec(), "x", &PathBuf::from("/"));
    assert_eq!(warnings, [] as [String; 0]);
}

#[test]
fn a_hook_that_fails_or_hangs_ends_it() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut bundle = Bundle::new("echo must not run");
        bundle.spec["hooks"] = json!({kind: [hook(&bundle, kind, "echo the reason >&2; exit 4")]});
        let error = bundle.run().unwrap_err();
        assert!(error.contains(kind) && error.contains("the reason"), "{error}");
    }
    let mut bundle = Bundle::new("echo must not run");
    let mut hanging = hook(&bundle, "hanging", "sleep 1000");
    hanging["timeout"] = json!(1);
    bundle.spec["hooks"] = json!({"createRuntime": [hanging]});
    let error = bundle.run().unwrap_err();
    assert!(error.contains("killed after 1 s"), "{error}");
}

#[test]
fn a_process_that_joins_gets_a_terminal_of_the_container() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let mut process = bundle.spec["process"].clone();
    process["args"] = json!(["sh", "-c", "tty; stty size; id -u"]);
    process["user"] = json!({"uid": 1000, "gid": 1000});
    process["consoleSize"] = json!({"height": 11, "width": 22});
    let joined = exec(ExecRequest {
        init: live.running.pid,
        spec: &bundle.spec(),
        process: &serde_json::from_value(process).unwrap(),
        cgroup: Some(&live.running.cgroup),
        stdio: Stdio::Terminal { size: None },
        preserve_fds: 0,
        seccomp: SeccompPolicy::Default,
        parent_death_signal: false,
    });
    let mut joined = joined.unwrap();
    assert_eq!(drain(joined.terminal.take().unwrap()), "/dev/pts/0\r\n11 22\r\n1000\r\n");
    assert_eq!(wait(&joined.pidfd), 0);
    live.kill();
}

#[test]
fn a_notifying_filters_listener_reaches_its_agent() {
    let mut bundle = Bundle::new("mkdir /x; echo $?");
    let path = bundle.directory.path().join("agent.sock");
    let agent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    bundle.seccomp = SeccompPolicy::Spec;
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "some words",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
    });
    let (stdio, stdout, _stderr) = pipes();
    let created = bundle.create(stdio, Gate::Pipe).unwrap();
    let (mut connection, _) = agent.accept().unwrap();
    let mut state = vec![0; 4096];
    let length = connection.read(&mut state).unwrap();
    let state: Value = serde_json::from_slice(&state[..length]).unwrap();
    assert_eq!((&state["fds"], &state["metadata"]), (&json!(["seccompFd"]), &json!("some words")));
    assert_eq!(state["pid"], json!(created.pid.as_raw_nonzero().get()));
    // Nobody answers: with the listener gone, the call fails.
    drop(connection);
    let running = created.start().unwrap();
    assert_eq!((wait(&running.pidfd), read(stdout).as_str()), (0, "1\n"));
    running.cgroup.delete().unwrap();
}
