//! Limits: what a container may use, and what happens when it wants more.

use std::fs;

use wadah_testkit::{wait_for, wait_until};

use crate::sandbox;

#[test]
fn a_container_out_of_memory_is_killed_and_says_so() {
    let sandbox = sandbox();
    let script = "x=a; while :; do x=$x$x; done";
    let output = sandbox.wadah([
        "run",
        "--name",
        "hungry",
        "-m",
        "16m",
        "--memory-swap",
        "16m",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.code, 137, "{output}");
    assert_eq!(sandbox.wadah(["inspect", "-f", "{{.State.OOMKilled}}", "hungry"]).ok(), "true");
}

#[test]
fn a_fork_bomb_stays_in_its_container() {
    let sandbox = sandbox();
    let script = "f() { f | f & }; f; sleep 1000";
    sandbox
        .wadah(["run", "-d", "--name", "bomb", "--pids-limit", "30", "busybox", "sh", "-c", script])
        .ok();
    let other = sandbox.wadah(["run", "--rm", "busybox", "echo", "alive"]).ok();
    assert_eq!(other, "alive");
    sandbox.wadah(["rm", "-f", "bomb"]).ok();
}

#[test]
fn logs_rotate_by_default_and_keep_the_newest() {
    let sandbox = sandbox();
    // Docker's format adds some sixty bytes a line: this is more than three files of 10 MB hold.
    let script = "i=0; while [ $i -lt 40 ]; do yes \"line $i ..........................................................\" | head -n 8000; i=$((i+1)); done; echo the end";
    let id = sandbox.wadah(["run", "-d", "--network", "none", "busybox", "sh", "-c", script]).ok();
    assert_eq!(sandbox.wadah(["wait", &id]).ok(), "0");
    let directory = sandbox.data_root().join("containers").join(&id);
    let sizes: Vec<u64> = fs::read_dir(&directory)
        .unwrap()
        .flatten()
        .filter(|it| it.file_name().to_string_lossy().contains("-json.log"))
        .map(|it| it.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 3, "{sizes:?}");
    assert!(sizes.iter().all(|it| *it <= 10 << 20), "{sizes:?}");
    let logs = sandbox.wadah(["logs", &id]).ok();
    assert!(logs.ends_with("the end"), "the newest line is lost");
    assert_eq!(sandbox.wadah(["logs", "--tail", "1", &id]).ok(), "the end");
}

#[test]
fn memory_and_processor_limits_reach_the_kernel() {
    let sandbox = sandbox();
    let id = sandbox
        .wadah([
            "run",
            "-d",
            "-m",
            "64m",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
            "--pids-limit",
            "50",
            "busybox",
            "sleep",
            "1000",
        ])
        .ok();
    let read = |controller: &str, file: &str| {
        let path = format!("/sys/fs/cgroup/{controller}{}/{id}/{file}", sandbox.cgroup_parent());
        fs::read_to_string(&path).map(|it| it.trim().to_owned())
    };
    if read("memory", "memory.limit_in_bytes").is_err() {
        wadah_testkit::skip("this host has no version 1 cgroup hierarchies");
        return;
    }
    assert_eq!(read("memory", "memory.limit_in_bytes").unwrap(), "67108864");
    assert_eq!(read("cpu", "cpu.cfs_quota_us").unwrap(), "50000");
    assert_eq!(read("cpu", "cpu.shares").unwrap(), "512");
    assert_eq!(read("pids", "pids.max").unwrap(), "50");
    let devices = read("devices", "devices.list").unwrap();
    assert!(!devices.contains("a *:* rwm") && devices.contains("c 1:3 rwm"), "{devices}");
}

#[test]
fn a_flood_of_output_is_logged_whole_while_nobody_reads_the_attached_stream() {
    let sandbox = sandbox();
    let mut client = sandbox.wadah_command();
    client.args([
        "run",
        "--name",
        "flood",
        "--log-opt",
        "max-size=100m",
        "--network",
        "none",
        "busybox",
    ]);
    client.args(["sh", "-c", "yes 0123456789 | head -n 1000000; echo done > /done"]);
    client.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    // The pipe is kept open and never read: the client stalls, the container must not.
    let mut client = client.spawn().unwrap();
    let status = wait_for("the container ends although nobody reads", || {
        let state = sandbox.wadah(["inspect", "-f", "{{.State.Status}}", "flood"]);
        (state.stdout.trim() == "exited").then_some(state.stdout)
    });
    assert_eq!(status.trim(), "exited");
    client.kill().unwrap();
    client.wait().unwrap();
    let lines = sandbox.wadah(["logs", "flood"]).ok().lines().count();
    assert_eq!(lines, 1_000_000);
}

#[test]
fn aborted_clients_leave_no_descriptor_behind() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "quiet", "busybox", "sleep", "1000"]).ok();
    let descriptors =
        || fs::read_dir(format!("/proc/{}/fd", sandbox.daemon_pid())).unwrap().count();
    let before = descriptors();
    for arguments in [
        &["attach", "quiet"][..],
        &["logs", "-f", "quiet"],
        &["exec", "quiet", "sleep", "1000"],
        &["events"],
        &["wait", "quiet"],
    ] {
        for _ in 0..12 {
            let mut client = sandbox.wadah_command();
            let mut client = client
                .args(arguments)
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            client.kill().unwrap();
            client.wait().unwrap();
        }
    }
    sandbox.wadah(["restart", "-t", "0", "quiet"]).ok();
    wait_until("the daemon's descriptors are back", || descriptors() <= before + 2);
}
