//! Mounts, devices and covers, as a container sees them.

use std::{fs, os::unix::fs::symlink, thread};

use rustix::mount::{MountPropagationFlags, mount_change};
use serde_json::{Value, json};
use wadah_runtime::SeccompPolicy;

use super::{Bundle, push, run};

fn bind(bundle: &Bundle, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": bundle.shared(), "options": options})
}

#[test]
fn bind_mounts_carry_their_options() {
    let mut bundle =
        Bundle::new("cat /data/file; touch /data/x; touch /rw/x; grep ' /data ' /proc/mounts");
    fs::write(bundle.shared().join("file"), "shared").unwrap();
    bundle.push("/mounts", bind(&bundle, "/data", &["rbind", "ro", "nosuid", "noexec"]));
    bundle.push("/mounts", bind(&bundle, "/rw", &["bind", "rprivate"]));
    let outcome = bundle.run().unwrap();
    assert!(outcome.stdout.starts_with("shared"), "{outcome:?}");
    assert!(outcome.stderr.contains("/data/x: Read-only"), "{outcome:?}");
    assert!(outcome.stdout.contains("ro,nosuid,noexec"), "{outcome:?}");
    assert!(bundle.shared().join("x").exists());
}

#[test]
fn a_file_is_bound_where_no_file_was() {
    let mut bundle = Bundle::new("cat /etc/deep/er/file");
    fs::write(bundle.shared().join("file"), "bound").unwrap();
    let source = bundle.shared().join("file");
    bundle.push("/mounts", json!({
        "destination": "/etc/deep/er/file", "type": "bind", "source": source, "options": ["bind"],
    }));
    assert_eq!(bundle.run().unwrap().stdout, "bound");
}

#[test]
fn destinations_follow_links_inside_the_image() {
    let mut bundle = Bundle::new("ls /run/secrets");
    symlink("/run", bundle.upper("var-run")).unwrap();
    symlink("../../../../nowhere", bundle.upper("escape")).unwrap();
    fs::write(bundle.shared().join("key"), "").unwrap();
    bundle.push("/mounts", bind(&bundle, "/var-run/secrets", &["bind"]));
    assert_eq!(bundle.run().unwrap().stdout, "key\n");
    assert!(bundle.upper("run/secrets").is_dir());
}

#[test]
fn read_only_can_be_recursive() {
    let script = "touch /plain/sub/x && echo plain; touch /deep/sub/x && echo deep";
    let mut bundle = Bundle::new(script);
    fs::create_dir(bundle.shared().join("sub")).unwrap();
    let shared = bundle.shared();
    bundle.push(
        "/mounts",
        json!({"destination": "/plain", "type": "bind", "source": shared, "options": ["rbind"]}),
    );
    bundle
        .push("/mounts", json!({"destination": "/plain/sub", "type": "tmpfs", "source": "tmpfs"}));
    bundle.push(
        "/mounts",
        json!({"destination": "/plain", "type": "none", "options": ["remount", "rro"]}),
    );
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "", "{outcome:?}");
    let last = bundle.spec["mounts"].as_array().unwrap().len() - 1;
    bundle.spec["mounts"][last]["options"] = json!(["remount", "ro"]);
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "plain\n", "{outcome:?}");
}

#[test]
fn temporary_filesystems_take_options_and_copies() {
    let script = "ls -ld /etc; cat /etc/passwd | head -1; df -k /small | tail -1; touch /small/x; ls -l /etc/link";
    let mut bundle = Bundle::new(script);
    fs::create_dir(bundle.upper("etc")).unwrap();
    symlink("/etc/passwd", bundle.upper("etc/link")).unwrap();
    bundle.push("/mounts", json!({"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup", "mode=700"]}));
    bundle.push("/mounts", json!({"destination": "/small", "type": "tmpfs", "source": "tmpfs", "options": ["size=64k", "ro"]}));
    let outcome = bundle.run().unwrap();
    assert!(outcome.stdout.contains("root:x:0:0"), "{outcome:?}");
    assert!(outcome.stdout.contains("/etc/link -> /etc/passwd"), "{outcome:?}");
    assert!(outcome.stdout.contains(" 64 "), "{outcome:?}");
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
}

#[test]
fn a_read_only_root_is_read_only_and_its_volumes_are_not() {
    let mut bundle = Bundle::new("touch /x; touch /data/y && touch /dev/shm/z && echo fine");
    bundle.spec["root"] = json!({"path": "rootfs", "readonly": true});
    bundle.push("/mounts", bind(&bundle, "/data", &["bind"]));
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "fine\n", "{outcome:?}");
    assert!(outcome.stderr.contains("/x: Read-only"), "{outcome:?}");
}

#[test]
fn a_directory_can_be_the_root() {
    let mut bundle = Bundle::new("ls /bin/busybox; touch /made");
    let root = bundle.directory.path().join("rootfs");
    fs::create_dir_all(&root).unwrap();
    let bin = super::base().join("bin");
    bundle.push(
        "/mounts",
        json!({"destination": "/bin", "type": "bind", "source": bin, "options": ["bind", "ro"]}),
    );
    bundle.root = Some(root.clone());
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "/bin/busybox\n", "{outcome:?}");
    assert!(root.join("made").exists());
}

#[test]
fn an_overlay_may_have_more_layers_than_fit_into_a_page() {
    let mut bundle = Bundle::new("cat /layer-0 /layer-199");
    let layers: Vec<_> =
        (0..200).map(|it| bundle.directory.path().join(format!("{:0>60}:{it}", "layer"))).collect();
    for (number, layer) in layers.iter().enumerate() {
        fs::create_dir(layer).unwrap();
        fs::write(layer.join(format!("layer-{number}")), format!("{number} ")).unwrap();
    }
    bundle.lower.splice(0..0, layers);
    assert_eq!(bundle.run().unwrap().stdout, "0 199 ");
}

#[test]
fn devices_are_made_and_work() {
    let script = "for it in null zero full random urandom tty ptmx fd stdin fuse; do ls -l /dev/$it | cut -c1-10; done; \
                  echo x > /dev/null && head -c 2 /dev/zero | wc -c; ls -ln /dev/fuse";
    let outcome = run(script, |spec| {
        spec["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 7, "gid": 8}]);
    });
    let expected = "crw-rw-rw-\n".repeat(6) + &"lrwxrwxrwx\n".repeat(3) + "crw-r-----\n2\n";
    assert!(outcome.stdout.starts_with(&expected), "{outcome:?}");
    assert!(outcome.stdout.contains(" 7        8 ") || outcome.stdout.contains("7"), "{outcome:?}");
}

#[test]
fn masked_paths_are_empty_and_read_only_paths_are_read_only() {
    let script = "cat /proc/version | wc -c; ls -l /proc/version | cut -c1-1; ls /proc/fs /proc/driver | wc -l; \
                  echo 1 > /proc/sys/kernel/shmmni; touch /proc/fs/x; mkdir /etc/x";
    let mut bundle = Bundle::new(script);
    fs::create_dir_all(bundle.upper("etc")).unwrap();
    bundle.spec["linux"]["maskedPaths"] = json!([
        "/proc/version",
        "/proc/fs",
        "/proc/driver",
        "/proc/nothing",
        "/proc/version/nothing"
    ]);
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/etc", "/nothing"]);
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "0\nc\n3\n", "{outcome:?}");
    assert_eq!(outcome.stderr.matches("Read-only").count(), 3, "{outcome:?}");
}

#[test]
fn the_control_groups_are_the_containers_own_and_read_only() {
    let script = "ls /sys/fs/cgroup | head -3 | wc -l; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/*/x && echo writable; \
                  cat /proc/self/cgroup | cut -d: -f3 | sort -u; \
                  cat /sys/fs/cgroup/memory/tasks /sys/fs/cgroup/cgroup.procs 2>/dev/null | head -1";
    let outcome = run(script, |_| ());
    assert!(!outcome.stdout.contains("writable"), "{outcome:?}");
    assert!(outcome.stdout.contains("\n/\n1\n"), "{outcome:?}");
}

#[test]
fn id_mapped_mounts_show_mapped_owners() {
    let mut bundle = Bundle::new("stat -c %u:%g /data/file; touch /data/new");
    fs::write(bundle.shared().join("file"), "").unwrap();
    std::os::unix::fs::chown(bundle.shared().join("file"), Some(5000), Some(6000)).unwrap();
    std::os::unix::fs::chown(bundle.shared(), Some(5000), Some(6000)).unwrap();
    let mut mount = bind(&bundle, "/data", &["bind", "idmap"]);
    let map = |host: u32, inside: u32| json!([{"containerID": inside, "hostID": host, "size": 10}]);
    // On disk 5000 is shown as 0.
    mount["uidMappings"] = map(0, 5000);
    mount["gidMappings"] = map(0, 6000);
    bundle.push("/mounts", mount);
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "0:0\n", "{outcome:?}");
    let made = fs::metadata(bundle.shared().join("new")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), 5000);
}

#[test]
fn no_mount_of_a_container_is_seen_outside() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = bundle.directory.path().to_str().unwrap();
    assert!(!mounts.contains(own), "{mounts}");
    live.kill();
}

#[test]
fn root_propagation_is_set_at_the_end() {
    for (asked, shown) in
        [("shared", "shared:"), ("private", " - overlay"), ("unbindable", "unbindable")]
    {
        let outcome = run("grep ' / / ' /proc/self/mountinfo", |spec| {
            spec["linux"]["rootfsPropagation"] = json!(asked);
        });
        assert!(outcome.stdout.contains(shown), "{asked}: {outcome:?}");
        assert!(!outcome.stdout.contains("master:"), "{asked}: {outcome:?}");
    }
}

#[test]
fn parameters_of_own_namespaces_are_set_and_others_refused() {
    let outcome = run("cat /proc/sys/kernel/shmmni /proc/sys/net/ipv4/ip_forward", |spec| {
        spec["linux"]["sysctl"] = json!({"kernel.shmmni": "123", "net.ipv4.ip_forward": "1"});
    });
    assert_eq!(outcome.stdout, "123\n1\n", "{outcome:?}");
    for (name, value) in [
        ("kernel.core_pattern", "|/evil"),
        ("kernel.shmmni", "1\n2"),
        ("net.ipv4.ip_forward\nkernel.core_pattern", "1"),
        ("net/../kernel/core_pattern", "1"),
        ("vm.swappiness", "1"),
    ] {
        let mut bundle = Bundle::new("true");
        bundle.spec["linux"]["sysctl"] = json!({name: value});
        let error = bundle.run().unwrap_err();
        assert!(error.contains("sysctl"), "{name}: {error}");
    }
    let mut bundle = Bundle::new("true");
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|it| it["type"] != "network");
    bundle.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    bundle.run().unwrap_err();
}

#[test]
fn a_filesystem_that_the_kernel_refuses_is_named_with_its_reason() {
    let mut bundle = Bundle::new("true");
    push(
        &mut bundle.spec,
        "/mounts",
        json!({"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["size=banana"]}),
    );
    let error = bundle.run().unwrap_err();
    assert!(error.contains("mount tmpfs at \"/x\"") && error.contains("size"), "{error}");
}

/// Runs `test` in a mount namespace of its own, with a shared filesystem at the bundle's `shared`.
fn with_shared_mount(bundle: &Bundle, test: impl FnOnce() + Send) {
    let shared = bundle.shared();
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            wadah_sys::process::unshare(wadah_sys::process::namespace::MOUNT).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let flags = rustix::mount::MountFlags::empty();
            rustix::mount::mount("tmpfs", &shared, "tmpfs", flags, None).unwrap();
            fs::create_dir_all(shared.join("sub")).unwrap();
            mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
            test();
        });
        thread.join().unwrap();
    });
}

#[test]
fn mounts_of_a_container_reach_the_host_only_through_a_shared_volume() {
    let script = "mount -t tmpfs inside /data/sub && touch /data/sub/from-inside && echo done";
    for (options, seen) in [
        (json!(["rbind", "rshared"]), true),
        (json!(["rbind"]), false),
        (json!(["rbind", "rslave"]), false),
    ] {
        let mut bundle = Bundle::new(script);
        bundle.seccomp = SeccompPolicy::Unconfined;
        for set in ["bounding", "permitted", "effective"] {
            push(&mut bundle.spec, &format!("/process/capabilities/{set}"), json!("CAP_SYS_ADMIN"));
        }
        let source = bundle.shared();
        bundle.push(
            "/mounts",
            json!({"destination": "/data", "type": "bind", "source": source, "options": options}),
        );
        with_shared_mount(&bundle, || {
            let live = bundle.start().unwrap();
            let outcome = live.wait();
            assert_eq!(outcome.stdout, "done\n", "{outcome:?}");
            assert_eq!(bundle.shared().join("sub/from-inside").exists(), seen, "{options}");
        });
    }
}

#[test]
fn mounts_of_the_host_reach_a_container_through_a_slave_volume() {
    for (option, seen) in [("rslave", true), ("rprivate", false)] {
        let mut bundle = Bundle::new("read line < /data/go; ls /data/sub");
        let source = bundle.shared();
        bundle.push("/mounts", json!({"destination": "/data", "type": "bind", "source": source, "options": ["rbind", option]}));
        with_shared_mount(&bundle, || {
            let go = bundle.shared().join("go");
            rustix::fs::mkfifoat(rustix::fs::CWD, &go, rustix::fs::Mode::from_raw_mode(0o644))
                .unwrap();
            let live = bundle.start().unwrap();
            let flags = rustix::mount::MountFlags::empty();
            let sub = bundle.shared().join("sub");
            rustix::mount::mount("tmpfs", &sub, "tmpfs", flags, None).unwrap();
            fs::write(sub.join("from-outside"), "").unwrap();
            fs::write(&go, "go\n").unwrap();
            let outcome = live.wait();
            assert_eq!(outcome.stdout.contains("from-outside"), seen, "{option}: {outcome:?}");
        });
    }
}

#[test]
fn the_root_can_be_changed_without_pivoting() {
    let mut bundle = Bundle::new("ls -d /bin /proc/self; test -e /work && echo outside");
    bundle.no_pivot = true;
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "/bin\n/proc/self\n", "{outcome:?}");
}
