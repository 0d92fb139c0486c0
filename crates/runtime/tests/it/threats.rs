//! What hostile images and neighbours try. Each test fails when its defence is taken out.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::{fd::AsRawFd as _, unix::fs::symlink},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use serde_json::json;
use wadah_runtime::{Gate, SeccompPolicy};

use super::{Bundle, pipes, wait};

#[test]
fn system_directories_that_are_links_are_refused() {
    for name in ["proc", "sys", "dev"] {
        for target in ["/elsewhere", "../../../../../../tmp", "/etc"] {
            let bundle = Bundle::new("echo must not run");
            symlink(target, bundle.upper(name)).unwrap();
            let error = bundle.run().unwrap_err();
            assert!(error.contains(&format!("/{name}")), "{error}");
            assert!(!bundle.upper("elsewhere").exists(), "{name}");
        }
    }
}

#[test]
fn a_working_directory_outside_is_refused() {
    for directory in ["/proc/self/fd/3", "/proc/self/fd/7/../../..", "/proc/self/fd/9"] {
        let mut bundle = Bundle::new("echo must not run");
        bundle.spec["process"]["cwd"] = json!(directory);
        let error = bundle.run().unwrap_err();
        assert!(error.contains("cwd") || error.contains("outside"), "{error}");
    }
    let mut bundle = Bundle::new("echo must not run");
    symlink("/proc/self/fd/5", bundle.upper("link")).unwrap();
    bundle.spec["process"]["cwd"] = json!("/link");
    bundle.run().unwrap_err();
}

#[test]
fn every_descriptor_as_working_directory_is_refused_for_exec_too() {
    let bundle = Bundle::new("sleep 60");
    let live = bundle.start().unwrap();
    for number in 3..40 {
        let directory = format!("/proc/self/fd/{number}");
        let outcome =
            bundle.exec_with(&live, "echo must not run", |it| it["cwd"] = json!(directory));
        assert!(outcome.is_err(), "{directory}: {outcome:?}");
    }
    live.kill();
}

#[test]
fn a_false_proc_is_refused() {
    let mut bundle = Bundle::new("echo must not run");
    let shared = bundle.shared();
    fs::create_dir_all(shared.join("self/attr")).unwrap();
    bundle.push(
        "/mounts",
        json!({"destination": "/proc", "type": "bind", "source": shared, "options": ["bind"]}),
    );
    let error = bundle.run().unwrap_err();
    assert!(error.contains("procfs"), "{error}");
    for (kind, options) in [("bind", json!(["bind"])), ("tmpfs", json!([]))] {
        let mut bundle = Bundle::new("echo must not run");
        let mount = json!({"destination": "/proc/sys/kernel", "type": kind, "source": bundle.shared(), "options": options});
        bundle.push("/mounts", mount);
        let error = bundle.run().unwrap_err();
        assert!(error.contains("inside /proc"), "{error}");
    }
}

#[test]
fn a_mask_is_the_hosts_null_device() {
    // The image's own is a link to what an attacker would like to see mounted over.
    let mut bundle = Bundle::new("ls -l /proc/kcore | cut -c1-1; cat /proc/kcore; echo $?");
    fs::create_dir(bundle.upper("dev")).unwrap();
    symlink("/etc/passwd", bundle.upper("dev/null")).unwrap();
    bundle.spec["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|it| !it["destination"].as_str().unwrap().starts_with("/dev"));
    match bundle.run() {
        Ok(outcome) => assert_eq!(outcome.stdout, "c\n0\n", "{outcome:?}"),
        Err(error) => assert!(error.contains("/dev/null"), "{error}"),
    }
}

#[test]
fn a_hostile_passwd_holds_nobody_up() {
    let home = |prepare: &dyn Fn(&Path)| {
        let bundle = Bundle::new("echo $HOME");
        fs::create_dir(bundle.upper("etc")).unwrap();
        prepare(&bundle.upper("etc/passwd"));
        bundle.run().unwrap().stdout
    };
    let fifo = |path: &Path| {
        rustix::fs::mkfifoat(CWD, path, Mode::from_raw_mode(0o644)).unwrap();
    };
    assert_eq!(home(&fifo), "/\n");
    assert_eq!(home(&|path| symlink("/dev/zero", path).unwrap()), "/\n");
    assert_eq!(home(&|path| symlink("passwd", path).unwrap()), "/\n");
    assert_eq!(home(&|path| fs::create_dir(path).unwrap()), "/\n");
    assert_eq!(home(&|path| fs::write(path, "root:x:0:0::/a\tb:/bin/sh\n").unwrap()), "/\n");
    assert_eq!(home(&|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap()), "/\n");
}

#[test]
fn our_memory_and_executable_cannot_be_read_by_a_neighbour_in_the_pid_namespace() {
    // The neighbour tries, as long as somebody joins; nothing of what it opens may be ours.
    let script = "while :; do for it in /proc/[0-9]*; do \
        case $(readlink $it/exe) in ''|/bin/busybox) ;; *) echo found $(readlink $it/exe);; esac; \
        done; done";
    let bundle = Bundle::new(script);
    let live = bundle.start().unwrap();
    for _ in 0..50 {
        assert_eq!(bundle.exec(&live, "true").code, 0);
    }
    let outcome = live.kill();
    assert!(!outcome.stdout.contains("found"), "{outcome:?}");
}

#[test]
fn no_new_name_appears_on_the_host_while_a_destination_is_swapped() {
    // Two containers share a volume; one side swaps a directory with a link out, as fast as it can,
    // while the other mounts at it.
    let outside = tempfile::tempdir().unwrap();
    let bundle_for = || {
        let mut bundle = Bundle::new("ls /volume/place/; cat /volume/place/secret 2>/dev/null");
        let shared = bundle.shared();
        fs::create_dir(shared.join("place")).unwrap();
        symlink(outside.path(), shared.join("link")).unwrap();
        bundle.push("/mounts", json!({"destination": "/volume", "type": "bind", "source": shared, "options": ["bind"]}));
        bundle.push(
            "/mounts",
            json!({"destination": "/volume/place/deep/er", "type": "tmpfs", "source": "tmpfs"}),
        );
        bundle
    };
    fs::write(outside.path().join("secret"), "the host's").unwrap();
    for _ in 0..100 {
        let bundle = bundle_for();
        let stop = Arc::new(AtomicBool::new(false));
        let swapper = {
            let (stop, shared) = (Arc::clone(&stop), bundle.shared());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let (one, other) = (shared.join("place"), shared.join("link"));
                    renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                }
            })
        };
        // It may fail; it may not succeed outside.
        let outcome = bundle.run();
        stop.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
        let outcome = outcome.map(|it| it.stdout).unwrap_or_default();
        assert!(!outcome.contains("the host's"), "{outcome:?}");
        let names: Vec<_> = fs::read_dir(outside.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(outside.path().to_str().unwrap()), "{mounts}");
}

#[test]
fn privileges_of_a_container_without_filter_leave_our_capabilities_alone() {
    let mut bundle = Bundle::new("grep -E 'CapInh|CapAmb' /proc/self/status");
    bundle.seccomp = SeccompPolicy::Unconfined;
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n");
}

/// Protects its executable and makes a container. The test below runs this one in a process of its
/// own.
#[test]
fn in_a_process_of_its_own_the_executable_is_protected() {
    if std::env::var_os("WADAH_TEST_PROTECTED").is_none() {
        return;
    }
    wadah_runtime::protect::reexec_from_readonly().unwrap();
    assert!(wadah_runtime::protect::is_protected().unwrap());
    // Can be done again, for those that we start.
    wadah_runtime::protect::executable().unwrap();
    let bundle = Bundle::new("true");
    let (stdio, _stdout, _stderr) = pipes();
    let created = bundle.create(stdio, Gate::Pipe).unwrap();
    println!("pids: {} {} .", std::process::id(), created.pid.as_raw_nonzero());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let running = created.start().unwrap();
    wait(&running.pidfd);
    running.cgroup.delete().unwrap();
}

#[test]
fn our_executable_cannot_be_written_even_after_we_are_gone() {
    // A copy that only the process in question executes: what others execute is busy. Made by
    // another program, or it would be busy because of us.
    let scratch = tempfile::tempdir().unwrap();
    let copy = scratch.path().join("copy");
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&copy).status();
    assert!(copied.unwrap().success());
    let this = "threats::in_a_process_of_its_own_the_executable_is_protected";
    let mut child = Command::new(&copy)
        .args(["--exact", this, "--nocapture"])
        .env("WADAH_TEST_PROTECTED", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|it| it.contains("pids: ")).unwrap();
    let pids = line.split_once("pids: ").unwrap().1.split(' ').filter(|it| *it != ".");
    let open = |pid: &str| {
        rustix::fs::open(format!("/proc/{pid}/exe"), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
    };
    let executables: Vec<_> = pids.map(|it| open(it).unwrap()).collect();
    assert_eq!(executables.len(), 2);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    for executable in executables {
        let path = format!("/proc/self/fd/{}", executable.as_raw_fd());
        let error = fs::OpenOptions::new().write(true).open(path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ROFS.raw_os_error()));
    }
}

#[test]
fn descriptors_that_the_caller_left_open_do_not_reach_the_process() {
    // As a careless library would: without close-on-exec.
    let careless = rustix::fs::open("/etc", OFlags::RDONLY, Mode::empty()).unwrap();
    let bundle = Bundle::new("ls -l /proc/self/fd; sleep 60");
    let live = bundle.start().unwrap();
    let outcome = bundle.exec(&live, "ls -l /proc/self/fd /proc/1/fd");
    assert!(!outcome.stdout.contains("/etc"), "{outcome:?}");
    let outcome = live.kill();
    assert!(!outcome.stdout.contains("/etc"), "{outcome:?}");
    drop(careless);
}

#[test]
fn an_init_of_ours_cannot_be_looked_into() {
    let mut bundle = Bundle::new("readlink /proc/1/exe; cat /proc/1/maps; ls /proc/1/fd; echo $$");
    bundle.init = true;
    let outcome = bundle.run().unwrap();
    assert_eq!(outcome.stdout, "2\n", "{outcome:?}");
}
