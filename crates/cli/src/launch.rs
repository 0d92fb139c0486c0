//! Launching a daemon where there is none.
//!
//! Only root may, and only at the default address: an address that somebody chose is theirs to
//! serve. The daemon runs in a session of its own, so that no terminal's signal reaches it, and
//! outlives the command that started it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use tokio::{net::UnixStream, time};

use crate::{
    failure::Failure,
    host::{DEFAULT_SOCKET, Host},
    output,
};

/// The hidden command that becomes the daemon.
pub(crate) const STEP: &str = "become-daemon";
/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(15);
/// Where the daemon's log goes; the second is for read-only systems.
const LOGS: [&str; 2] = ["/var/log/wadah.log", "/run/wadah/daemon.log"];

/// Whether a daemon may be started because connecting to `host` failed with `error`.
pub(crate) fn possible(host: &Host, error: &io::Error) -> bool {
    host.default
        && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
        && rustix::process::geteuid().is_root()
}

/// Starts a daemon and waits until it answers at `host`. Of several commands that come at once,
/// one starts it and the others only wait.
pub(crate) async fn start(host: &Host) -> Result<(), Failure> {
    let (log, path) = log()?;
    // A description of its own: the daemon inherits the log, and must not inherit the lock.
    let lock = File::open(&path);
    let lock =
        lock.map_err(|source| Failure::File { action: "open log", path: path.clone(), source })?;
    let first = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    let mut child = None;
    if first {
        output::note(&format!("Starting the wadah daemon; its log is {}.", path.display()));
        let spawned = spawn(log);
        let failed = |source| Failure::System { action: "start wadah daemon", source };
        child = Some(spawned.map_err(failed)?);
    }
    answer(host, child, &path).await
}

/// Waits until a daemon answers; if it is ours, also for its end.
async fn answer(host: &Host, mut child: Option<Child>, log: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let socket = host.address.path().unwrap_or(Path::new(DEFAULT_SOCKET));
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        let ended = child.as_mut().and_then(|it| it.try_wait().ok().flatten());
        if UnixStream::connect(socket).await.is_ok() {
            return Ok(());
        }
        if let Some(status) = ended {
            return Err(gave_up(&format!("ended with {status}"), log));
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Err(gave_up(&format!("does not answer after {} s", PATIENCE.as_secs()), log))
}

fn gave_up(what: &str, log: &Path) -> Failure {
    let tail = fs::read_to_string(log).unwrap_or_default();
    let last = tail.lines().rev().find(|it| !it.trim().is_empty()).unwrap_or_default();
    let told = if last.is_empty() { String::new() } else { format!(": {last}") };
    Failure::refused(format!("the wadah daemon {what}; see {}{told}", log.display()))
}

fn spawn(log: File) -> io::Result<Child> {
    let errors = log.try_clone()?;
    // `/proc/self/exe` is this very program, whatever it is called by now. Only the new process
    // can leave our session, so it comes back here first, to [`become_daemon`].
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("wadah")
        .arg(STEP)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .current_dir("/")
        .spawn()
}

/// Leaves the session of whoever started us, and is the daemon from then on.
pub(crate) fn become_daemon() -> Failure {
    if let Err(error) = rustix::process::setsid() {
        return Failure::System { action: "start a session", source: error.into() };
    }
    let source = Command::new("/proc/self/exe").arg0("wadah").arg("daemon").exec();
    Failure::System { action: "start wadah daemon", source }
}

/// Opens the first log that can be written.
fn log() -> Result<(File, PathBuf), Failure> {
    let mut failure = None;
    for path in LOGS.map(PathBuf::from) {
        if let Some(parent) = path.parent() {
            // Should this fail, opening the file tells why.
            drop(fs::create_dir_all(parent));
        }
        match OpenOptions::new().create(true).append(true).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(source) => failure = Some(Failure::File { action: "open log", path, source }),
        }
    }
    Err(failure.expect("BUG: there is at least one place for the log"))
}
