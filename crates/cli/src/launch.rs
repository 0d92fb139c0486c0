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
    process::{Command, Stdio},
    time::{Duration, Instant},
};

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

/// Starts a daemon and waits until it answers at `host`.
pub(crate) async fn start(host: &Host) -> Result<(), Failure> {
    let (log, path) = log()?;
    output::note(&format!("Starting the wadah daemon; its log is {}.", path.display()));
    let spawned = spawn(log);
    let mut child =
        spawned.map_err(|source| Failure::System { action: "start wadah daemon", source })?;

    let deadline = Instant::now() + PATIENCE;
    let socket = host.address.path().unwrap_or(Path::new(DEFAULT_SOCKET));
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        if UnixStream::connect(socket).await.is_ok() {
            return Ok(());
        }
        if let Ok(Some(status)) = child.try_wait() {
            // Another command may have been faster: then its daemon answers.
            if UnixStream::connect(socket).await.is_ok() {
                return Ok(());
            }
            return Err(gave_up(&format!("ended with {status}"), &path));
        }
        time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Err(gave_up(&format!("does not answer after {} s", PATIENCE.as_secs()), &path))
}

fn gave_up(what: &str, log: &Path) -> Failure {
    let tail = fs::read_to_string(log).unwrap_or_default();
    let last = tail.lines().rev().find(|it| !it.trim().is_empty()).unwrap_or_default();
    let told = if last.is_empty() { String::new() } else { format!(": {last}") };
    Failure::refused(format!("the wadah daemon {what}; see {}{told}", log.display()))
}

fn spawn(log: File) -> io::Result<std::process::Child> {
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
