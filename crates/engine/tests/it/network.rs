//! Networks, as containers see them.

use wadah_engine::config::{NetworkMode, PortBinding};

use crate::harness::{with_engine, within};

#[test]
fn containers_on_the_default_bridge_reach_each_other() {
    with_engine(|sandbox| async {
        let listen = ["nc", "-l", "-p", "80", "-e", "echo", "hello"];
        let server =
            sandbox.create_with(&listen, |_, host| host.network_mode = NetworkMode::Default).await;
        within(sandbox.engine.containers.start(&server)).await.unwrap();
        let snapshot = sandbox.engine.containers.inspect(&server, false).await.unwrap();
        let address = snapshot.network.endpoints["bridge"].address.unwrap().to_string();
        let script = format!("until nc {address} 80; do sleep 0.01; done");
        let (code, log) = sandbox
            .run(&["sh", "-c", &script], |_, host| host.network_mode = NetworkMode::Default)
            .await;
        assert_eq!((code, log.as_str()), (0, "hello\n"));
        sandbox
    });
}

#[test]
fn a_published_port_is_shown_and_given_back() {
    with_engine(|sandbox| async {
        let publish = |host: &mut wadah_engine::config::HostConfig| {
            host.network_mode = NetworkMode::Default;
            let binding = PortBinding { host_address: None, host_port: "8080".to_owned() };
            host.port_bindings.insert("80/tcp".parse().unwrap(), vec![binding]);
        };
        let first = sandbox.create_with(&["sleep", "1000"], |_, host| publish(host)).await;
        let second = sandbox.create_with(&["true"], |_, host| publish(host)).await;
        let containers = &sandbox.engine.containers;
        within(containers.start(&first)).await.unwrap();
        let snapshot = containers.inspect(&first, false).await.unwrap();
        let ports = &snapshot.network.ports[&"80/tcp".parse().unwrap()];
        assert_eq!(ports[0].host_port, "8080");
        let error = within(containers.start(&second)).await.unwrap_err();
        assert!(error.report().contains("port is already allocated"), "{}", error.report());
        within(containers.kill(&first, None)).await.unwrap();
        sandbox.wait(&first).await;
        within(containers.start(&second)).await.unwrap();
        sandbox.wait(&second).await;
        sandbox
    });
}

#[test]
fn a_container_joins_anothers_network() {
    with_engine(|sandbox| async {
        let first = sandbox
            .create_with(&["sleep", "1000"], |_, host| host.network_mode = NetworkMode::Default)
            .await;
        within(sandbox.engine.containers.start(&first)).await.unwrap();
        let snapshot = sandbox.engine.containers.inspect(&first, false).await.unwrap();
        let address = snapshot.network.endpoints["bridge"].address.unwrap().to_string();
        let (code, log) = sandbox
            .run(&["ip", "addr"], |_, host| {
                host.network_mode = NetworkMode::Container(first.clone());
            })
            .await;
        assert_eq!(code, 0);
        assert!(log.contains(&address), "{log}");
        sandbox
    });
}
