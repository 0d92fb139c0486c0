//! The shim itself: one container's supervisor.
//!
//! It makes the container, keeps its streams, writes its log, and tells of its end: one thread
//! and one loop ([`supervisor`]), started by [`crate::launch`], asked by [`crate::protocol`].
//!
//! **Invariant:** a daemon may come and go, and be several: the container does not notice.
//! **Invariant:** the container does not outlive its shim: it asks the kernel to be killed.

mod calls;
mod connection;
mod container;
mod event;
mod failure;
mod foreign;
mod outbox;
mod persist;
mod process;
mod supervisor;

use std::{
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::net::{UnixListener, UnixStream},
    panic,
    path::{Path, PathBuf},
    process::ExitCode,
};

use rustix::fs::Mode;
use wadah_sys::{signalfd::ChildSignals, spawn};

use self::{container::Container, supervisor::Supervisor};
use crate::{
    launch::{LAUNCH, SOCKET, socket_path},
    log::Log,
    protocol::Launch,
};

/// Where a shim that fails, or panics, says so: it has no other voice.
const DIARY: &str = "shim.log";

/// How reluctantly the kernel kills a shim for want of memory: as Docker has it for its own.
const PROTECTED: &str = "-998";

/// Is a shim. The arguments, after the role, are those that `launch` passes: the run directory,
/// and how many descriptors were handed on.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter();
    let (Some(run_dir), Some(count)) = (arguments.next(), arguments.next()) else {
        return ExitCode::from(2);
    };
    let run_dir = PathBuf::from(run_dir);
    let count = count.to_str().and_then(|count| count.parse().ok()).unwrap_or(0);
    let diary = run_dir.join(DIARY);
    let panicked = diary.clone();
    panic::set_hook(Box::new(move |info| note(&panicked, &info.to_string())));
    match supervise(&run_dir, count) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&diary, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn supervise(run_dir: &Path, descriptors: i32) -> io::Result<()> {
    let mut inherited = spawn::inherited(descriptors)?.into_iter();
    let control = inherited.next().ok_or(io::ErrorKind::InvalidInput)?;
    let network = inherited.next();
    // Neither a directory of the daemon's nor its mask of permissions is ours or the container's.
    env::set_current_dir("/")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    // Orphans of exec sessions become our children, to be reaped.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // It was executed by a descriptor's number.
    rustix::thread::set_name(c"wadah-shim")?;
    let children = ChildSignals::watch()?;
    protect();

    let launch: Launch = serde_json::from_slice(&fs::read(run_dir.join(LAUNCH))?)?;
    let (_directory, path) = socket_path(run_dir)?;
    let listener = UnixListener::bind(path)?;
    let log = launch.log.as_ref().map(Log::open).transpose();
    let (container, log) = match log {
        Ok(log) => (Container::create(launch, network.as_ref()), log),
        Err(error) => (Container::without_log(launch, &error), None),
    };
    // The container has entered it. A namespace ends when nothing refers to it.
    drop(network);

    let mut supervisor = Supervisor::new(children, listener, container, log)?;
    supervisor.admit(UnixStream::from(control));
    let result = supervisor.run();
    // Whoever finds it gone reads what is written down. It may be gone with its directory.
    drop(fs::remove_file(run_dir.join(SOCKET)));
    result
}

/// Asks the kernel to kill others first when memory is short: with the shim, its container dies.
/// Only a process with CAP_SYS_RESOURCE may; without it, both take the same chance.
fn protect() {
    drop(fs::write("/proc/self/oom_score_adj", PROTECTED));
}

fn note(path: &Path, text: &str) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    // Without a disk to write to there is nobody left to tell.
    drop(file.and_then(|mut file| writeln!(file, "{text}")));
}
