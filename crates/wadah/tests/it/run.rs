//! What people do all day: run, look, stop, remove.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use wadah_testkit::{Sandbox, wait_until};

use crate::sandbox;

#[test]
fn the_built_in_image_runs_on_a_fresh_daemon() {
    let sandbox = Sandbox::bare().unwrap();
    let greeting = sandbox.wadah(["run", "--rm", "wadah/hello"]).ok();
    assert!(greeting.contains("Wadah"), "{greeting}");
}

#[test]
fn run_gives_the_output_and_the_exit_code_of_the_process() {
    let sandbox = sandbox();
    let output =
        sandbox.wadah(["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (7, "out\n", "err\n"));
    let output =
        sandbox.wadah(["run", "--rm", "busybox", "sh", "-c", "sh -c 'kill -KILL $$'; exit $?"]);
    assert_eq!(output.code, 137, "{output}");
}

#[test]
fn run_tells_its_own_failures_from_those_of_the_process() {
    let sandbox = sandbox();
    let missing = sandbox.wadah(["run", "--rm", "busybox", "no-such-program"]).fails(127);
    assert!(
        missing.contains("\"no-such-program\": executable file not found in $PATH"),
        "{missing}"
    );
    let directory = sandbox.wadah(["run", "--rm", "busybox", "/etc"]).fails(126);
    assert!(directory.contains("/etc"), "{directory}");
    let image =
        sandbox.wadah(["run", "--rm", "--pull", "never", "no-such-image", "true"]).fails(125);
    assert!(image.contains("No such image: no-such-image:latest"), "{image}");
    let flag = sandbox.wadah(["run", "--no-such-flag", "busybox"]).fails(125);
    assert!(flag.contains("--no-such-flag"), "{flag}");
    assert_eq!(sandbox.wadah(["ps", "-aq"]).ok(), "");
}

#[test]
fn the_process_gets_what_was_asked_for() {
    let sandbox = sandbox();
    let run = |arguments: &[&str]| sandbox.wadah([&["run", "--rm"], arguments].concat()).ok();
    assert_eq!(run(&["-e", "A=b c", "busybox", "sh", "-c", "echo $A"]), "b c");
    assert_eq!(run(&["-w", "/tmp", "busybox", "pwd"]), "/tmp");
    assert_eq!(run(&["-u", "1000:1000", "busybox", "id", "-u"]), "1000");
    assert_eq!(
        run(&["-u", "app", "busybox", "id"]),
        "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)"
    );
    assert_eq!(run(&["--hostname", "vessel", "busybox", "hostname"]), "vessel");
    assert_eq!(run(&["--entrypoint", "echo", "busybox", "a", "b"]), "a b");
    assert_eq!(
        run(&["--read-only", "busybox", "sh", "-c", "touch /x 2>/dev/null || echo refused"]),
        "refused"
    );
    assert_eq!(
        run(&[
            "--tmpfs",
            "/scratch:size=1m",
            "busybox",
            "sh",
            "-c",
            "df -k /scratch | awk 'END{print $2}'"
        ]),
        "1024"
    );
    assert_eq!(
        run(&[
            "--sysctl",
            "net.ipv4.ip_forward=0",
            "busybox",
            "cat",
            "/proc/sys/net/ipv4/ip_forward"
        ]),
        "0"
    );
    assert_eq!(
        run(&["--ulimit", "nofile=100:200", "busybox", "sh", "-c", "ulimit -Sn; ulimit -Hn"]),
        "100\n200"
    );
    assert_eq!(run(&["--init", "busybox", "sh", "-c", "test $$ -ne 1 && echo not-one"]), "not-one");
}

#[test]
fn a_bind_mount_is_read_and_written_and_read_only_when_asked() {
    let sandbox = sandbox();
    let shared = sandbox.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("in"), "from the host").unwrap();
    let volume = format!("{}:/shared", shared.display());
    let script = "cat /shared/in; echo from inside > /shared/out";
    assert_eq!(
        sandbox.wadah(["run", "--rm", "-v", &volume, "busybox", "sh", "-c", script]).ok(),
        "from the host"
    );
    assert_eq!(fs::read_to_string(shared.join("out")).unwrap(), "from inside\n");
    let script = "echo no > /shared/out";
    let output = sandbox.wadah([
        "run",
        "--rm",
        "-v",
        &format!("{volume}:ro"),
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    assert!(output.code != 0 && output.stderr.contains("Read-only file system"), "{output}");
}

#[test]
fn standard_input_reaches_the_process_and_ends() {
    let sandbox = sandbox();
    let mut client = sandbox.wadah_command();
    client
        .args(["run", "-i", "--rm", "busybox", "wc", "-c"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    client.stdin.take().unwrap().write_all(&[b'x'; 1_000_000]).unwrap();
    let output = client.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1000000");
}

#[test]
fn a_detached_container_is_seen_waited_for_and_removed() {
    let sandbox = sandbox();
    let id = sandbox
        .wadah([
            "run",
            "-d",
            "--name",
            "web",
            "-l",
            "tier=front",
            "busybox",
            "sh",
            "-c",
            "echo up; sleep 1; exit 3",
        ])
        .ok();
    assert_eq!(id.len(), 64, "{id}");
    assert_eq!(sandbox.wadah(["ps", "-q", "--no-trunc", "--filter", "label=tier=front"]).ok(), id);
    assert_eq!(sandbox.wadah(["ps", "-q", "--filter", "label=tier=back"]).ok(), "");
    assert_eq!(sandbox.wadah(["wait", "web"]).ok(), "3");
    assert_eq!(sandbox.wadah(["logs", &id[..12]]).ok(), "up");
    let status =
        sandbox.wadah(["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "web"]).ok();
    assert_eq!(status, "exited 3");
    assert_eq!(sandbox.wadah(["rm", "web"]).ok(), "web");
    let gone = sandbox.wadah(["inspect", "web"]).fails(1);
    assert!(gone.contains("web"), "{gone}");
}

#[test]
fn a_container_starts_again_with_its_files() {
    let sandbox = sandbox();
    sandbox
        .wadah([
            "create",
            "--name",
            "again",
            "busybox",
            "sh",
            "-c",
            "echo x >> /count; wc -l < /count",
        ])
        .ok();
    for _ in 0..3 {
        sandbox.wadah(["start", "-a", "again"]).ok();
    }
    assert_eq!(sandbox.wadah(["logs", "again"]).ok(), "1\n2\n3");
}

#[test]
fn exec_runs_beside_and_reports_its_own_exit_code() {
    let sandbox = sandbox();
    sandbox.wadah(["run", "-d", "--name", "host", "busybox", "sleep", "1000"]).ok();
    let output = sandbox.wadah([
        "exec",
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "host",
        "sh",
        "-c",
        "echo $A $PWD; exit 5",
    ]);
    assert_eq!((output.code, &*output.stdout), (5, "1 /tmp\n"), "{output}");
    let missing = sandbox.wadah(["exec", "host", "no-such-program"]);
    assert!(
        missing.code == 127 && missing.stderr.contains("no-such-program")
            || missing.stdout.contains("no-such-program"),
        "{missing}"
    );
    assert!(sandbox.wadah(["top", "host"]).ok().contains("sleep 1000"));
    sandbox.wadah(["stop", "-t", "0", "host"]).ok();
    let stopped = sandbox.wadah(["exec", "host", "true"]).fails(1);
    assert!(stopped.contains("is not running"), "{stopped}");
}

#[test]
fn stop_asks_first_and_kills_after_the_timeout() {
    let sandbox = sandbox();
    let polite = "trap 'exit 42' TERM; while :; do sleep 0.1; done";
    sandbox.wadah(["run", "-d", "--name", "polite", "busybox", "sh", "-c", polite]).ok();
    sandbox
        .wadah([
            "run",
            "-d",
            "--name",
            "deaf",
            "busybox",
            "sh",
            "-c",
            "trap '' TERM; while :; do sleep 0.1; done",
        ])
        .ok();
    wait_until("both run their traps", || sandbox.wadah(["top", "deaf"]).stdout.contains("sleep"));
    sandbox.wadah(["stop", "polite"]).ok();
    sandbox.wadah(["stop", "-t", "1", "deaf"]).ok();
    assert_eq!(sandbox.wadah(["wait", "polite"]).ok(), "42");
    assert_eq!(sandbox.wadah(["wait", "deaf"]).ok(), "137");
}

#[test]
fn names_are_unique_and_can_be_changed() {
    let sandbox = sandbox();
    sandbox.wadah(["create", "--name", "first", "busybox"]).ok();
    let taken = sandbox.wadah(["create", "--name", "first", "busybox"]).fails(125);
    assert!(taken.contains("The container name \"/first\" is already in use"), "{taken}");
    sandbox.wadah(["rename", "first", "second"]).ok();
    assert_eq!(sandbox.wadah(["ps", "-a", "--format", "{{.Names}}"]).ok(), "second");
    for name in ["../../x", "/tmp/x", "..%2f", "-x", "a b"] {
        let output = sandbox.wadah(["create", "--name", name, "busybox"]);
        assert!(output.code != 0 && output.stderr.contains("Invalid container name"), "{output}");
    }
}

#[test]
fn images_are_tagged_imported_and_removed() {
    let sandbox = sandbox();
    sandbox.wadah(["tag", "busybox", "team/app:1"]).ok();
    let listed = sandbox.wadah(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    assert!(listed.contains("team/app:1") && listed.contains("busybox:latest"), "{listed}");
    assert_eq!(sandbox.wadah(["rmi", "team/app:1"]).ok(), "Untagged: team/app:1");
    let root = sandbox.path().join("root");
    wadah_testkit::busybox_root(&root).unwrap();
    let tar = sandbox.path().join("root.tar");
    assert!(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg(".")
            .status()
            .unwrap()
            .success()
    );
    sandbox
        .wadah(["import", "-c", "CMD [\"echo\", \"imported\"]", &tar.to_string_lossy(), "mine"])
        .ok();
    assert_eq!(sandbox.wadah(["run", "--rm", "mine"]).ok(), "imported");
    sandbox.wadah(["create", "--name", "user", "mine"]).ok();
    let used = sandbox.wadah(["rmi", "mine"]).fails(1);
    assert!(used.contains("container"), "{used}");
}
