//! A container's life.

use wadah_engine::{
    Class,
    containers::{Attach, ListQuery, Remove, State, Stop, WaitCondition},
};

use crate::harness::{output, recipe, with_engine, within};

#[test]
fn a_container_runs_and_its_output_and_exit_code_are_kept() {
    with_engine(|sandbox| async {
        let (code, log) = sandbox.run(&["sh", "-c", "echo hello; exit 7"], |_, _| {}).await;
        assert_eq!((code, log.as_str()), (7, "hello\n"));
        let all = sandbox.engine.containers.list(&ListQuery::default()).await.unwrap();
        assert!(all.is_empty(), "only running containers are listed by default");
        sandbox
    });
}

#[test]
fn a_client_that_attaches_before_the_start_sees_everything() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sh", "-c", "echo out; echo err >&2"]).await;
        let attach = Attach { stream: true, stdout: true, stderr: true, ..Attach::default() };
        let attached = sandbox.engine.containers.attach(&id, attach).await.unwrap();
        within(sandbox.engine.containers.start(&id)).await.unwrap();
        let text = output(attached).await;
        assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");
        sandbox
    });
}

#[test]
fn a_container_that_is_removed_when_it_ends_leaves_nothing() {
    with_engine(|sandbox| async {
        let id = sandbox.create_with(&["true"], |_, host| host.auto_remove = true).await;
        let containers = &sandbox.engine.containers;
        let removed = containers.wait(&id, WaitCondition::Removed).await.unwrap();
        within(containers.start(&id)).await.unwrap();
        assert_eq!(within(removed).await.unwrap().code, 0);
        let error = containers.inspect(&id, false).await.unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        sandbox
    });
}

#[test]
fn a_command_that_is_not_found_fails_the_start_with_127() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["nope"]).await;
        let error = within(sandbox.engine.containers.start(&id)).await.unwrap_err();
        assert_eq!(error.class(), Class::InvalidArgument);
        assert!(error.report().contains("executable file not found in $PATH"), "{error}");
        let snapshot = sandbox.engine.containers.inspect(&id, false).await.unwrap();
        let State::Failed(exited) = snapshot.state else { panic!("{:?}", snapshot.state) };
        assert_eq!(exited.code, 127);
        sandbox
    });
}

#[test]
fn a_container_that_ignores_the_stop_signal_is_killed() {
    with_engine(|sandbox| async {
        let script = "trap '' TERM; echo ready; while true; do sleep 1; done";
        let id = sandbox.create(&["sh", "-c", script]).await;
        let containers = &sandbox.engine.containers;
        within(containers.start(&id)).await.unwrap();
        let stop = Stop { timeout: Some(0), ..Stop::default() };
        within(containers.stop(&id, &stop)).await.unwrap();
        assert_eq!(sandbox.wait(&id).await.code, 137);
        let again = within(containers.stop(&id, &stop)).await.unwrap_err();
        assert_eq!(again.class(), Class::NotModified);
        sandbox
    });
}

#[test]
fn a_stopped_container_starts_again_with_what_it_wrote() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sh", "-c", "cat /kept; echo kept >> /kept"]).await;
        for _ in 0..2 {
            within(sandbox.engine.containers.start(&id)).await.unwrap();
            assert_eq!(sandbox.wait(&id).await.code, 0);
        }
        assert!(sandbox.log(&id).await.ends_with("kept\n"));
        sandbox
    });
}

#[test]
fn a_running_container_is_removed_only_by_force() {
    with_engine(|sandbox| async {
        let id = sandbox.create(&["sleep", "1000"]).await;
        let containers = &sandbox.engine.containers;
        within(containers.start(&id)).await.unwrap();
        let error = within(containers.remove(&id, Remove::default())).await.unwrap_err();
        assert_eq!(error.class(), Class::Conflict);
        let force = Remove { force: true, ..Remove::default() };
        within(containers.remove(&id, force)).await.unwrap();
        let error = containers.inspect(&id, false).await.unwrap_err();
        assert_eq!(error.class(), Class::NotFound);
        sandbox
    });
}

#[test]
fn a_name_belongs_to_one_container() {
    with_engine(|sandbox| async {
        let containers = &sandbox.engine.containers;
        let create = || {
            let mut create = recipe(&["true"]);
            create.name = Some("/web".to_owned());
            create
        };
        let first = containers.create(create()).await.unwrap().id;
        let error = containers.create(create()).await.unwrap_err();
        assert!(error.to_string().contains("\"/web\" is already in use"), "{error}");
        containers.rename("web", "other").await.unwrap();
        let second = containers.create(create()).await.unwrap().id;
        assert_ne!(first, second);
        assert_eq!(containers.inspect("other", false).await.unwrap().id, first);
        sandbox
    });
}
