//! A container of a test's own, and a blocking client of its shim.
//!
//! **Invariant:** when a [`Container`] is dropped, nothing of it is left: no process, control
//! group or file.

use std::{
    collections::VecDeque,
    env,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use wadah_shim::{
    launch::{Launcher, Shim, bury, reattach, remains},
    protocol::{
        Answer, Call, Decoder, Event, Exec, Exit, Failure, Kind, Launch, Log, Message, Outcome,
        Request, Rootfs, Seccomp, State, Streams, VERSION, encode, encode_message,
    },
};
use wadah_testkit::wait_until;

/// How long a test waits for one answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// A container with its shim.
pub(crate) struct Container {
    pub(crate) directory: TempDir,
    pub(crate) launch: Launch,
    pub(crate) shim: Shim,
    pub(crate) client: Client,
}

/// What a test wants of its container.
pub(crate) struct Recipe {
    pub(crate) launch: Launch,
    pub(crate) spec: Value,
    directory: TempDir,
}

/// A client of a shim, on one connection.
pub(crate) struct Client {
    socket: UnixStream,
    decoder: Decoder,
    last_id: u64,
    /// Frames that came while something else was awaited.
    frames: VecDeque<(Kind, Vec<u8>)>,
}

/// What came over an attached connection until output ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) lost: u64,
}

impl Output {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

/// A container that runs busybox with these arguments.
pub(crate) fn recipe(arguments: &[&str]) -> Recipe {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let id = format!("shimtest-{}-{number}", std::process::id());
    let directory = TempDir::with_prefix("wadah-shim-").unwrap();
    let rootfs = directory.path().join("rootfs");
    make_rootfs(&rootfs);
    let launch = Launch {
        version: VERSION,
        id: id.clone(),
        run_dir: directory.path().join("run"),
        rootfs: Rootfs::Directory { path: rootfs },
        cgroup: id,
        seccomp: Seccomp::Default,
        init: false,
        stdin: false,
        stdin_once: false,
        terminal: false,
        terminal_size: None,
        log: Some(Log {
            path: directory.path().join("log"),
            max_size: 0,
            max_files: 1,
            attributes: [].into(),
        }),
        runtime: None,
    };
    Recipe { launch, spec: spec(arguments), directory }
}

/// A container that runs a shell script.
pub(crate) fn script(text: &str) -> Recipe {
    recipe(&["sh", "-c", text])
}

impl Recipe {
    /// Changes how the shim is launched.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Launch)) -> Self {
        change(&mut self.launch);
        self.spec["process"]["terminal"] = self.launch.terminal.into();
        self
    }

    /// Changes the specification.
    pub(crate) fn with_spec(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Launches the shim, and waits until the container is made.
    #[track_caller]
    pub(crate) fn create(self) -> Container {
        let mut container = self.launch();
        container.client.call(Call::Created).unwrap();
        container
    }

    /// Launches the shim.
    pub(crate) fn launch(self) -> Container {
        let Self { launch, spec, directory } = self;
        let launcher = Launcher::new(OwnedFd::from(File::open(shim()).unwrap()), ["shim"]);
        let spec = serde_json::to_vec(&spec).unwrap();
        let shim = launcher.launch(&launch, &spec, None).unwrap();
        let client = Client::new(shim.connection.try_clone().unwrap());
        Container { directory, launch, shim, client }
    }

    /// Creates the container, subscribes to its events, and starts it.
    #[track_caller]
    pub(crate) fn start(self) -> Container {
        let mut container = self.create();
        container.client.call(Call::Subscribe).unwrap();
        container.client.call(Call::Start).unwrap();
        container
    }

    /// Creates it, attaches to its streams on a second connection, and starts it.
    #[track_caller]
    pub(crate) fn start_attached(self) -> (Container, Client) {
        let mut container = self.create();
        container.client.call(Call::Subscribe).unwrap();
        let mut attached = container.connect();
        attached.attach(None);
        container.client.call(Call::Start).unwrap();
        (container, attached)
    }
}

impl Container {
    /// Another connection.
    pub(crate) fn connect(&self) -> Client {
        Client::new(reattach(&self.launch.run_dir).unwrap())
    }

    /// Waits for the end of the container.
    #[track_caller]
    pub(crate) fn wait(&mut self) -> Exit {
        loop {
            if let Event::Exited(exit) = self.client.event() {
                return exit;
            }
        }
    }

    /// The text of the log: of the older files, and the current one.
    pub(crate) fn logged(&self) -> String {
        let path = &self.launch.log.as_ref().unwrap().path;
        let older = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
        let files = (1..10).rev().map(older).chain([path.clone()]);
        let mut text = String::new();
        for file in files {
            let written = fs::read_to_string(file).unwrap_or_default();
            // The last entry may be in the middle of being written.
            let whole = written.rfind('\n').map_or("", |end| &written[..end]);
            for line in whole.lines() {
                let entry: Value = serde_json::from_str(line).unwrap();
                text.push_str(entry["log"].as_str().unwrap());
            }
        }
        text
    }

    /// How the container ended, as the shim wrote it down.
    pub(crate) fn persisted_exit(&self) -> Option<Exit> {
        remains(&self.launch.run_dir).exit
    }

    /// Whether the shim's process still exists.
    pub(crate) fn shim_is_alive(&self) -> bool {
        !self.shim.process.try_reap().unwrap_or(true)
    }

    /// Waits until the shim's process has ended.
    #[track_caller]
    pub(crate) fn wait_for_shim(&self) {
        wait_until("the shim ends", || !self.shim_is_alive());
    }

    pub(crate) fn has_cgroup(&self) -> bool {
        let hierarchies = fs::read_dir("/sys/fs/cgroup").unwrap();
        let mut groups = hierarchies.map(|it| it.unwrap().path().join(&self.launch.cgroup));
        groups.any(|group| group.exists())
            || Path::new("/sys/fs/cgroup").join(&self.launch.cgroup).exists()
    }

    /// A file of the container.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join("rootfs").join(name)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.shim_is_alive() {
            // The number is the shim's: it is our child, and not reaped.
            let _ = kill_process(self.shim.process.pid(), Signal::KILL);
            wait_until("the shim dies", || !self.shim_is_alive());
        }
        bury(&self.launch.run_dir).unwrap();
    }
}

impl Client {
    pub(crate) fn new(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket, decoder: Decoder::new(), last_id: 0, frames: VecDeque::new() }
    }

    /// The bare connection.
    pub(crate) fn into_socket(self) -> UnixStream {
        self.socket
    }

    /// Asks, and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        self.last_id += 1;
        let mut bytes = Vec::new();
        encode_message(&Request { id: self.last_id, call }, &mut bytes).unwrap();
        self.socket.write_all(&bytes).unwrap();
        self.answer(self.last_id)
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub(crate) fn answer(&mut self, id: u64) -> Result<Answer, Failure> {
        let mut others = VecDeque::new();
        loop {
            let (kind, payload) = self.frame().expect("the shim closed the connection");
            if kind == Kind::Control
                && let Message::Reply { id: replied, outcome } =
                    serde_json::from_slice(&payload).unwrap()
            {
                assert_eq!(replied, id);
                // In front of what came later, in order.
                others.append(&mut self.frames);
                self.frames = others;
                return match outcome {
                    Outcome::Ok(answer) => Ok(answer),
                    Outcome::Error(failure) => Err(failure),
                };
            }
            others.push_back((kind, payload));
        }
    }

    #[track_caller]
    pub(crate) fn state(&mut self) -> State {
        match self.call(Call::State).unwrap() {
            Answer::State(state) => state,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for the next event, passing over output.
    #[track_caller]
    pub(crate) fn event(&mut self) -> Event {
        loop {
            let (kind, payload) = self.frame().expect("the shim closed the connection");
            if kind == Kind::Control
                && let Message::Event(event) = serde_json::from_slice(&payload).unwrap()
            {
                return event;
            }
        }
    }

    /// Attaches to all streams of a process.
    #[track_caller]
    pub(crate) fn attach(&mut self, exec: Option<&str>) {
        let exec = exec.map(ToOwned::to_owned);
        self.call(Call::Attach { exec, stdin: true, stdout: true, stderr: true }).unwrap();
    }

    /// Runs a command in the container, attached on this connection; returns the pid.
    #[track_caller]
    pub(crate) fn exec(&mut self, id: &str, arguments: &[&str]) -> Result<i32, Failure> {
        self.exec_process(
            id,
            json!({
                "args": arguments, "cwd": "/", "user": { "uid": 0, "gid": 0 },
                "env": ["PATH=/bin"], "terminal": false
            }),
        )
    }

    #[track_caller]
    pub(crate) fn exec_process(&mut self, id: &str, process: Value) -> Result<i32, Failure> {
        let attach = Some(Streams { stdin: true, stdout: true, stderr: true });
        let exec = Exec { id: id.into(), process, stdin: true, attach, unconfined: false };
        match self.call(Call::Exec(Box::new(exec)))? {
            Answer::Pid { pid } => Ok(pid),
            other => panic!("{other:?}"),
        }
    }

    /// Writes to the process.
    pub(crate) fn send(&mut self, kind: Kind, payload: &[u8]) {
        let mut bytes = Vec::new();
        encode(kind, payload, &mut bytes);
        self.socket.write_all(&bytes).unwrap();
    }

    pub(crate) fn send_raw(&mut self, bytes: &[u8]) {
        // The shim may have closed it already.
        drop(self.socket.write_all(bytes));
    }

    /// Reads until output ends.
    #[track_caller]
    pub(crate) fn read_output(&mut self) -> Output {
        let mut output = Output::default();
        while self.read_some(&mut output) {}
        output
    }

    /// Reads one frame of output; says whether it was not the last.
    #[track_caller]
    pub(crate) fn read_some(&mut self, output: &mut Output) -> bool {
        let (kind, payload) = self.frame().expect("the shim closed the connection");
        match kind {
            Kind::Stdout => output.stdout.extend(payload),
            Kind::Stderr => output.stderr.extend(payload),
            Kind::Lost => output.lost += u64::from_be_bytes(payload[..].try_into().unwrap()),
            Kind::OutputEof => return false,
            Kind::Control => {}
            other => panic!("{other:?}"),
        }
        true
    }

    /// Reads until the output holds `text`.
    #[track_caller]
    pub(crate) fn read_until(&mut self, output: &mut Output, text: &str) {
        while !String::from_utf8_lossy(&output.stdout).contains(text) {
            assert!(self.read_some(output), "{text:?} never came: {output:?}");
        }
    }

    /// The next frame; nothing at the end of the connection.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        if let Some(frame) = self.frames.pop_front() {
            return Some(frame);
        }
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some((frame.kind, frame.payload.to_vec()));
            }
            match self.decoder.read_from(&self.socket).map_err(std::io::Error::from) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Whether a process exists, and is no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit_once(") ").map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

/// The program of `examples/supervise-one.rs`.
fn shim() -> PathBuf {
    let test = env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/supervise-one");
    assert!(path.exists(), "{} is not built: run `cargo test -p wadah-shim`", path.display());
    path
}

fn make_rootfs(rootfs: &Path) {
    for directory in ["bin", "proc", "dev", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(directory)).unwrap();
    }
    fs::copy("/usr/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "sleep", "true", "false", "echo", "yes", "head", "dd", "stty", "tty", "wc",
        "seq", "kill", "test", "id", "touch", "tr", "od",
    ] {
        std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(name)).unwrap();
    }
}

fn spec(arguments: &[&str]) -> Value {
    let namespaces = ["pid", "mount", "uts", "ipc", "network", "cgroup"];
    let capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "ociVersion": "1.2.0",
        "hostname": "test",
        "root": { "path": "rootfs", "readonly": false },
        "process": {
            "args": arguments, "cwd": "/", "user": { "uid": 0, "gid": 0 }, "terminal": false,
            "env": ["PATH=/bin", "TERM=xterm"], "noNewPrivileges": true,
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            }
        },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }
        ],
        "linux": {
            "namespaces": namespaces.map(|kind| json!({ "type": kind })),
            "resources": {}
        }
    })
}
