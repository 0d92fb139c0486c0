//! The log as a reader sees it.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::*;

struct Setup {
    directory: TempDir,
    log: Log,
}

impl Setup {
    fn new(max_size: u64, max_files: u32) -> Self {
        let directory = TempDir::new().unwrap();
        let log = open(directory.path(), max_size, max_files);
        Self { directory, log }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    /// The texts of a file's entries, joined.
    fn texts(&self, name: &str) -> String {
        self.read(name).lines().map(text).collect()
    }
}

fn open(directory: &Path, max_size: u64, max_files: u32) -> Log {
    let path = directory.join("log");
    let spec = protocol::Log { path, max_size, max_files, attributes: BTreeMap::new() };
    Log::open(&spec).unwrap()
}

fn text(entry: &str) -> String {
    let entry: serde_json::Value = serde_json::from_str(entry).unwrap();
    entry["log"].as_str().unwrap().to_owned()
}

fn now() -> Moment {
    Moment::at(1_700_000_000, 0)
}

#[test]
fn streams_do_not_mix_their_lines() {
    let mut setup = Setup::new(0, 1);
    setup.log.write(Source::Stdout, b"out ", now());
    setup.log.write(Source::Stderr, b"err\n", now());
    setup.log.write(Source::Stdout, b"put\nno end", now());
    setup.log.finish(Source::Stdout, now());
    setup.log.finish(Source::Stderr, now());
    expect_test::expect![[r#"
        {"log":"err\n","stream":"stderr","time":"2023-11-14T22:13:20Z"}
        {"log":"out put\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}
        {"log":"no end","stream":"stdout","time":"2023-11-14T22:13:20Z"}
    "#]]
    .assert_eq(&setup.read("log"));
}

#[test]
fn a_file_is_rotated_before_it_would_outgrow_its_size() {
    let mut setup = Setup::new(1000, 3);
    let lines: Vec<String> = (0..60).map(|n| format!("line {n}\n")).collect();
    setup.log.write(Source::Stdout, lines.concat().as_bytes(), now());
    for name in ["log", "log.1", "log.2"] {
        let length = setup.read(name).len();
        assert!((1..=1000).contains(&length), "{name}: {length}");
    }
    assert_eq!(fs::read_dir(setup.directory.path()).unwrap().count(), 3);
    let kept = setup.texts("log.2") + &setup.texts("log.1") + &setup.texts("log");
    assert!(lines.concat().ends_with(&kept), "{kept}");
}

#[test]
fn an_entry_larger_than_a_file_still_gets_one() {
    let mut setup = Setup::new(10, 2);
    setup.log.write(Source::Stdout, b"first line\nsecond line\n", now());
    assert_eq!(setup.texts("log"), "second line\n");
    assert_eq!(setup.texts("log.1"), "first line\n");
}

#[test]
fn a_single_file_is_started_anew() {
    let mut setup = Setup::new(70, 1);
    setup.log.write(Source::Stdout, b"a\nb\n", now());
    assert_eq!(setup.texts("log"), "b\n");
    assert_eq!(fs::read_dir(setup.directory.path()).unwrap().count(), 1);
}

#[test]
fn a_torn_entry_is_removed_when_a_log_is_opened_again() {
    let setup = Setup::new(0, 1);
    let path = setup.directory.path().join("log");
    fs::write(&path, "{\"log\":\"whole\\n\"}\n{\"log\":\"to").unwrap();
    let mut log = open(setup.directory.path(), 0, 1);
    log.write(Source::Stdout, b"next\n", now());
    assert_eq!(setup.texts("log"), "whole\nnext\n");
}

#[test]
fn a_flood_of_empty_lines_is_logged_in_full() {
    let mut setup = Setup::new(0, 1);
    setup.log.write(Source::Stdout, &[b'\n'; 20_000], now());
    assert_eq!(setup.texts("log").len(), 20_000);
    assert!(setup.log.encoded.capacity() <= 4 * FLUSH);
}

#[test]
fn a_full_disk_costs_lines_and_says_so() {
    let mut setup = Setup::new(0, 1);
    let path = setup.directory.path().join("log");
    let full = fs::OpenOptions::new().append(true).open("/dev/full").unwrap();
    let healthy = setup.log.files.replace_current(full);
    setup.log.write(Source::Stdout, b"a\nb\n", now());
    setup.log.write(Source::Stdout, b"c\n", now());
    drop(setup.log.files.replace_current(healthy));
    setup.log.write(Source::Stdout, b"d\n", now());
    setup.log.write(Source::Stdout, b"e\n", now());
    let log = fs::read_to_string(path).unwrap();
    expect_test::expect![[r#"
        {"log":"wadah: 3 lines of output could not be logged here: No space left on device (os error 28)\n","stream":"stderr","time":"2023-11-14T22:13:20Z"}
        {"log":"d\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}
        {"log":"e\n","stream":"stdout","time":"2023-11-14T22:13:20Z"}
    "#]]
    .assert_eq(&log);
}

/// Not a test: how fast it is. `cargo test -p wadah-shim --release speed -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn speed_of_logging() {
    let mut setup = Setup::new(10 << 20, 3);
    let line =
        "2026-11-21 05:35:20 INFO worker[17]: handled request for user 123 in 4 ms, all is well\n";
    let batch = line.repeat((64 << 10) / line.len());
    for (name, batch) in [("ascii", batch.clone()), ("quoted", batch.replace('1', "\""))] {
        let start = std::time::Instant::now();
        let mut bytes = 0;
        while bytes < 1 << 30 {
            setup.log.write(Source::Stdout, batch.as_bytes(), Moment::now());
            bytes += batch.len();
        }
        let rate = bytes as f64 / start.elapsed().as_secs_f64() / 1e6;
        println!("{name}: {rate:.0} MB/s of output, to files");
    }
}
