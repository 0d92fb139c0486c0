//! What a daemon finds when it comes back.

use std::fs;

use wadah_engine::{
    config::RestartPolicy,
    containers::{State, WaitCondition},
};
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

#[test]
fn a_container_that_ran_when_the_machine_went_down_has_ended_and_starts_again_if_it_is_to() {
    with_engine(|sandbox| async {
        let once = sandbox.create(&["sleep", "1000"]).await;
        let always = sandbox
            .create_with(&["sleep", "1000"], |_, host| host.restart_policy = RestartPolicy::Always)
            .await;
        for id in [&once, &always] {
            within(sandbox.engine.containers.start(id)).await.unwrap();
        }
        let directories = [sandbox.run_directory(&once), sandbox.run_directory(&always)];
        let sandbox = sandbox
            .reopen_after(|| {
                for directory in directories {
                    let shim = shim_of(&directory.display().to_string());
                    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
                    // What is left of it goes, as with the machine.
                    wadah_testkit::wait_until("the container is gone", || {
                        wadah_shim::launch::bury(&directory).is_ok()
                    });
                    fs::remove_dir_all(directory).unwrap();
                }
            })
            .await;
        let containers = &sandbox.engine.containers;
        let state = containers.inspect(&once, false).await.unwrap().state;
        assert_eq!(state.exited().unwrap().code, 255);
        let started = async {
            while !containers.inspect(&always, false).await.unwrap().state.is_running() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(started).await;
        sandbox
    });
}

#[test]
fn a_container_that_is_removed_when_it_ends_survives_the_daemon_and_is_removed_by_the_next() {
    with_engine(|sandbox| async {
        let id = sandbox.create_with(&["sleep", "1000"], |_, host| host.auto_remove = true).await;
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        let sandbox = sandbox.reopen().await;
        let containers = &sandbox.engine.containers;
        assert!(containers.inspect(&id, false).await.unwrap().state.is_running());
        let removed = containers.wait(&id, WaitCondition::Removed).await.unwrap();
        within(containers.kill(&id, None)).await.unwrap();
        assert_eq!(within(removed).await.unwrap().code, 137);
        sandbox
    });
}

#[test]
fn what_a_creation_that_was_cut_off_leaves_is_swept() {
    with_engine(|sandbox| async {
        let id = "ab".repeat(32);
        let directory = sandbox.data_directory().join("containers").join(&id);
        let run_directory = sandbox.run_directory(&id);
        let sandbox = sandbox
            .reopen_after(|| {
                fs::create_dir(&directory).unwrap();
                fs::create_dir(&run_directory).unwrap();
            })
            .await;
        for path in [directory, run_directory] {
            let gone = || !path.exists();
            tokio::task::block_in_place(|| wadah_testkit::wait_until("it is swept", gone));
        }
        sandbox
    });
}

#[test]
fn a_policy_starts_a_container_again_until_it_has_failed_often_enough() {
    with_engine(|sandbox| async {
        let policy = RestartPolicy::OnFailure { maximum: 2 };
        let id = sandbox
            .create_with(&["sh", "-c", "echo again; exit 1"], |_, host| {
                host.restart_policy = policy;
            })
            .await;
        let containers = &sandbox.engine.containers;
        within(containers.start(&id)).await.unwrap();
        let ended = async {
            loop {
                let snapshot = containers.inspect(&id, false).await.unwrap();
                if matches!(snapshot.state, State::Exited(_)) && snapshot.restart_count == 2 {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        within(ended).await;
        assert_eq!(sandbox.log(&id).await, "again\nagain\nagain\n");
        sandbox
    });
}
