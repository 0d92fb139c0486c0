//! Crashes: what survives them, and that nothing is left behind.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use wadah_testkit::{Sandbox, wait_until};

use crate::sandbox;

fn kill(pid: &str, signal: &str) {
    assert!(
        Command::new("kill").args([signal, pid]).status().unwrap().success(),
        "kill {signal} {pid}"
    );
}

fn pid_of(sandbox: &Sandbox, name: &str) -> String {
    sandbox.wadah(["inspect", "-f", "{{.State.Pid}}", name]).ok()
}

/// The shim of a container is the parent of its init.
fn shim_of(sandbox: &Sandbox, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", pid_of(sandbox, name))).unwrap();
    let line = status.lines().find(|it| it.starts_with("PPid:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_killed_daemon_loses_no_container_no_exit_code_and_no_line() {
    let mut sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "stays", "busybox", "sleep", "1000"]).ok();
    sandbox.wadah(["run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 9"]).ok();
    let count = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); done; sleep 1000";
    sandbox.wadah(["run", "-d", "--name", "talks", "busybox", "sh", "-c", count]).ok();
    let before = pid_of(&sandbox, "stays");
    let ending = pid_of(&sandbox, "ends");
    sandbox.kill_daemon().unwrap();
    wait_until("the container ends without its daemon", || {
        !fs::exists(format!("/proc/{ending}")).unwrap()
    });
    sandbox.start_daemon().unwrap();
    assert_eq!(pid_of(&sandbox, "stays"), before);
    assert_eq!(sandbox.wadah(["wait", "ends"]).ok(), "9");
    assert_eq!(sandbox.wadah(["exec", "stays", "echo", "adopted"]).ok(), "adopted");
    let expected: Vec<String> = (0..3000).map(|it| it.to_string()).collect();
    wait_until("every line is there", || {
        sandbox.wadah(["logs", "talks"]).ok().lines().eq(&expected)
    });
}

#[test]
fn a_stopped_daemon_leaves_its_containers_running() {
    let mut sandbox = sandbox();
    sandbox
        .wadah(["run", "-d", "--name", "stays", "-p", "8080:80", "busybox", "sleep", "1000"])
        .ok();
    let before = pid_of(&sandbox, "stays");
    sandbox.stop_daemon().unwrap();
    sandbox.start_daemon().unwrap();
    assert_eq!(pid_of(&sandbox, "stays"), before);
    assert_eq!(sandbox.wadah(["ps", "--format", "{{.Ports}}"]).ok(), "0.0.0.0:8080->80/tcp");
}

#[test]
fn many_kills_at_random_moments_lose_nothing() {
    let rounds: u32 = if std::env::var_os("WADAH_SOAK").is_some() { 100 } else { 12 };
    let mut sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "stays", "busybox", "sleep", "100000"]).ok();
    let stays = pid_of(&sandbox, "stays");
    for round in 0..rounds {
        let name = format!("round-{round}");
        let script = format!("echo {round}; sleep 0.2; exit {}", round % 100 + 1);
        // A client in the middle of something when the daemon dies; what it was told it keeps.
        let mut client = sandbox.wadah_command();
        client
            .args(["run", "-d", "--name", &name, "-p", "9000:80", "busybox", "sh", "-c", &script]);
        let client = client
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let moment = Instant::now() + Duration::from_millis(u64::from(round * 7 % 40));
        wait_until("the moment comes", || Instant::now() >= moment);
        sandbox.kill_daemon().unwrap();
        let told = client.wait_with_output().unwrap();
        sandbox.start_daemon().unwrap();
        assert_eq!(pid_of(&sandbox, "stays"), stays, "round {round}");
        let acknowledged = told.status.success();
        let known = sandbox.wadah(["inspect", &name]).code == 0;
        assert!(known || !acknowledged, "round {round}: an acknowledged container is lost");
        if acknowledged {
            assert_eq!(sandbox.wadah(["wait", &name]).ok(), (round % 100 + 1).to_string());
            assert_eq!(sandbox.wadah(["logs", &name]).ok(), round.to_string());
        }
        if known {
            sandbox.wadah(["rm", "-f", &name]).ok();
        }
    }
}

#[test]
fn a_container_whose_shim_is_killed_is_dead_and_says_why() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "orphan", "busybox", "sleep", "1000"]).ok();
    let (pid, shim) = (pid_of(&sandbox, "orphan"), shim_of(&sandbox, "orphan"));
    kill(&shim, "-KILL");
    wait_until("the container is reported dead", || {
        sandbox.wadah(["inspect", "-f", "{{.State.Running}}", "orphan"]).ok() == "false"
    });
    wait_until("its process is gone", || !fs::exists(format!("/proc/{pid}")).unwrap());
    let reason = sandbox.wadah(["inspect", "-f", "{{.State.Error}}", "orphan"]).ok();
    assert!(reason.contains("died"), "{reason}");
    sandbox.wadah(["start", "orphan"]).ok();
}

#[test]
fn a_shim_killed_while_the_daemon_is_away_is_found_dead() {
    let mut sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "orphan", "busybox", "sleep", "1000"]).ok();
    let shim = shim_of(&sandbox, "orphan");
    sandbox.kill_daemon().unwrap();
    kill(&shim, "-KILL");
    sandbox.start_daemon().unwrap();
    assert_eq!(sandbox.wadah(["inspect", "-f", "{{.State.Running}}", "orphan"]).ok(), "false");
    let reason = sandbox.wadah(["inspect", "-f", "{{.State.Error}}", "orphan"]).ok();
    assert!(reason.contains("died"), "{reason}");
}

#[test]
fn a_container_that_removes_itself_does_so_although_the_daemon_was_away() {
    let mut sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--rm", "--name", "short", "busybox", "sleep", "0.5"]).ok();
    sandbox.wadah(["run", "-d", "--rm", "--name", "long", "busybox", "sleep", "1000"]).ok();
    let (short, long) = (pid_of(&sandbox, "short"), pid_of(&sandbox, "long"));
    sandbox.kill_daemon().unwrap();
    wait_until("the short one ends", || !fs::exists(format!("/proc/{short}")).unwrap());
    sandbox.start_daemon().unwrap();
    wait_until("it is removed", || {
        sandbox.wadah(["ps", "-a", "--format", "{{.Names}}"]).ok() == "long"
    });
    assert_eq!(pid_of(&sandbox, "long"), long);
}

#[test]
fn a_second_daemon_on_the_same_data_says_so_and_leaves() {
    let sandbox = sandbox();
    let output = Command::new(wadah_testkit::wadah_executable())
        .arg("daemon")
        .arg("-H")
        .arg(format!("unix://{}/second.sock", sandbox.path().display()))
        .arg("--data-root")
        .arg(sandbox.data_root())
        .arg("--exec-root")
        .arg(sandbox.path().join("second-run"))
        .arg("--pidfile")
        .arg(sandbox.path().join("second.pid"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{complaint}");
    assert!(complaint.contains(&*sandbox.data_root().to_string_lossy()), "{complaint}");
}
