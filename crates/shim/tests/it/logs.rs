//! What a container writes, and what its log holds.

use std::fs;

use crate::harness::{recipe, script};

#[test]
fn the_log_holds_every_byte_in_order() {
    let mut container = recipe(&["seq", "1", "100000"]).start();
    container.wait();
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(container.logged() == expected);
}

#[test]
fn streams_and_unfinished_lines_are_logged_as_docker_does() {
    let mut container = script("echo out; echo err >&2; printf unfinished").start();
    container.wait();
    let log = fs::read_to_string(&container.launch.log.as_ref().unwrap().path).unwrap();
    let mut entries: Vec<String> = log
        .lines()
        .map(|line| {
            let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
            let time = entry["time"].take();
            assert!(time.as_str().unwrap().ends_with('Z'));
            format!("{} {}", entry["stream"].as_str().unwrap(), entry["log"])
        })
        .collect();
    entries.sort();
    assert_eq!(entries, [r#"stderr "err\n""#, r#"stdout "out\n""#, r#"stdout "unfinished""#]);
}

#[test]
fn a_flood_is_logged_whole_and_rotated() {
    let mut container = recipe(&["seq", "1", "300000"])
        .with(|launch| {
            let log = launch.log.as_mut().unwrap();
            (log.max_size, log.max_files) = (1 << 20, 3);
        })
        .start();
    container.wait();
    let files = ["log", "log.1", "log.2"];
    for file in files {
        let size = container.directory.path().join(file).metadata().unwrap().len();
        assert!(size <= 1 << 20, "{file}: {size}");
    }
    assert!(!container.directory.path().join("log.3").exists());
    let all: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    let kept = container.logged();
    assert!(kept.len() > 100_000 && all.ends_with(&kept));
}

#[test]
fn without_a_log_output_is_read_all_the_same() {
    let mut container = recipe(&["seq", "1", "100000"]).with(|launch| launch.log = None).start();
    assert_eq!(container.wait().code, 0);
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_of_creation() {
    let mut container = recipe(&["true"])
        .with(|launch| launch.log.as_mut().unwrap().path = "/nonexistent/log".into())
        .launch();
    let failure = container.client.call(wadah_shim::protocol::Call::Created).unwrap_err();
    assert!(failure.message.contains("/nonexistent/log"), "{failure:?}");
}

#[test]
fn a_full_disk_does_not_stop_a_container() {
    let (mut container, mut client) = recipe(&["seq", "1", "100000"])
        .with(|launch| launch.log.as_mut().unwrap().path = "/dev/full".into())
        .start_attached();
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(client.read_output().text() == expected);
    assert_eq!(container.wait().code, 0);
}
