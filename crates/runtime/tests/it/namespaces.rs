//! Namespaces: new ones, joined ones, user and time.

use std::fs;

use serde_json::json;
use wadah_runtime::SeccompPolicy;

use super::{Bundle, run};

fn with_user_namespace(bundle: &mut Bundle) {
    bundle.push("/linux/namespaces", json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
}

#[test]
fn each_namespace_is_new_or_the_hosts() {
    let script =
        "for it in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$it; done; hostname";
    let outcome = run(script, |_| ());
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "uts"] {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(!outcome.stdout.contains(ours.to_str().unwrap()), "{name}: {outcome:?}");
    }
    assert!(outcome.stdout.ends_with("box\n"), "{outcome:?}");
    let outcome = run(script, |spec| {
        spec["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
        spec["mounts"] = json!([{"destination": "/proc", "type": "proc", "source": "proc"}]);
        spec["hostname"] = json!("must-not-be-set");
    });
    for name in ["cgroup", "ipc", "net", "uts"] {
        let ours = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert!(outcome.stdout.contains(ours.to_str().unwrap()), "{name}: {outcome:?}");
    }
    assert!(!outcome.stdout.contains("must-not-be-set"), "{outcome:?}");
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let pid = live.running.pid.as_raw_nonzero();
    let outcome = run(
        "hostname; ps | grep -c 'sleep 60'; for it in ipc net pid uts; do readlink /proc/self/ns/$it; done",
        |spec| {
            let join = |kind: &str, file: &str| json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")});
            spec["linux"]["namespaces"] = json!([
                {"type": "mount"}, {"type": "cgroup"},
                join("pid", "pid"), join("network", "net"), join("ipc", "ipc"), join("uts", "uts"),
            ]);
            spec.as_object_mut().unwrap().remove("hostname");
        },
    );
    assert!(outcome.stdout.starts_with("box\n"), "{outcome:?}");
    for name in ["ipc", "net", "pid", "uts"] {
        let theirs = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
        assert!(outcome.stdout.contains(theirs.to_str().unwrap()), "{name}: {outcome:?}");
    }
    live.kill();
}

#[test]
fn a_namespace_can_be_given_as_a_descriptor() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let path = format!("/proc/{}/ns/net", live.running.pid.as_raw_nonzero());
    let file = fs::File::open(&path).unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let outcome = run("readlink /proc/self/ns/net", |spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        let network = namespaces.iter_mut().find(|it| it["type"] == "network").unwrap();
        network["path"] = json!(format!("/proc/self/fd/{fd}"));
    });
    let theirs = fs::read_link(&path).unwrap();
    assert_eq!(outcome.stdout.trim(), theirs.to_str().unwrap());
    live.kill();
}

#[test]
fn a_user_namespace_maps_root_to_nobody_special() {
    let script = "id -u; cat /proc/self/uid_map; touch /tmp/made; echo x > /dev/null && ls -l /dev/null | cut -c1-10; \
                  cat /proc/self/oom_score_adj; ls /sys/fs/cgroup >/dev/null && mount -t tmpfs x /tmp && echo mounted";
    let mut bundle = Bundle::new(script);
    with_user_namespace(&mut bundle);
    bundle.spec["process"]["oomScoreAdj"] = json!(100);
    // What the engine will do by id-mapped layers: the root filesystem belongs to the mapped root.
    for path in ["tmp", "etc"] {
        fs::create_dir_all(bundle.upper(path)).unwrap();
        std::os::unix::fs::chown(bundle.upper(path), Some(100_000), Some(100_000)).unwrap();
    }
    std::os::unix::fs::chown(bundle.upper(""), Some(100_000), Some(100_000)).unwrap();
    let outcome = bundle.run().unwrap();
    assert!(
        outcome.stdout.starts_with("0\n         0     100000      65536\ncrw-rw-rw-\n100\n"),
        "{outcome:?}"
    );
    let made = fs::metadata(bundle.upper("tmp/made")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 100_000);
}

#[test]
fn a_process_joins_a_user_namespace() {
    let mut bundle = Bundle::new("sleep 60");
    with_user_namespace(&mut bundle);
    std::os::unix::fs::chown(bundle.upper(""), Some(100_000), Some(100_000)).unwrap();
    let live = bundle.start().unwrap();
    let outcome = bundle.exec(&live, "id -u; cat /proc/self/uid_map; grep CapEff /proc/self/status; for it in self 1; do readlink /proc/$it/ns/user; done | sort -u | wc -l");
    assert!(outcome.stdout.starts_with("0\n         0     100000"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("CapEff:\t00000000a80425fb\n1\n"), "{outcome:?}");
    live.kill();
}

#[test]
fn a_new_container_joins_the_user_namespace_of_another() {
    let mut bundle = Bundle::new("sleep 60");
    with_user_namespace(&mut bundle);
    std::os::unix::fs::chown(bundle.upper(""), Some(100_000), Some(100_000)).unwrap();
    let live = bundle.start().unwrap();
    let pid = live.running.pid.as_raw_nonzero();
    let mut second = Bundle::new("cat /proc/self/uid_map; id -u; ls /proc | head -1");
    std::os::unix::fs::chown(second.upper(""), Some(100_000), Some(100_000)).unwrap();
    second
        .push("/linux/namespaces", json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    let outcome = second.run().unwrap();
    assert!(outcome.stdout.ends_with("     65536\n0\n1\n"), "{outcome:?}");
    live.kill();
}

#[test]
fn clocks_are_offset_in_a_time_namespace() {
    let mut bundle = Bundle::new("cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time");
    bundle.push("/linux/namespaces", json!({"type": "time"}));
    bundle.spec["linux"]["timeOffsets"] =
        json!({"boottime": {"secs": 10_000_000}, "monotonic": {"secs": 3}});
    let outcome = bundle.run().unwrap();
    let uptime: u64 = outcome.stdout.lines().next().unwrap().parse().unwrap();
    assert!(uptime >= 10_000_000, "{outcome:?}");
    let ours = fs::read_link("/proc/self/ns/time").unwrap();
    assert!(!outcome.stdout.contains(ours.to_str().unwrap()), "{outcome:?}");
}

#[test]
fn contradictions_are_refused() {
    let refused = |edit: &dyn Fn(&mut Bundle)| {
        let mut bundle = Bundle::new("true");
        bundle.seccomp = SeccompPolicy::Unconfined;
        edit(&mut bundle);
        bundle.run().unwrap_err()
    };
    let error = refused(&|it| it.spec["linux"]["namespaces"] = json!([{"type": "pid"}]));
    assert!(error.contains("mount namespace"), "{error}");
    let error = refused(&|it| it.push("/linux/namespaces", json!({"type": "pid"})));
    assert!(error.contains("twice"), "{error}");
    let error = refused(&|it| it.push("/linux/namespaces", json!({"type": "user"})));
    assert!(error.contains("maps"), "{error}");
    let error = refused(&|it| it.spec["process"]["user"]["uid"] = json!(u32::MAX));
    assert!(error.contains("4294967295"), "{error}");
    let error = refused(&|it| it.spec["process"]["apparmorProfile"] = json!("docker-default"));
    assert!(error.contains("AppArmor"), "{error}");
}
