//! The runtime's command line: every command a process of its own.

use std::{
    fs,
    io::{IoSliceMut, Read as _},
    mem::MaybeUninit,
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};
use wadah_testkit::{busybox_root, wadah_executable, wait_until};

/// A place for containers; what is left in it when dropped fails the test.
struct Place {
    directory: tempfile::TempDir,
    parent: String,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout.trim_end().to_owned()
    }

    #[track_caller]
    fn fails(self, words: &str) -> i32 {
        assert_ne!(self.code, 0, "{self:?}");
        assert!(self.stderr.contains(words), "{self:?} does not say {words:?}");
        self.code
    }
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = tempfile::tempdir().unwrap();
        busybox_root(&directory.path().join("rootfs")).unwrap();
        Self { directory, parent: format!("wadah-test-oci-{}-{number}", std::process::id()) }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a bundle whose process is `arguments`, changed by `change`.
    fn bundle(&self, id: &str, arguments: &[&str], change: impl FnOnce(&mut Value)) -> PathBuf {
        let bundle = self.path().join(format!("bundle-{id}"));
        fs::create_dir(&bundle).unwrap();
        self.run(["spec", "--bundle", &bundle.to_string_lossy()]).ok();
        let file = bundle.join("config.json");
        let mut spec: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        spec["root"]["path"] = json!(self.path().join("rootfs"));
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(arguments);
        spec["linux"]["cgroupsPath"] = json!(format!("/{}/{id}", self.parent));
        change(&mut spec);
        fs::write(&file, spec.to_string()).unwrap();
        bundle
    }

    fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("timeout");
        command.arg("30").arg(wadah_executable()).args(["runtime", "--root"]);
        command.arg(self.path().join("state")).args(arguments).stdin(Stdio::null());
        command
    }

    fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        let output = self.command(arguments).output().unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Creates a container. Its streams go nowhere: they would hold up who reads ours.
    fn create(&self, id: &str, bundle: &Path, more: &[&str]) {
        let bundle = bundle.to_string_lossy();
        let log = self.path().join("log").to_string_lossy().into_owned();
        let first = ["--log", &log, "create", "--bundle", &bundle];
        let last = [id];
        let arguments = first.iter().chain(more).chain(&last).copied();
        let mut command = self.command(arguments);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
    }

    fn state(&self, id: &str) -> Value {
        serde_json::from_str(&self.run(["state", id]).ok()).unwrap()
    }

    #[track_caller]
    fn assert_status(&self, id: &str, status: &str) {
        assert_eq!(self.state(id)["status"], json!(status));
    }

    fn wait_for_status(&self, id: &str, status: &str) {
        wait_until(status, || self.state(id)["status"] == json!(status));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for id in self.run(["list", "-q"]).stdout.lines() {
            self.run(["delete", "--force", id]).ok();
        }
        let mut left = Vec::new();
        for mount in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let parent = mount.path().join(&self.parent);
            let groups = fs::read_dir(&parent).into_iter().flatten().flatten();
            left.extend(groups.filter(|it| it.path().is_dir()).map(|it| it.path()));
            let _gone = fs::remove_dir(parent);
        }
        let _gone = fs::remove_dir(Path::new("/sys/fs/cgroup").join(&self.parent));
        if !std::thread::panicking() {
            assert_eq!(left, Vec::<PathBuf>::new(), "cgroups are left");
        }
    }
}

#[test]
fn a_container_lives_through_commands_of_separate_processes() {
    let place = Place::new();
    let bundle = place.bundle("life", &["sleep", "1000"], |_| {});
    let pid_file = place.path().join("pid");
    place.create("life", &bundle, &["--pid-file", &pid_file.to_string_lossy()]);
    let state = place.state("life");
    assert_eq!(state["status"], json!("created"));
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    assert_eq!(state["bundle"], json!(bundle.canonicalize().unwrap()));
    place.run(["start", "life"]).ok();
    place.assert_status("life", "running");
    place.run(["start", "life"]).fails("cannot start container life, which is running");
    assert_eq!(place.run(["exec", "life", "echo", "-n", "hello"]).ok(), "hello");
    assert_eq!(place.run(["exec", "life", "sh", "-c", "exit 9"]).code, 9);

    place.run(["pause", "life"]).ok();
    place.assert_status("life", "paused");
    place.run(["exec", "life", "true"]).fails("paused");
    place.run(["resume", "life"]).ok();
    place.assert_status("life", "running");

    place.run(["delete", "life"]).fails("cannot delete container life, which is running");
    place.run(["kill", "life", "KILL"]).ok();
    place.wait_for_status("life", "stopped");
    place.run(["kill", "life"]).fails("container not running");
    place.run(["exec", "life", "true"]).fails("container not running");
    place.run(["delete", "life"]).ok();
    place.run(["state", "life"]).fails("container life does not exist");
    place.run(["delete", "--force", "life"]).ok();
}

#[test]
fn run_ends_as_its_process_does() {
    let place = Place::new();
    let check = |id: &str, script: &str, code: i32| {
        let bundle = place.bundle(id, &["sh", "-c", script], |_| {});
        assert_eq!(place.run(["run", "-b", &bundle.to_string_lossy(), id]).code, code);
    };
    check("zero", "exit 0", 0);
    check("seven", "exit 7", 7);
    let bundle = place.bundle("absent", &["no-such-program"], |_| {});
    let ended = place.run(["run", "-b", &bundle.to_string_lossy(), "absent"]);
    assert_eq!(
        ended.fails("exec: \\\"no-such-program\\\": executable file not found in $PATH"),
        127
    );
    let bundle = place.bundle("text", &["/etc/passwd"], |_| {});
    let ended = place.run(["run", "-b", &bundle.to_string_lossy(), "text"]);
    assert_eq!(ended.fails("permission denied"), 126);
    assert_eq!(place.run(["list", "-q"]).ok(), "");
}

#[test]
fn run_passes_signals_on_and_tells_of_death_by_one() {
    let place = Place::new();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 1 & wait $!; done";
    let bundle = place.bundle("term", &["sh", "-c", script], |_| {});
    let executable = wadah_executable();
    let mut command = Command::new(executable);
    command.args(["runtime", "--root"]).arg(place.path().join("state"));
    command.args(["run", "-b"]).arg(&bundle).arg("term");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
}

#[test]
fn an_error_is_a_line_of_json_in_the_log() {
    let place = Place::new();
    let log = place.path().join("log.json");
    let log_name = log.to_string_lossy().into_owned();
    let arguments = ["--log", &log_name, "--log-format", "json", "--debug", "state", "nobody"];
    place.run(arguments).fails("container nobody does not exist");
    let line: Value = serde_json::from_slice(&fs::read(&log).unwrap()).unwrap();
    assert_eq!(line["level"], json!("error"));
    assert_eq!(line["msg"], json!("container nobody does not exist"));
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn an_id_is_taken_once_and_is_one_path_component() {
    let place = Place::new();
    let bundle = place.bundle("one", &["sleep", "1000"], |_| {});
    place.create("one", &bundle, &[]);
    let path = bundle.to_string_lossy();
    place.run(["create", "-b", &path, "one"]).fails("container with id one already exists");
    place.assert_status("one", "created");
    for id in ["../one", "a/b", "..", ""] {
        place.run(["create", "-b", &path, id]).fails("invalid container id");
    }
    place.run(["delete", "one"]).ok();
}

#[test]
fn what_cannot_be_created_leaves_nothing() {
    let place = Place::new();
    let bundle = place.bundle("bad", &["true"], |spec| {
        spec["linux"]["resources"]["cpu"] = json!({ "cpus": "4096" });
    });
    let ended = place.run(["run", "-b", &bundle.to_string_lossy(), "bad"]);
    ended.fails("cpuset.cpus");
    assert_eq!(place.run(["list", "-q"]).ok(), "");
    place.run(["state", "bad"]).fails("does not exist");
}

#[test]
fn resources_are_updated_and_told() {
    let place = Place::new();
    let bundle = place.bundle("res", &["sleep", "1000"], |spec| {
        spec["linux"]["resources"]["memory"] = json!({ "limit": 67_108_864 });
    });
    place.create("res", &bundle, &[]);
    place.run(["start", "res"]).ok();
    let limit = || -> Value {
        let event: Value =
            serde_json::from_str(&place.run(["events", "--stats", "res"]).ok()).unwrap();
        assert_eq!(event["type"], json!("stats"));
        event["data"]["memory"]["usage"]["limit"].clone()
    };
    assert_eq!(limit(), json!(67_108_864));
    place.run(["update", "--memory", "32m", "--pids-limit", "9", "res"]).ok();
    assert_eq!(limit(), json!(33_554_432));
    let resources = place.path().join("resources.json");
    fs::write(&resources, json!({ "memory": { "limit": 50_331_648 } }).to_string()).unwrap();
    place.run(["update", "-r", &resources.to_string_lossy(), "res"]).ok();
    assert_eq!(limit(), json!(50_331_648));
    let pids: Vec<i64> =
        serde_json::from_str(&place.run(["ps", "-f", "json", "res"]).ok()).unwrap();
    assert_eq!(json!(pids), json!([place.state("res")["pid"]]));
    let list: Value = serde_json::from_str(&place.run(["list", "-f", "json"]).ok()).unwrap();
    assert_eq!(list[0]["id"], json!("res"));
    assert!(place.run(["list"]).ok().lines().nth(1).unwrap().contains("running"));
}

#[test]
fn exec_has_the_containers_confinement_and_what_its_flags_say() {
    let place = Place::new();
    let bundle = place.bundle("host", &["sleep", "1000"], |spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 },
            ],
        });
    });
    place.create("host", &bundle, &[]);
    place.run(["start", "host"]).ok();
    let script = "id -u; id -g; pwd; echo $COLOUR; grep -E '^(Seccomp|NoNewPrivs|CapEff|CapInh|CapAmb):' \
                  /proc/self/status; mkdir /tmp/x 2>&1; cat /proc/self/cgroup";
    let text = place
        .run(["exec", "-u", "5:6", "--cwd", "/tmp", "-e", "COLOUR=red", "host", "sh", "-c", script])
        .ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..4], ["5", "6", "/tmp", "red"], "{text}");
    assert!(text.contains("Seccomp:\t2"), "{text}");
    assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    assert!(text.contains("CapInh:\t0000000000000000"), "{text}");
    assert!(text.contains("CapAmb:\t0000000000000000"), "{text}");
    assert!(text.contains("Not supported") || text.contains("not supported"), "{text}");
    assert!(
        lines
            .iter()
            .filter(|it| it.contains("::") || it.contains(":/"))
            .all(|it| it.ends_with(":/"))
    );
    let process = place.path().join("process.json");
    let own =
        json!({ "args": ["sh", "-c", "exit 11"], "cwd": "/", "user": { "uid": 0, "gid": 0 } });
    fs::write(&process, own.to_string()).unwrap();
    assert_eq!(place.run(["exec", "--process", &process.to_string_lossy(), "host"]).code, 11);
    assert_eq!(place.run(["exec", "host", "nope"]).fails("not found in $PATH"), 127);
}

#[test]
fn a_terminal_goes_to_the_console_socket() {
    let place = Place::new();
    let bundle = place.bundle("tty", &["sh", "-c", "read word; echo got $word"], |spec| {
        spec["process"]["terminal"] = json!(true);
    });
    let path = bundle.to_string_lossy().into_owned();
    place.run(["create", "-b", &path, "tty"]).fails("--console-socket");
    let socket = place.path().join("console.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    place.create("tty", &bundle, &["--console-socket", &socket.to_string_lossy()]);
    let mut terminal = fs::File::from(receive(&listener.accept().unwrap().0));
    place.run(["start", "tty"]).ok();
    std::io::Write::write_all(&mut terminal, b"gold\n").unwrap();
    let mut text = String::new();
    let mut chunk = [0; 256];
    // The terminal answers EIO once the other side is closed.
    while let Ok(count @ 1..) = terminal.read(&mut chunk) {
        text.push_str(&String::from_utf8_lossy(&chunk[..count]));
    }
    assert!(text.contains("got gold"), "{text:?}");
    place.wait_for_status("tty", "stopped");
}

fn receive(stream: &UnixStream) -> OwnedFd {
    receive_with(stream).0
}

/// Receives a descriptor and the data it came with.
fn receive_with(stream: &UnixStream) -> (OwnedFd, Vec<u8>) {
    let mut data = [0; 65536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let count = recvmsg(stream, &mut [IoSliceMut::new(&mut data)], &mut control, flags).unwrap();
    let message = control.drain().next();
    let Some(RecvAncillaryMessage::ScmRights(mut descriptors)) = message else {
        panic!("no descriptor came");
    };
    (descriptors.next().unwrap(), data[..count.bytes].to_vec())
}

#[test]
fn an_agent_gets_the_listener_of_a_notifying_filter_and_the_state() {
    let place = Place::new();
    let socket = place.path().join("agent.sock");
    let agent = UnixListener::bind(&socket).unwrap();
    let bundle = place.bundle("watched", &["mkdir", "/tmp/watched"], |spec| {
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": socket,
            "listenerMetadata": "for the agent",
            "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY" }],
        });
        spec["root"]["readonly"] = json!(false);
    });
    let answering = std::thread::spawn(move || receive_with(&agent.accept().unwrap().0));
    place.create("watched", &bundle, &[]);
    place.run(["start", "watched"]).ok();
    let (listener, state) = answering.join().unwrap();
    let state: Value = serde_json::from_slice(&state).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], json!("for the agent"));
    assert_eq!(state["state"]["id"], json!("watched"));
    assert_eq!(state["pid"], place.state("watched")["pid"]);
    // The process waits in its system call for our answer; without an agent it fails.
    let mut pending = [rustix::event::PollFd::new(&listener, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut pending, Some(&limit)), Ok(1));
    place.assert_status("watched", "running");
    drop(listener);
    place.wait_for_status("watched", "stopped");
}

#[test]
fn hooks_run_at_both_ends() {
    let place = Place::new();
    let trace = place.path().join("trace");
    let hook = |name: &str| json!([{ "path": "/bin/sh", "args": ["sh", "-c", format!("echo {name} >> {}", trace.display())] }]);
    let bundle = place.bundle("hooked", &["true"], |spec| {
        spec["hooks"] = json!({
            "createRuntime": hook("createRuntime"),
            "poststart": hook("poststart"),
            "poststop": hook("poststop"),
        });
    });
    place.create("hooked", &bundle, &[]);
    place.run(["start", "hooked"]).ok();
    place.wait_for_status("hooked", "stopped");
    assert_eq!(fs::read_to_string(&trace).unwrap(), "createRuntime\npoststart\n");
    place.run(["delete", "hooked"]).ok();
    assert_eq!(fs::read_to_string(&trace).unwrap(), "createRuntime\npoststart\npoststop\n");
}

#[test]
fn descriptors_are_passed_only_when_asked_for() {
    let place = Place::new();
    let script = "ls /proc/self/fd | tr '\\n' ' '";
    let count = |id: &str, flags: &str| {
        let bundle = place.bundle(id, &["sh", "-c", script], |_| {});
        let executable = wadah_executable();
        let line = format!(
            "exec 3</dev/null 4</dev/null; exec {} runtime --root {} run {flags} -b {} {id}",
            executable.display(),
            place.path().join("state").display(),
            bundle.display()
        );
        let output = Command::new("sh").args(["-c", &line]).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // One more is the directory that `ls` reads.
        String::from_utf8_lossy(&output.stdout).split_whitespace().count() - 1
    };
    assert_eq!(count("closed", ""), 3);
    assert_eq!(count("open", "--preserve-fds 2"), 5);
}

#[test]
fn features_are_told_as_the_specification_has_them() {
    let place = Place::new();
    let features: Value = serde_json::from_str(&place.run(["features"]).ok()).unwrap();
    assert_eq!(features["ociVersionMax"], json!("1.2.1"));
    let namespaces = features["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&json!("time")));
    assert_eq!(features["linux"]["seccomp"]["enabled"], json!(true));
    let version = place.run(["--version"]).ok();
    assert!(version.contains("version") || version.starts_with("wadah-runtime"), "{version}");
}
