//! Exec sessions.

use wadah_engine::{
    Class,
    execs::{ExecConfig, ExecStart},
};

use crate::harness::{Sandbox, output, with_engine, within};

async fn running(sandbox: &Sandbox) -> String {
    let id = sandbox.create(&["sleep", "1000"]).await;
    within(sandbox.engine.containers.start(&id)).await.unwrap();
    id
}

fn config(command: &[&str]) -> ExecConfig {
    ExecConfig {
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        attach_stdout: true,
        attach_stderr: true,
        ..ExecConfig::default()
    }
}

#[test]
fn a_sessions_exit_code_is_known_when_its_output_ends() {
    with_engine(|sandbox| async {
        let id = running(&sandbox).await;
        let execs = &sandbox.engine.execs;
        for _ in 0..10 {
            let command = config(&["sh", "-c", "echo in; id -u; exit 4"]);
            let session = execs.create(&id, command).await.unwrap();
            let started = execs.start(session.as_str(), ExecStart::default());
            let attached = within(started).await.unwrap().unwrap();
            assert_eq!(output(attached).await, "in\n0\n");
            let snapshot = execs.inspect(session.as_str()).await.unwrap();
            assert_eq!((snapshot.running, snapshot.exit_code), (false, Some(4)));
        }
        sandbox
    });
}

#[test]
fn a_session_reads_what_its_client_writes() {
    with_engine(|sandbox| async {
        let id = running(&sandbox).await;
        let execs = &sandbox.engine.execs;
        let command = ExecConfig { attach_stdin: true, ..config(&["cat"]) };
        let session = execs.create(&id, command).await.unwrap();
        let started = execs.start(session.as_str(), ExecStart::default());
        let mut attached = within(started).await.unwrap().unwrap();
        let mut input = attached.input.take().unwrap();
        within(input.write("round trip\n".into())).await.unwrap();
        within(input.finish()).await;
        assert_eq!(output(attached).await, "round trip\n");
        sandbox
    });
}

#[test]
fn a_command_that_is_not_found_ends_with_127() {
    with_engine(|sandbox| async {
        let id = running(&sandbox).await;
        let execs = &sandbox.engine.execs;
        let session = execs.create(&id, config(&["nope"])).await.unwrap();
        let error = within(execs.start(session.as_str(), ExecStart::default())).await.unwrap_err();
        assert!(error.report().contains("executable file not found"), "{error}");
        assert_eq!(execs.inspect(session.as_str()).await.unwrap().exit_code, Some(127));
        sandbox
    });
}

#[test]
fn a_session_needs_a_running_container_and_is_started_once() {
    with_engine(|sandbox| async {
        let stopped = sandbox.create(&["true"]).await;
        let execs = &sandbox.engine.execs;
        let error = execs.create(&stopped, config(&["true"])).await.unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        let id = running(&sandbox).await;
        let session = execs.create(&id, config(&["true"])).await.unwrap();
        let detached = ExecStart { detach: true, ..ExecStart::default() };
        assert!(within(execs.start(session.as_str(), detached)).await.unwrap().is_none());
        let error = within(execs.start(session.as_str(), detached)).await.unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        sandbox
    });
}
