//! A daemon of one's own, in a network namespace of its own.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{Output, fixture, leaks, wait_until};

/// A daemon with its own network namespace, roots and cgroup parent.
///
/// Dropping it stops the daemon and fails the test if anything is left behind, unless the test is
/// failing already; then it only cleans up and shows the end of the daemon's log.
pub struct Sandbox {
    root: tempfile::TempDir,
    holder: Child,
    daemon: Option<Child>,
    cgroup_parent: String,
    executable: PathBuf,
    arguments: Vec<String>,
}

/// The executable under test: `$WADAH_BIN`, or the one beside the test's own target directory.
pub fn wadah_executable() -> PathBuf {
    if let Some(path) = std::env::var_os("WADAH_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("BUG: a running program has a path");
    let candidates = own.ancestors().map(|it| it.join("wadah"));
    candidates.into_iter().find(|it| it.is_file()).expect("BUG: wadah is built before its tests")
}

/// The real `docker` client, if the machine has it.
pub fn docker() -> Option<PathBuf> {
    ["/usr/local/bin/docker", "/usr/bin/docker"].iter().map(PathBuf::from).find(|it| it.is_file())
}

impl Sandbox {
    /// Starts a daemon and loads the image `busybox`.
    pub fn new() -> Result<Self> {
        let sandbox = Self::bare()?;
        sandbox.load_busybox()?;
        Ok(sandbox)
    }

    /// Loads the image `busybox`.
    pub fn load_busybox(&self) -> Result<()> {
        let archive = fixture::busybox(self.path())?;
        self.wadah(["load", "-i", &archive.to_string_lossy()]).ok();
        Ok(fs::remove_file(archive)?)
    }

    /// Starts a daemon without any image but the built-in one.
    pub fn bare() -> Result<Self> {
        Self::with_arguments(&[])
    }

    /// Starts a daemon with more arguments.
    pub fn with_arguments(arguments: &[&str]) -> Result<Self> {
        Self::of(wadah_executable(), arguments)
    }

    /// Starts `executable` as the daemon, and uses it as the client.
    pub fn of(executable: PathBuf, arguments: &[&str]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("wadah-test-{}-{count}", std::process::id());
        let root = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in("/tmp")?;
        let mut sandbox = Self {
            root,
            holder: hold_namespace()?,
            daemon: None,
            executable,
            cgroup_parent: format!("/{name}"),
            arguments: arguments.iter().map(|&it| it.into()).collect(),
        };
        sandbox.start_daemon()?;
        Ok(sandbox)
    }

    /// The directory that everything of this sandbox is below.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("wadah.sock")
    }

    /// The daemon's data root.
    pub fn data_root(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The daemon's exec root.
    pub fn exec_root(&self) -> PathBuf {
        self.path().join("run")
    }

    /// The parent of the containers' cgroups, with its leading slash.
    pub fn cgroup_parent(&self) -> &str {
        &self.cgroup_parent
    }

    /// The daemon's process id.
    ///
    /// # Panics
    /// If it was killed and not started again.
    pub fn daemon_pid(&self) -> u32 {
        self.daemon.as_ref().expect("BUG: asked for the pid of no daemon").id()
    }

    /// The network namespace, as a path for `nsenter --net=`.
    pub fn namespace(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Kills the daemon with SIGKILL, as a crash would.
    pub fn kill_daemon(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("there is no daemon to kill")?;
        daemon.kill()?;
        daemon.wait()?;
        Ok(())
    }

    /// Stops the daemon with SIGTERM and waits for it.
    pub fn stop_daemon(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("there is no daemon to stop")?;
        let pid = rustix::process::Pid::from_child(&daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let mut status = None;
        wait_until("the daemon ends after SIGTERM", || {
            status = daemon.try_wait().ok().flatten();
            status.is_some()
        });
        ensure!(status.is_some_and(|it| it.success()), "the daemon ended with {status:?}");
        Ok(())
    }

    /// Starts the daemon (again) and waits until it answers.
    pub fn start_daemon(&mut self) -> Result<()> {
        let path = self.path();
        let log = File::options().create(true).append(true).open(path.join("daemon.log"))?;
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace()))
            .arg("--")
            .arg(&self.executable)
            .args(["daemon", "-H"])
            .arg(format!("unix://{}", self.socket().display()))
            .arg("--data-root")
            .arg(self.data_root())
            .arg("--exec-root")
            .arg(self.exec_root())
            .arg("--pidfile")
            .arg(path.join("daemon.pid"))
            .args(["--cgroup-parent", &self.cgroup_parent])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        self.daemon = Some(command.spawn().context("nsenter")?);
        self.wait_until_ready()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let socket = self.socket();
        let Some(daemon) = &mut self.daemon else { bail!("there is no daemon") };
        let mut ended = None;
        wait_until("the daemon answers", || {
            ended = daemon.try_wait().ok().flatten();
            ended.is_some() || ping(&socket)
        });
        ensure!(ended.is_none(), "the daemon ended at once: {}", self.log());
        Ok(())
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("daemon.log")).unwrap_or_default()
    }

    /// Runs `wadah` against this daemon.
    pub fn wadah<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        run(self.wadah_command().args(arguments))
    }

    /// Runs the real docker client against this daemon; check [`docker`] first.
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        run(self.docker_command().args(arguments))
    }

    /// `wadah` with the address of this daemon, ready for more arguments.
    pub fn wadah_command(&self) -> Command {
        let mut command = self.clean_command(self.executable.clone());
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        command
    }

    /// The docker client with the address of this daemon, ready for more arguments.
    ///
    /// # Panics
    /// If the machine has no docker client.
    pub fn docker_command(&self) -> Command {
        let mut command =
            self.clean_command(docker().expect("BUG: asked for a docker client where none is"));
        command.arg("-H").arg(format!("unix://{}", self.socket().display()));
        command.env("DOCKER_CONFIG", self.path().join("docker-config"));
        command
    }

    /// Any program, inside this sandbox's network namespace.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace())).arg("--").arg(program);
        command
    }

    fn clean_command(&self, program: PathBuf) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.namespace()))
            .arg("--")
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path())
            .env("TZ", "UTC")
            .stdin(Stdio::null());
        command
    }

    /// What of this sandbox is still there although it should not be: call it when all containers
    /// are removed.
    pub fn leaks(&self) -> Vec<String> {
        let mut leaks = leaks::cgroups(&self.cgroup_parent);
        leaks.extend(leaks::files(&self.exec_root().join("containers")));
        leaks.extend(leaks::files(&self.data_root().join("containers")));
        leaks.extend(
            leaks::processes(&format!("{}/", self.exec_root().display()))
                .into_iter()
                .filter(|it| it.contains("shim")),
        );
        leaks.extend(leaks::mounts(self.path()));
        leaks.extend(self.network_leaks());
        leaks
    }

    fn network_leaks(&self) -> Vec<String> {
        let links = run(self.inside("ip").args(["-o", "link"])).stdout;
        let veths = links.lines().filter(|it| it.contains("@if")).map(|it| format!("link {it}"));
        let rules = run(self.inside("nft").args(["list", "ruleset"])).stdout;
        let published = rules
            .lines()
            .filter(|it| it.contains("elements") && it.contains(" : "))
            .map(|it| format!("nft {it}"));
        veths.chain(published).collect()
    }

    /// Removes every container and asserts that nothing is left behind.
    #[track_caller]
    pub fn assert_clean(&self) {
        let ids = self.wadah(["ps", "-aq", "--no-trunc"]).ok();
        for id in ids.lines() {
            self.wadah(["rm", "-f", id]).ok();
        }
        let mut left = Vec::new();
        wait_until_quietly(|| {
            left = self.leaks();
            left.is_empty()
        });
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
    }

    fn tear_down(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            drop(daemon.kill());
            drop(daemon.wait());
        }
        drop(self.holder.kill());
        drop(self.holder.wait());
        // What was killed a moment ago may still be leaving its cgroups.
        let begin = std::time::Instant::now();
        while !leaks::remove_cgroup_parent(&self.cgroup_parent).is_empty()
            && begin.elapsed() < std::time::Duration::from_secs(2)
        {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let from = log.char_indices().rev().nth(8000).map_or(0, |(at, _)| at);
            eprintln!("--- the daemon's log\n{}", &log[from..]);
            for id in run(self.wadah_command().args(["ps", "-aq"])).stdout.lines() {
                drop(run(self.wadah_command().args(["rm", "-f", id])));
            }
        } else if self.daemon.is_some() {
            self.assert_clean();
        }
        self.tear_down();
    }
}

/// Starts a process that only keeps a new network namespace alive, with its loopback up.
fn hold_namespace() -> Result<Child> {
    let script = "ip link set lo up && echo ready && exec sleep infinity";
    let mut holder = Command::new("unshare")
        .args(["--net", "--", "setpriv", "--pdeathsig", "KILL", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("unshare")?;
    let mut line = String::new();
    let stdout = holder.stdout.take().context("the holder's output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    ensure!(line == "ready\n", "cannot make a network namespace: {line:?}");
    Ok(holder)
}

fn ping(socket: &Path) -> bool {
    use std::io::{Read as _, Write as _};
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(socket) else { return false };
    let request = b"GET /_ping HTTP/1.1\r\nHost: wadah\r\nConnection: close\r\n\r\n";
    let mut reply = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut reply).is_ok()
        && reply.starts_with("HTTP/1.1 200")
}

fn run(command: &mut Command) -> Output {
    let words = command.get_args().map(|it| it.to_string_lossy().into_owned());
    let line = words.collect::<Vec<_>>().join(" ");
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    Output::new(line, &output)
}

/// Like [`wait_until`], but leaves it to the caller to complain.
fn wait_until_quietly(mut is_true: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_true() && begin.elapsed() < std::time::Duration::from_secs(10) {
        thread::sleep(std::time::Duration::from_millis(5));
    }
}
