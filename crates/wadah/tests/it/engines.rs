//! The runtime under the engines of others: Debian's docker.io and podman.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use wadah_testkit::{busybox_root, skip, wadah_executable, wait_until};

const DOCKERD: &str = "/usr/sbin/dockerd";
const PODMAN: &str = "/usr/bin/podman";

/// How a command ended: its exit code and all it printed.
type Ended = (i32, String);

fn run(command: &mut Command) -> Ended {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).trim().to_owned())
}

/// A script, for engines that know a runtime by a path without arguments.
fn runtime(directory: &Path) -> PathBuf {
    let path = directory.join("wadah-runtime");
    std::os::unix::fs::symlink(wadah_executable(), &path).unwrap();
    path
}

fn image(directory: &Path) -> PathBuf {
    let (root, tar) = (directory.join("root"), directory.join("image.tar"));
    busybox_root(&root).unwrap();
    let ended = run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
    assert_eq!(ended.0, 0, "{}", ended.1);
    tar
}

/// What holds in either engine. `engine` runs its client with these arguments.
fn check(engine: &dyn Fn(&[&str]) -> Ended, network: &[&str]) {
    let run = |arguments: &[&str]| engine(&[&["run", "--rm"], network, arguments].concat());
    let expect = |arguments: &[&str], code: i32, words: &str| {
        let (got, text) = run(arguments);
        assert_eq!(got, code, "{arguments:?}: {text}");
        assert!(text.contains(words), "{arguments:?}: {text:?} does not contain {words:?}");
    };
    expect(&["bb", "id"], 0, "uid=0(root) gid=0");
    expect(&["bb", "sh", "-c", "exit 42"], 42, "");
    expect(&["bb", "no-such-program"], 127, "");
    expect(&["bb", "/etc/passwd"], 126, "");
    expect(&["--user", "1234:1235", "bb", "id"], 0, "uid=1234");
    expect(&["--read-only", "bb", "touch", "/x"], 1, "Read-only file system");
    expect(&["--privileged", "bb", "grep", "Seccomp:", "/proc/self/status"], 0, "Seccomp:\t0");
    expect(&["bb", "grep", "Seccomp:", "/proc/self/status"], 0, "Seccomp:\t2");
    expect(&["-t", "bb", "ls", "-l", "/dev/console"], 0, "crw");

    let name = format!("wadah-test-{}", std::process::id());
    let limited = ["-d", "--name", &name, "--memory", "64m", "--pids-limit", "30", "bb"];
    let started = engine(&[&["run"], network, &limited, &["sleep", "1000"]].concat());
    assert_eq!(started.0, 0, "{}", started.1);
    let exec = |arguments: &[&str]| engine(&[&["exec", &name], arguments].concat());
    assert_eq!(exec(&["echo", "inside"]), (0, "inside".to_owned()));
    assert_eq!(exec(&["sh", "-c", "exit 9"]).0, 9);
    assert!(exec(&["grep", "Seccomp:", "/proc/self/status"]).1.contains("Seccomp:\t2"));
    assert_eq!(engine(&["pause", &name]).0, 0);
    let status = || engine(&["inspect", "-f", "{{.State.Status}}", &name]).1;
    assert_eq!(status(), "paused");
    assert_eq!(engine(&["unpause", &name]).0, 0);
    assert_eq!(status(), "running");
    assert!(engine(&["top", &name]).1.contains("sleep 1000"));
    assert_eq!(engine(&["kill", &name]).0, 0);
    wait_until("the container has ended", || status() == "exited");
    assert_eq!(engine(&["inspect", "-f", "{{.State.ExitCode}}", &name]).1, "137");
    assert_eq!(engine(&["rm", "-f", &name]).0, 0);
}

/// Docker's daemon in a network namespace of its own.
struct Dockerd {
    directory: tempfile::TempDir,
    child: Child,
    parent: String,
}

impl Dockerd {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let parent = format!("wadah-test-docker-{}", std::process::id());
        let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let log = fs::File::create(at("log")).unwrap();
        let runtime = runtime(directory.path());
        let child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh", DOCKERD])
            .args(["--data-root", &at("data"), "--exec-root", &at("exec"), "-p", &at("pid")])
            .args(["-H", &format!("unix://{}", at("sock")), "--cgroup-parent", &parent])
            .args(["--add-runtime", &format!("wadah={}", runtime.display())])
            .args(["--default-runtime", "wadah"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Self { directory, child, parent };
        wait_until("dockerd answers", || daemon.client(&["version"]).0 == 0);
        daemon
    }

    fn client(&self, arguments: &[&str]) -> Ended {
        let socket = format!("unix://{}/sock", self.directory.path().display());
        run(Command::new("timeout").args(["60", "docker", "-H", &socket]).args(arguments))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
        let mount = self.directory.path().join("exec/netns/default");
        let _unmounted = run(Command::new("umount").arg(mount));
        for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let _gone = fs::remove_dir(hierarchy.path().join(&self.parent));
        }
    }
}

#[test]
fn docker_runs_containers_by_it() {
    if !Path::new(DOCKERD).exists() {
        return skip("dockerd is not installed (package docker.io)");
    }
    let daemon = Dockerd::start();
    let tar = image(daemon.directory.path());
    let imported = daemon.client(&["import", &tar.to_string_lossy(), "bb"]);
    assert_eq!(imported.0, 0, "{}", imported.1);
    check(&|arguments| daemon.client(arguments), &[]);
    let (code, text) = daemon.client(&["run", "--rm", "bb", "no-such-program"]);
    assert_eq!(code, 127);
    assert!(text.contains("executable file not found in $PATH"), "{text}");
}

#[test]
fn podman_runs_containers_by_it() {
    if !Path::new(PODMAN).exists() {
        return skip("podman is not installed (package podman)");
    }
    let directory = tempfile::tempdir().unwrap();
    let runtime = runtime(directory.path());
    let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let podman = |arguments: &[&str]| {
        run(Command::new("timeout")
            .args(["60", "unshare", "--net", "--", PODMAN])
            .args(["--root", &at("data"), "--runroot", &at("run"), "--tmpdir", &at("tmp")])
            .args(["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime"])
            .arg(&runtime)
            .args(arguments))
    };
    let tar = image(directory.path());
    let imported = podman(&["import", &tar.to_string_lossy(), "bb"]);
    assert_eq!(imported.0, 0, "{}", imported.1);
    // Podman's own default limits are higher than what may be set here.
    let limits = ["--net", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
    check(&podman, &limits);
    for place in ["data/overlay", "data/vfs", "data"] {
        let _unmounted = run(Command::new("umount").arg(at(place)));
    }
}
