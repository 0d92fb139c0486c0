//! Other processes in a running container.

use serde_json::json;
use wadah_shim::protocol::{Call, Event, FailureClass, Kind};

use crate::harness::{Client, Output, recipe, script};

/// Waits for the end of the session that a connection is attached to.
fn exit_code(client: &mut Client, session: &str) -> i32 {
    loop {
        if let Event::ExecExited { id, exit } = client.event() {
            assert_eq!(id, session);
            return exit.code;
        }
    }
}

#[test]
fn a_session_has_its_own_streams_and_exit_code() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    client.exec("one", &["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    let output = client.read_output();
    assert_eq!((output.text(), &output.stderr[..]), ("out\n", &b"err\n"[..]));
    assert_eq!(exit_code(&mut client, "one"), 7);
    assert_eq!(exit_code(&mut container.client, "one"), 7);
    let state = container.client.state();
    assert_eq!(state.execs["one"].exit.as_ref().unwrap().code, 7);
    assert_eq!(container.logged(), "");
}

#[test]
fn many_sessions_run_at_once_without_mixing() {
    let container = recipe(&["sleep", "1000"]).start();
    let mut clients: Vec<Client> = (0..12)
        .map(|number| {
            let mut client = container.connect();
            let text = format!("cat; seq 1 5000; exit {number}");
            client.exec(&format!("session{number}"), &["sh", "-c", &text]).unwrap();
            client
        })
        .collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(Kind::Stdin, format!("I am {number}\n").as_bytes());
        client.send(Kind::StdinEof, b"");
    }
    let numbers: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.read_output().text(), format!("I am {number}\n{numbers}"));
        let code = exit_code(client, &format!("session{number}"));
        assert_eq!(code, i32::try_from(number).unwrap());
    }
}

#[test]
fn what_cannot_be_executed_leaves_no_session() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    let failure = client.exec("x", &["nope"]).unwrap_err();
    assert_eq!(failure.class, FailureClass::ExecutableNotFound);
    let failure = client.exec("x", &["/tmp"]).unwrap_err();
    assert_eq!(failure.class, FailureClass::NotExecutable);
    assert!(container.client.state().execs.is_empty());
    client.exec("x", &["true"]).unwrap();
    assert_eq!(exit_code(&mut client, "x"), 0);
}

#[test]
fn a_session_can_have_a_terminal_of_its_own() {
    let container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    let process = json!({
        "args": ["sh", "-c", "tty; stty size; read x; stty size"], "cwd": "/",
        "user": { "uid": 0, "gid": 0 }, "env": ["PATH=/bin"], "terminal": true,
        "consoleSize": { "height": 20, "width": 70 }
    });
    client.exec_process("t", process).unwrap();
    let mut output = Output::default();
    client.read_until(&mut output, "20 70\r\n");
    assert!(output.text().starts_with("/dev/pts/"), "{output:?}");
    let mut other = container.connect();
    other.call(Call::Resize { exec: Some("t".into()), rows: 50, columns: 90 }).unwrap();
    client.send(Kind::Stdin, b"\n");
    assert!(client.read_output().text().ends_with("50 90\r\n"));
}

#[test]
fn a_session_can_be_signalled() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    client.exec("s", &["sleep", "1000"]).unwrap();
    let signal = |id: &str| Call::Signal { exec: Some(id.into()), signal: 9, all: false };
    container.client.call(signal("s")).unwrap();
    assert_eq!(exit_code(&mut client, "s"), 137);
    assert_eq!(container.client.call(signal("s")).unwrap_err().class, FailureClass::NotFound);
}

#[test]
fn a_session_whose_client_does_not_read_waits_and_loses_nothing() {
    let mut container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    client.exec("big", &["seq", "1", "1000000"]).unwrap();
    // Meanwhile the shim serves others.
    for _ in 0..50 {
        container.client.state();
    }
    let output = client.read_output();
    assert_eq!(output.lost, 0);
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    assert!(output.text() == expected);
}

#[test]
fn a_session_ends_with_its_process_though_a_child_holds_its_output() {
    let container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    client.exec("bg", &["sh", "-c", "sleep 500 & echo started"]).unwrap();
    assert_eq!(client.read_output().text(), "started\n");
    assert_eq!(exit_code(&mut client, "bg"), 0);
}

#[test]
fn sessions_end_with_their_container() {
    let mut container = script("read x; exit 4")
        .with(|launch| (launch.stdin, launch.stdin_once) = (true, true))
        .start();
    let mut client = container.connect();
    client.exec("s", &["sleep", "1000"]).unwrap();
    let mut input = container.connect();
    input.attach(None);
    input.send(Kind::StdinEof, b"");
    assert_eq!(container.wait().code, 4);
    assert_eq!(exit_code(&mut client, "s"), 137);
    let failure = container.client.exec("late", &["true"]).unwrap_err();
    assert_eq!(failure.class, FailureClass::WrongState);
}

#[test]
fn a_session_id_is_used_once() {
    let container = recipe(&["sleep", "1000"]).start();
    let mut client = container.connect();
    client.exec("s", &["sleep", "1000"]).unwrap();
    assert_eq!(client.exec("s", &["true"]).unwrap_err().class, FailureClass::Invalid);
}
