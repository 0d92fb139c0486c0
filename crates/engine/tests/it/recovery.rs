//! What a daemon finds when it comes back.

use std::fs;

use wadah_engine::containers::{State, WaitCondition};
use wadah_shim::launch::remains;

use crate::harness::{with_engine, within};

#[test]
fn a_running_container_is_taken_over_with_its_pid() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sh", "-c", "trap 'exit 5' TERM; sleep 1000 & wait"]).await;
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        let before = sandbox.engine.containers.inspect(&id, false).await.unwrap().state;
        let sandbox = sandbox.reopen().await;
        let containers = sandbox.engine.containers.clone();
        let after = containers.inspect(&id, false).await.unwrap().state;
        let (State::Running(before), State::Running(after)) = (before, after) else {
            panic!("it does not run");
        };
        assert_eq!(before.pid, after.pid);
        let waited = containers.wait(&id, WaitCondition::NextExit).await.unwrap();
        within(containers.kill(&id, Some("TERM"))).await.unwrap();
        assert_eq!(within(waited).await.unwrap().code, 5);
        sandbox
    });
}

#[test]
fn an_exit_while_no_daemon_was_there_is_kept() {
    with_engine(|sandbox| async {
        let script = "while [ ! -e /tmp/go ]; do sleep 0.01; done; exit 9";
        let id = sandbox.create(&["sh", "-c", script]).await;
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        let snapshot = sandbox.engine.containers.inspect(&id, false).await.unwrap();
        let State::Running(running) = snapshot.state else { panic!("it does not run") };
        let run_directory = sandbox.run_directory(&id);
        let sandbox = sandbox
            .reopen_after(|| {
                fs::write(format!("/proc/{}/root/tmp/go", running.pid), "").unwrap();
                wadah_testkit::wait_until("the shim writes the exit down", || {
                    remains(&run_directory).exit.is_some()
                });
            })
            .await;
        assert_eq!(sandbox.wait(&id).await.code, 9);
        sandbox
    });
}

#[test]
fn a_stopped_container_is_there_after_a_restart() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sh", "-c", "echo kept; exit 3"]).await;
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        assert_eq!(sandbox.wait(&id).await.code, 3);
        let sandbox = sandbox.reopen().await;
        let snapshot = sandbox.engine.containers.inspect(&id, false).await.unwrap();
        assert_eq!(snapshot.state.exited().unwrap().code, 3);
        assert_eq!(sandbox.log(&id).await, "kept\n");
        sandbox
    });
}

#[test]
fn a_container_whose_supervisor_is_killed_is_reported_dead() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sleep", "1000"]).await;
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        let shim = shim_of(&sandbox.run_directory(&id).display().to_string());
        let signal = rustix::process::Signal::KILL;
        rustix::process::kill_process(shim, signal).unwrap();
        let waited = sandbox.wait(&id).await;
        assert!(waited.error.unwrap().contains("shim died"));
        let snapshot = sandbox.engine.containers.inspect(&id, false).await.unwrap();
        assert_eq!(snapshot.state.name(), "dead");
        sandbox
    });
}

/// The shim of a run directory: the process that has it among its arguments.
fn shim_of(run_directory: &str) -> rustix::process::Pid {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<i32>() else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if line.split(|it| *it == 0).any(|it| it == run_directory.as_bytes()) {
            found.push(pid);
        }
    }
    // A forked child of the shim carries the same arguments until it executes: the oldest is it.
    rustix::process::Pid::from_raw(*found.iter().min().expect("a shim runs")).unwrap()
}
