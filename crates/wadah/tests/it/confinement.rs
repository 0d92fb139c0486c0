//! What a container cannot do by default (docs/threats.md, "Runtime and shim").

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use wadah_testkit::{Sandbox, busybox_root};

use crate::sandbox;

/// Makes the image `name` from a busybox root that `change` has changed.
fn image(sandbox: &Sandbox, name: &str, instructions: &[&str], change: impl FnOnce(&Path)) {
    let root = sandbox.path().join(format!("{name}-root"));
    busybox_root(&root).unwrap();
    change(&root);
    let tar = sandbox.path().join(format!("{name}.tar"));
    let status = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg(".").status();
    assert!(status.unwrap().success());
    let changes = instructions.iter().flat_map(|it| ["-c".to_owned(), (*it).to_owned()]);
    let mut arguments = vec!["import".to_owned()];
    arguments.extend(changes);
    arguments.extend([tar.to_string_lossy().into_owned(), name.to_owned()]);
    sandbox.wadah(arguments).ok();
}

fn status(sandbox: &Sandbox, arguments: &[&str], field: &str) -> String {
    let text = sandbox.wadah([arguments, &["cat", "/proc/self/status"]].concat()).ok();
    let line = text.lines().find(|it| it.starts_with(field)).unwrap_or_default();
    line.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_process_has_fourteen_capabilities_and_a_filter_in_run_and_in_exec() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "host", "busybox", "sleep", "1000"]).ok();
    for way in [&["run", "--rm", "busybox"][..], &["exec", "host"]] {
        assert_eq!(status(&sandbox, way, "CapEff:"), "00000000a80425fb", "{way:?}");
        assert_eq!(status(&sandbox, way, "CapBnd:"), "00000000a80425fb", "{way:?}");
        assert_eq!(status(&sandbox, way, "CapInh:"), "0000000000000000", "{way:?}");
        assert_eq!(status(&sandbox, way, "CapAmb:"), "0000000000000000", "{way:?}");
        assert_eq!(status(&sandbox, way, "Seccomp:"), "2", "{way:?}");
    }
    let privileged = ["exec", "--privileged", "host"];
    assert_eq!(status(&sandbox, &privileged, "CapInh:"), "0000000000000000");
    assert_eq!(
        status(&sandbox, &["run", "--rm", "-u", "1000", "busybox"], "CapEff:"),
        "0000000000000000"
    );
    assert_eq!(
        status(
            &sandbox,
            &["run", "--rm", "--security-opt", "no-new-privileges", "busybox"],
            "NoNewPrivs:"
        ),
        "1"
    );
    assert_eq!(
        status(
            &sandbox,
            &["run", "--rm", "--security-opt", "seccomp=unconfined", "busybox"],
            "Seccomp:"
        ),
        "0"
    );
    assert_eq!(
        status(
            &sandbox,
            &["run", "--rm", "--cap-drop", "ALL", "--cap-add", "CHOWN", "busybox"],
            "CapEff:"
        ),
        "0000000000000001"
    );
}

#[test]
fn only_the_three_standard_descriptors_reach_the_process() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "host", "busybox", "sleep", "1000"]).ok();
    for way in [&["run", "--rm", "busybox"][..], &["exec", "host"]] {
        // 3 is the directory that ls itself reads.
        let list = sandbox.wadah([way, &["ls", "/proc/self/fd"]].concat()).ok();
        assert_eq!(list.lines().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{way:?}");
    }
}

#[test]
fn what_the_kernel_tells_about_the_host_is_masked() {
    let sandbox = sandbox();
    let read = |path: &str| {
        sandbox
            .wadah([
                "run",
                "--rm",
                "busybox",
                "sh",
                "-c",
                &format!("cat {path} 2>/dev/null | wc -c"),
            ])
            .ok()
    };
    for path in ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"] {
        assert_eq!(read(path), "0", "{path}");
    }
    let listed = sandbox.wadah(["run", "--rm", "busybox", "ls", "/sys/firmware"]).ok();
    assert_eq!(listed, "");
    for path in [
        "/proc/sys/kernel/panic",
        "/proc/sysrq-trigger",
        "/proc/irq/x",
        "/sys/x",
        "/sys/fs/cgroup/x",
    ] {
        let script = format!("echo 1 2>/dev/null > {path} && echo written || echo refused");
        let answer = sandbox.wadah(["run", "--rm", "busybox", "sh", "-c", &script]);
        assert_eq!(answer.stdout.trim(), "refused", "{path}: {answer}");
    }
}

#[test]
fn our_executable_cannot_be_written_from_inside() {
    let sandbox = sandbox();
    image(&sandbox, "exe", &[], |root| {
        let script = "#!/proc/self/exe\n";
        fs::write(root.join("script"), script).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(root.join("script"), mode).unwrap();
        symlink("/proc/self/exe", root.join("bin/self")).unwrap();
    });
    let before = fs::read(wadah_testkit::wadah_executable()).unwrap();
    // Whatever these do, they must not end in our executable being open for writing.
    let catch = "for i in $(seq 1 300); do for p in /proc/[0-9]*; do ( : >> $p/exe ) 2>/dev/null; done; done; echo over";
    sandbox.wadah(["run", "-d", "--name", "catcher", "exe", "sh", "-c", catch]).ok();
    for _ in 0..20 {
        drop(sandbox.wadah(["exec", "catcher", "/bin/self", "--help"]));
        drop(sandbox.wadah(["exec", "catcher", "/script"]));
        drop(sandbox.wadah(["exec", "catcher", "true"]));
    }
    drop(sandbox.wadah(["run", "--rm", "exe", "/bin/self"]));
    drop(sandbox.wadah(["run", "--rm", "exe", "/script"]));
    assert!(
        before == fs::read(wadah_testkit::wadah_executable()).unwrap(),
        "the executable was changed"
    );
}

#[test]
fn a_working_directory_outside_is_refused() {
    let sandbox = sandbox();
    image(&sandbox, "cwd", &["WORKDIR /escape"], |root| {
        symlink("/proc/self/fd/7", root.join("escape")).unwrap();
    });
    for number in 3..16 {
        let path = format!("/proc/self/fd/{number}");
        let output =
            sandbox.wadah(["run", "--rm", "-w", &path, "busybox", "ls", "../../../../etc/shadow"]);
        assert!(output.code != 0, "{output}");
    }
    let output = sandbox.wadah(["run", "--rm", "cwd", "pwd"]);
    assert!(output.code != 0, "{output}");
}

#[test]
fn links_in_place_of_proc_sys_and_dev_are_refused() {
    let sandbox = sandbox();
    let trap = sandbox.path().join("trap");
    fs::create_dir(&trap).unwrap();
    for name in ["proc", "sys", "dev"] {
        image(&sandbox, name, &[], |root| {
            fs::remove_dir(root.join(name)).unwrap();
            symlink(&trap, root.join(name)).unwrap();
        });
        let output = sandbox.wadah(["run", "--rm", name, "true"]);
        assert!(
            fs::read_dir(&trap).unwrap().next().is_none(),
            "{name}: made something on the host"
        );
        if name != "dev" {
            assert!(output.code != 0, "{output}");
        }
    }
}

#[test]
fn hostile_account_files_neither_hang_nor_hurt() {
    let sandbox = sandbox();
    image(&sandbox, "fifo", &["USER app"], |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        assert!(Command::new("mkfifo").arg(root.join("etc/passwd")).status().unwrap().success());
    });
    image(&sandbox, "zero", &["USER app"], |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink("/dev/zero", root.join("etc/passwd")).unwrap();
    });
    image(&sandbox, "out", &["USER app"], |root| {
        fs::remove_file(root.join("etc/passwd")).unwrap();
        symlink("../../../../../../../etc/passwd", root.join("etc/passwd")).unwrap();
    });
    for name in ["fifo", "zero", "out"] {
        let output = sandbox.wadah(["run", "--rm", name, "id"]);
        assert!(output.code != 0 && output.stderr.contains("app"), "{name}: {output}");
    }
    for user in ["4294967296", "4294967295", "-1", "1000:4294967296"] {
        let output = sandbox.wadah(["run", "--rm", "-u", user, "busybox", "id", "-u"]);
        assert!(output.code != 0 && output.stdout.is_empty(), "{user}: {output}");
    }
    let newline = sandbox.wadah(["run", "--rm", "--hostname", "a\nb", "busybox", "true"]);
    assert!(newline.code != 0, "{newline}");
}

#[test]
fn run_directories_and_data_are_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = sandbox();
    let id = sandbox.wadah(["run", "-d", "busybox", "sleep", "1000"]).ok();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&sandbox.data_root()) & !0o711, 0);
    assert_eq!(mode(&sandbox.socket()), 0o660);
    assert_eq!(mode(&sandbox.exec_root().join("containers").join(&id)), 0o700);
    let sockets = fs::read_to_string(format!("/proc/{}/net/unix", sandbox.daemon_pid())).unwrap();
    let test = sandbox.path().to_string_lossy().into_owned();
    assert!(!sockets.lines().any(|it| it.contains('@') && it.contains(&test)), "{sockets}");
}
