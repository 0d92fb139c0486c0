//! Processes: streams, exit codes, arguments, users, limits.

use std::fs;

use serde_json::json;
use wadah_runtime::SeccompPolicy;

use super::{Bundle, run};

#[test]
fn a_script_runs_and_its_exit_code_comes_back() {
    let outcome = run("echo out; echo err >&2; exit 7", |_| ());
    let streams = (outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str());
    assert_eq!(streams, (7, "out\n", "err\n"));
}

#[test]
fn a_signal_ends_it_with_128_and_its_number() {
    let outcome = run("exec sh -c 'kill -9 $$' & wait $!; exit $?", |_| ());
    assert_eq!(outcome.code, 137);
}

#[test]
fn a_process_joins_with_the_same_confinement() {
    for nnp in [false, true] {
        let mut bundle = Bundle::new("sleep 60");
        bundle.spec["process"]["noNewPrivileges"] = json!(nnp);
        let live = bundle.start().unwrap();
        let script = |pid: &str| {
            format!(
                "grep -E 'Cap|Seccomp|NoNewPrivs' /proc/{pid}/status; cat /proc/{pid}/cgroup; \
                 for it in cgroup ipc mnt net pid uts user; do readlink /proc/{pid}/ns/$it; done"
            )
        };
        let exec = bundle.exec(&live, &script("self"));
        let init = bundle.exec(&live, &script("1"));
        assert_eq!(exec.code, 0, "{exec:?}");
        assert_eq!(exec.stdout, init.stdout);
        assert!(exec.stdout.contains(&format!("NoNewPrivs:\t{}", u8::from(nnp))), "{exec:?}");
        assert!(exec.stdout.contains("Seccomp:\t2"), "{exec:?}");
        assert!(exec.stdout.contains("CapInh:\t0000000000000000"), "{exec:?}");
        assert!(exec.stdout.contains("CapAmb:\t0000000000000000"), "{exec:?}");
        assert!(exec.stdout.contains("CapEff:\t00000000a80425fb"), "{exec:?}");
        live.kill();
    }
}

#[test]
fn what_cannot_be_executed_is_told_as_docker_tells_it() {
    let start = |executable: &str| {
        let mut bundle = Bundle::new("");
        bundle.spec["process"]["args"] = json!([executable]);
        bundle.run().unwrap_err()
    };
    assert_eq!(start("nope"), "exec: \"nope\": executable file not found in $PATH");
    assert_eq!(start("/nope"), "exec: \"/nope\": stat /nope: no such file or directory");
    assert_eq!(start("/plain-text"), "exec: \"/plain-text\": permission denied");
    assert_eq!(start("/etc"), "exec: \"/etc\": permission denied");
    assert_eq!(start("/garbage"), "exec: \"/garbage\": exec format error");
}

#[test]
fn exec_tells_what_it_cannot_find() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let error = bundle.exec_with(&live, "", |it| it["args"] = json!(["nope"])).unwrap_err();
    assert_eq!(error.launch().unwrap().exit_code(), 127);
    let error = bundle.exec_with(&live, "", |it| it["args"] = json!(["/etc"])).unwrap_err();
    assert_eq!(error.launch().unwrap().exit_code(), 126);
    let error = bundle.exec_with(&live, "", |it| it["cwd"] = json!("/nope")).unwrap_err();
    assert_eq!(error.launch().unwrap().exit_code(), 126);
    live.kill();
}

#[test]
fn user_groups_umask_and_home_are_set() {
    let script = "id -u; id -g; grep Groups /proc/self/status; umask; echo $HOME; pwd";
    let outcome = run(script, |spec| {
        spec["process"]["user"] =
            json!({"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [5, 6]});
        spec["process"]["cwd"] = json!("/new/place");
    });
    let expected = "1000\n1000\nGroups:\t5 6 \n0027\n/home/user\n/new/place\n";
    assert_eq!(outcome.stdout, expected, "{outcome:?}");
}

#[test]
fn a_user_has_no_capabilities_but_ambient_ones() {
    let caps = "grep -E 'CapPrm|CapEff|CapBnd|CapAmb' /proc/self/status";
    let outcome = run(caps, |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    assert!(outcome.stdout.contains("CapPrm:\t0000000000000000"), "{outcome:?}");
    assert!(outcome.stdout.contains("CapBnd:\t00000000a80425fb"), "{outcome:?}");
    let outcome = run(caps, |spec| {
        spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
        spec["process"]["capabilities"]["inheritable"] = json!(["CAP_NET_RAW"]);
        spec["process"]["capabilities"]["ambient"] = json!(["CAP_NET_RAW", "CAP_KILL"]);
    });
    assert!(outcome.stdout.contains("CapEff:\t0000000000002000"), "{outcome:?}");
    assert!(outcome.stdout.contains("CapAmb:\t0000000000002000"), "{outcome:?}");
    assert!(outcome.warnings.iter().any(|it| it.contains("CAP_KILL")), "{outcome:?}");
}

#[test]
fn limits_are_set_and_clamped_with_a_warning() {
    let outcome = run("ulimit -n; ulimit -c; ulimit -Hc", |spec| {
        spec["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 4_000_000_000_u64, "hard": 4_000_000_000_u64},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 1024},
        ]);
    });
    let may_raise = fs::read_to_string("/proc/self/status").unwrap().lines().any(|it| {
        it.strip_prefix("CapEff:\t")
            .is_some_and(|it| u64::from_str_radix(it, 16).unwrap() & (1 << 24) != 0)
    });
    if may_raise {
        wadah_testkit::skip("clamping: this host can raise limits");
    } else {
        assert!(outcome.warnings.iter().any(|it| it.contains("NOFILE")), "{outcome:?}");
    }
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.stdout.ends_with("\n0\n2\n") || outcome.stdout.ends_with("\n0\n1\n"),
        "{outcome:?}"
    );
}

#[test]
fn scheduling_and_accounting_attributes_are_set() {
    let script = "cat /proc/self/oom_score_adj; uname -m; cut -d\" \" -f19 /proc/self/stat; ionice; grep Cpus_allowed_list /proc/self/status";
    let outcome = run(script, |spec| {
        spec["process"]["oomScoreAdj"] = json!(500);
        spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
        spec["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
        spec["linux"]["personality"] = json!({"domain": "LINUX32"});
        spec["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    });
    assert_eq!(outcome.stdout, "500\ni686\n5\nidle\nCpus_allowed_list:\t0\n", "{outcome:?}");
}

#[test]
fn only_the_standard_descriptors_reach_the_process() {
    // busybox's ls opens one for the directory.
    let outcome = run("ls /proc/self/fd | wc -l; ls -l /proc/self/fd", |_| ());
    assert!(outcome.stdout.starts_with("4\n"), "{outcome:?}");
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    let outcome = bundle.exec(&live, "ls /proc/self/fd | wc -l");
    assert_eq!(outcome.stdout, "4\n", "{outcome:?}");
    live.kill();
}

#[test]
fn no_signal_is_ignored_or_blocked() {
    let expected = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    for (init, pid) in [(false, 1), (true, 2)] {
        let mut bundle = Bundle::new("");
        bundle.init = init;
        bundle.spec["process"]["args"] = json!(["sleep", "60"]);
        let live = bundle.start().unwrap();
        // Not of a shell's status: shells have their own ideas.
        let look = |pid: &str| {
            let status = format!("/proc/{pid}/status");
            let arguments = json!(["grep", "-E", "SigBlk|SigIgn", status]);
            bundle.exec_with(&live, "", |it| it["args"] = arguments).unwrap().stdout
        };
        assert_eq!(look("self"), expected);
        assert_eq!(look(&pid.to_string()), expected);
        live.kill();
    }
}

#[test]
fn filters_of_the_specification_are_loaded() {
    let mut bundle = Bundle::new("mkdir /x; echo $?; mkdir /y 2>&1");
    bundle.seccomp = SeccompPolicy::Spec;
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}],
    });
    let outcome = bundle.run().unwrap();
    assert!(outcome.stdout.contains("No space left"), "{outcome:?}");
}

#[test]
fn a_pid_1_of_ours_reaps_and_forwards() {
    let mut bundle = Bundle::new(
        "trap 'echo terminated; exit 3' TERM; (sleep 0.01 &) ; echo ready $$; \
         while :; do sleep 0.05; done",
    );
    bundle.init = true;
    let live = bundle.start().unwrap();
    // Until the trap is set.
    let zombies = "until [ -e /proc/2/status ] && ! grep -l 'State:.Z' /proc/[0-9]*/status; do :; done; \
                   kill -TERM 1";
    let outcome = bundle.exec(&live, zombies);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let outcome = live.wait();
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (3, "ready 2\nterminated\n"),
        "{outcome:?}"
    );
}

#[test]
fn an_executable_missing_below_init_is_told() {
    let mut bundle = Bundle::new("");
    bundle.init = true;
    bundle.spec["process"]["args"] = json!(["/garbage"]);
    assert_eq!(bundle.run().unwrap_err(), "exec: \"/garbage\": exec format error");
}
