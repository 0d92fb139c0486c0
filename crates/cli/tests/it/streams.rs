//! Containers in pipes.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

use wadah_testkit::{Sandbox, wait_until};

use crate::sandbox;

fn piped(sandbox: &Sandbox, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = sandbox.wadah_command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The container may end before it has read everything.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn the_end_of_our_input_is_the_end_of_the_containers() {
    let sandbox = sandbox();
    let output = piped(&sandbox, &["run", "--rm", "-i", "busybox", "wc", "-c"], &[b'x'; 300_000]);
    assert_eq!(output.stdout, b"300000\n");
    let script = "cat; echo late";
    let output = piped(&sandbox, &["run", "--rm", "-i", "busybox", "sh", "-c", script], b"early\n");
    assert_eq!(output.stdout, b"early\nlate\n");
    let output = piped(&sandbox, &["run", "--rm", "busybox", "cat"], b"not for you");
    assert_eq!(output.stdout, b"");
    let output =
        piped(&sandbox, &["run", "--rm", "-i", "busybox", "head", "-c", "1"], &[b'y'; 500_000]);
    assert_eq!(output.stdout, b"y");
}

#[test]
fn output_and_errors_stay_apart_and_whole() {
    let sandbox = sandbox();
    let script = "seq 1 30000; seq 1 10000 >&2; exit 3";
    let output = piped(&sandbox, &["run", "--rm", "busybox", "sh", "-c", script], b"");
    let numbers = |to: u32| (1..=to).map(|it| format!("{it}\n")).collect::<String>();
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout == numbers(30_000).as_bytes(), "standard output is whole");
    assert!(output.stderr == numbers(10_000).as_bytes(), "standard error is whole");
    let script = "echo out; echo err >&2";
    let arguments = ["run", "--rm", "-a", "stderr", "busybox", "sh", "-c", script];
    let output = piped(&sandbox, &arguments, b"");
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b""[..], &b"err\n"[..]));
}

#[test]
fn a_reader_that_goes_away_is_no_news() {
    let sandbox = sandbox();
    let mut command = sandbox.wadah_command();
    command.args(["run", "--rm", "--name", "endless", "busybox", "yes"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut byte = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    sandbox.wadah(["rm", "-f", "endless"]).ok();
}

#[test]
fn exit_codes_are_those_of_a_shell() {
    let sandbox = sandbox();
    for (words, code) in [
        (&["true"][..], 0),
        (&["false"], 1),
        (&["sh", "-c", "exit 42"], 42),
        (&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
        (&["nope"], 127),
        (&["/etc"], 126),
    ] {
        let output = sandbox.wadah([&["run", "--rm", "busybox"], words].concat());
        assert_eq!(output.code, code, "{output}");
    }
    sandbox.wadah(["run", "--nope", "busybox"]).fails(125);
    sandbox.wadah(["run", "--rm", "nosuch/image"]).fails(125);
    sandbox.wadah(["ps", "nosuch"]).fails(1);
    sandbox.wadah(["rm", "nosuch"]).fails(1);
    sandbox.wadah(["rm", "-f", "nosuch"]).ok();
}

#[test]
fn logs_exec_and_the_verbs_do_what_they_say() {
    let sandbox = sandbox();
    let script = "echo one; echo two >&2; sleep 1000";
    let id = sandbox.wadah(["run", "-d", "--name", "box", "busybox", "sh", "-c", script]).ok();
    wait_until("two lines", || {
        let logs = sandbox.wadah(["logs", "box"]);
        logs.stdout == "one\n" && logs.stderr == "two\n"
    });
    assert_eq!(sandbox.wadah(["exec", "box", "echo", "in"]).ok(), "in");
    sandbox.wadah(["exec", "box", "sh", "-c", "exit 5"]).fails(5);
    sandbox.wadah(["exec", "box", "nope"]).fails(127);
    assert!(sandbox.wadah(["top", "box"]).ok().contains("sleep 1000"));
    assert_eq!(sandbox.wadah(["ps", "-q", "--no-trunc"]).ok(), id);
    assert_eq!(sandbox.wadah(["inspect", "-f", "{{.State.Status}}", "box"]).ok(), "running");
    sandbox.wadah(["rename", "box", "case"]).ok();
    assert_eq!(sandbox.wadah(["restart", "-t", "0", "case"]).ok(), "case");
    assert_eq!(sandbox.wadah(["kill", "case"]).ok(), "case");
    assert_eq!(sandbox.wadah(["wait", "case"]).ok(), "137");
    assert_eq!(sandbox.wadah(["rm", "case"]).ok(), "case");
}

#[test]
fn a_cidfile_is_for_one_container_only() {
    let sandbox = sandbox();
    let path = sandbox.path().join("cid");
    let path = path.to_str().unwrap();
    let id = sandbox.wadah(["create", "--cidfile", path, "busybox"]).ok();
    assert_eq!(std::fs::read_to_string(path).unwrap(), id);
    let error = sandbox.wadah(["create", "--cidfile", path, "busybox"]).fails(125);
    assert!(error.contains("container ID file found"), "{error}");
    std::fs::remove_file(path).unwrap();
    sandbox.wadah(["create", "--cidfile", path, "nosuch/image"]).fails(125);
    assert!(!std::path::Path::new(path).exists(), "no container, no file");
}

#[test]
fn nobody_at_the_socket_is_told_by_docker_s_exit_code() {
    let output = Command::new(wadah_testkit::wadah_executable())
        .args(["-H", "unix:///nonexistent/wadah.sock", "ps"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "Cannot connect to the Wadah daemon at unix:///nonexistent/wadah.sock. Is the wadah \
         daemon running?\n"
    );
}
