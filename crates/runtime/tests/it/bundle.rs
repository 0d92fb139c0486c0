//! A bundle made of busybox, and what running it gives.

use std::{
    fs::{self, File},
    io::Read as _,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use oci_spec::runtime::Spec;
use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{WaitId, WaitIdOptions, waitid},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use wadah_runtime::{
    CreateError, Created, ExecError, ExecRequest, Gate, Overlay, Request, Rootfs, Running,
    SeccompPolicy, StartError, Stdio, cgroup::Location, create, exec,
};

const BUSYBOX: &str = "/usr/bin/busybox";

/// A read-only root filesystem that all tests stand on. It stays with the build.
static BASE: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let base = target.join("base-3");
    if !base.exists() {
        let draft = tempfile::tempdir_in(target).unwrap().keep();
        make_base(&draft);
        // Another test process may have been faster.
        if fs::rename(&draft, &base).is_err() {
            fs::remove_dir_all(&draft).unwrap();
        }
    }
    base
});

fn make_base(base: &Path) {
    fs::set_permissions(base, fs::Permissions::from_mode(0o755)).unwrap();
    let bin = base.join("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
    let list = Command::new(BUSYBOX).arg("--list").output().unwrap();
    for applet in String::from_utf8(list.stdout).unwrap().lines().filter(|it| *it != "busybox") {
        symlink("busybox", bin.join(applet)).unwrap();
    }
    for directory in ["etc", "tmp", "root", "home/user"] {
        fs::create_dir_all(base.join(directory)).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
    fs::write(base.join("etc/passwd"), passwd).unwrap();
    // Written here and not by tests: a file that any process of ours, born meanwhile, holds open
    // for writing is busy.
    fs::write(base.join("plain-text"), "text").unwrap();
    fs::write(base.join("garbage"), "\x01\x02\x03\x04").unwrap();
    fs::set_permissions(base.join("garbage"), fs::Permissions::from_mode(0o755)).unwrap();
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn scratch(name: &str) -> TempDir {
    let scratch =
        tempfile::Builder::new().prefix(&format!("wadah-runtime-{name}-")).tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    scratch
}

/// What came out of a container.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Its exit code, or 128 + the signal.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
    /// The runtime's warnings.
    pub(crate) warnings: Vec<String>,
}

/// A specification, a root filesystem of its own and a cgroup.
pub(crate) struct Bundle {
    /// The specification, as JSON.
    pub(crate) spec: Value,
    /// Where its files are.
    pub(crate) directory: TempDir,
    /// Which filter it gets.
    pub(crate) seccomp: SeccompPolicy,
    /// Whether an init goes before.
    pub(crate) init: bool,
    /// Whether the root is changed by `chroot`.
    pub(crate) no_pivot: bool,
    /// A directory to be the root instead of the overlay.
    pub(crate) root: Option<PathBuf>,
    /// Layers instead of the base, the nearest first.
    pub(crate) lower: Vec<PathBuf>,
    name: String,
}

/// Runs a script in a container whose specification `edit` has changed.
pub(crate) fn run(script: &str, edit: impl FnOnce(&mut Value)) -> Outcome {
    let mut bundle = Bundle::new(script);
    edit(&mut bundle.spec);
    bundle.run().unwrap_or_else(|error| panic!("{error}"))
}

/// Adds to a list of a specification.
pub(crate) fn push(spec: &mut Value, pointer: &str, value: Value) {
    spec.pointer_mut(pointer).unwrap().as_array_mut().unwrap().push(value);
}

/// A message with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |it| it.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// A running container and the reading ends of its streams.
pub(crate) struct Live {
    /// The container.
    pub(crate) running: Running,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

impl Bundle {
    pub(crate) fn new(script: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = scratch("bundle");
        for name in ["upper", "work", "shared"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self {
            spec: default_spec(script),
            directory,
            seccomp: SeccompPolicy::Default,
            init: false,
            no_pivot: false,
            root: None,
            lower: vec![BASE.clone()],
            name: format!("wadah-runtime-test-{}-{number}", std::process::id()),
        }
    }

    /// A directory of the host that containers may be given.
    pub(crate) fn shared(&self) -> PathBuf {
        self.directory.path().join("shared")
    }

    /// Adds to a list of the specification.
    pub(crate) fn push(&mut self, pointer: &str, value: Value) {
        push(&mut self.spec, pointer, value);
    }

    /// A path in the container's writable layer.
    pub(crate) fn upper(&self, path: &str) -> PathBuf {
        self.directory.path().join("upper").join(path)
    }

    pub(crate) fn spec(&self) -> Spec {
        serde_json::from_value(self.spec.clone()).unwrap()
    }

    /// Makes the container.
    pub(crate) fn create(&self, stdio: Stdio, gate: Gate) -> Result<Created, CreateError> {
        let path = |name: &str| self.directory.path().join(name);
        let overlay = Overlay {
            lower: self.lower.clone(),
            upper: path("upper"),
            work: path("work"),
            volatile: false,
        };
        create(Request {
            id: &self.name,
            spec: &self.spec(),
            bundle: self.directory.path(),
            rootfs: self.root.as_deref().map_or(Rootfs::Overlay(&overlay), Rootfs::Directory),
            cgroup: Location::new(&self.name).unwrap(),
            stdio,
            preserve_fds: 0,
            seccomp: self.seccomp,
            init: self.init,
            gate,
            no_pivot: self.no_pivot,
            no_new_keyring: false,
            parent_death_signal: false,
        })
    }

    /// Makes and starts it.
    pub(crate) fn start(&self) -> Result<Live, String> {
        let (stdio, stdout, stderr) = pipes();
        let created = self.create(stdio, Gate::Pipe).map_err(|it| chain(&it))?;
        let running = created.start().map_err(|it: StartError| chain(&it))?;
        Ok(Live { running, stdout, stderr })
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Result<Outcome, String> {
        self.start().map(Live::wait)
    }

    /// Runs a script in it.
    pub(crate) fn exec(&self, live: &Live, script: &str) -> Outcome {
        self.exec_with(live, script, |_| ()).unwrap_or_else(|error| panic!("{}", chain(&error)))
    }

    pub(crate) fn exec_with(
        &self,
        live: &Live,
        script: &str,
        edit: impl FnOnce(&mut Value),
    ) -> Result<Outcome, ExecError> {
        let mut process = self.spec["process"].clone();
        process["args"] = json!(["sh", "-c", script]);
        edit(&mut process);
        let (stdio, stdout, stderr) = pipes();
        let process = exec(ExecRequest {
            init: live.running.pid,
            spec: &self.spec(),
            process: &serde_json::from_value(process).unwrap(),
            cgroup: Some(&live.running.cgroup),
            stdio,
            preserve_fds: 0,
            seccomp: self.seccomp,
            parent_death_signal: false,
        })?;
        let (stdout, stderr) = (read(stdout), read(stderr));
        Ok(Outcome { code: wait(&process.pidfd), stdout, stderr, warnings: process.warnings })
    }
}

impl Live {
    /// Waits for its end, and cleans up.
    pub(crate) fn wait(self) -> Outcome {
        let (stdout, stderr) = (read(self.stdout), read(self.stderr));
        let code = wait(&self.running.pidfd);
        self.running.cgroup.kill_all().unwrap();
        self.running.cgroup.delete().unwrap();
        Outcome { code, stdout, stderr, warnings: self.running.warnings }
    }

    pub(crate) fn kill(self) -> Outcome {
        rustix::process::pidfd_send_signal(&self.running.pidfd, rustix::process::Signal::KILL)
            .unwrap();
        self.wait()
    }
}

/// Standard streams that end in pipes.
pub(crate) fn pipes() -> (Stdio, OwnedFd, OwnedFd) {
    let null = File::open("/dev/null").unwrap();
    let (stdout_reads, stdout) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (stderr_reads, stderr) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    (Stdio::Files { stdin: null.into(), stdout, stderr }, stdout_reads, stderr_reads)
}

pub(crate) fn read(pipe: OwnedFd) -> String {
    let mut text = String::new();
    File::from(pipe).read_to_string(&mut text).unwrap();
    text
}

/// The exit code of a child, or 128 + the signal that killed it.
pub(crate) fn wait(pidfd: &OwnedFd) -> i32 {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).unwrap().unwrap();
    status.exit_status().unwrap_or_else(|| 128 + status.terminating_signal().unwrap())
}

pub(crate) fn base() -> &'static Path {
    &BASE
}

/// What the engine asks for when nothing is said.
fn default_spec(script: &str) -> Value {
    let capabilities = json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FSETID",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_NET_RAW",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SETFCAP",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE",
        "CAP_SYS_CHROOT",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
    ]);
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    json!({
        "ociVersion": "1.2.0",
        "hostname": "box",
        "process": {
            "args": ["sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "capabilities": {
                "bounding": capabilities, "permitted": capabilities, "effective": capabilities,
            },
        },
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", &["ro", "nosuid", "noexec", "nodev"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"]),
        ],
        "linux": {
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "network"}, {"type": "cgroup"},
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/acpi", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
