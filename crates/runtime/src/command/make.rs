//! `create`, `run` and `start`.

use std::{
    fs,
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::SystemTime,
};

use oci_spec::runtime::Spec;
use rustix::process::{Signal, WaitOptions, pidfd_send_signal, waitpid};

use super::{
    clock::rfc3339,
    console,
    error::CommandError,
    flags::{Make, Run},
    kill,
    log::Log,
    state::{self, Entry, Record, Root, Status},
    wait,
};
use crate::{
    Created, Gate, Request, Rootfs, SeccompPolicy, Stdio,
    cgroup::{Cgroup, Location},
    gate, hooks, protect,
};

/// A bundle, read.
struct Bundle {
    path: PathBuf,
    rootfs: PathBuf,
    text: Vec<u8>,
    spec: Spec,
}

/// Makes a container that waits to be started.
pub(super) fn create(root: &Root, flags: &Make, log: &Log) -> Result<(), CommandError> {
    protect::reexec_from_readonly().map_err(|source| CommandError::Protect { source })?;
    let bundle = Bundle::read(&flags.bundle)?;
    check_console(&bundle, flags, false)?;
    let made = Making::begin(root, flags, bundle)?;
    let gate = Gate::Socket(made.entry.gate());
    let (made, created) = made.create(flags, gate, log)?;
    made.finish(flags, created, false).map(drop)
}

/// Makes a container, starts it and, unless it is to be left alone, waits for its end. Returns
/// what to exit with.
pub(super) fn run(root: &Root, flags: &Run, log: &Log) -> Result<u8, CommandError> {
    protect::reexec_from_readonly().map_err(|source| CommandError::Protect { source })?;
    let bundle = Bundle::read(&flags.make.bundle)?;
    check_console(&bundle, &flags.make, !flags.detach)?;
    if !flags.detach {
        // From here on, so that none is lost before the waiting begins.
        wadah_sys::process::block_signals();
    }
    let made = Making::begin(root, &flags.make, bundle)?;
    let (made, created) = made.create(&flags.make, Gate::Pipe, log)?;
    let (created, made) = made.finish(&flags.make, created, true)?;
    let said = created.warnings.len();
    let started = created.start().map_err(|source| CommandError::Start { source });
    let running = match started {
        Ok(running) => running,
        Err(err) => {
            made.entry.remove()?;
            return Err(err);
        }
    };
    log.warnings(running.warnings.get(said..).unwrap_or_default());
    if flags.detach {
        return Ok(0);
    }
    drop(made.lock);
    let code = wait::wait(running.pid, running.terminal)?;
    if !flags.keep {
        let _lock = made.entry.lock()?;
        kill::empty(&running.cgroup)?;
        running.cgroup.delete()?;
        log.warnings(&hooks::poststop(&made.bundle.spec, &made.id, &made.bundle.path));
        made.entry.remove()?;
    }
    Ok(code)
}

/// Starts a created container.
pub(super) fn start(root: &Root, id: &str, log: &Log) -> Result<(), CommandError> {
    let entry = root.find(id)?;
    let _lock = entry.lock()?;
    let mut record = entry.record()?;
    let status = record.status();
    if status != Status::Created {
        return Err(CommandError::Status { action: "start", id: id.to_owned(), status });
    }
    // Before the fact: a container that runs must not be taken for one that waits.
    record.started = true;
    entry.write(&record)?;
    gate::open(&entry.gate()).map_err(|source| CommandError::Start { source })?;
    if let Some(pid) = record.process() {
        log.warnings(&hooks::poststart(&entry.spec()?, id, pid, &record.bundle));
    }
    Ok(())
}

/// A container on its way; abandoned, it leaves nothing behind.
struct Making {
    id: String,
    bundle: Bundle,
    entry: Entry,
    lock: state::Lock,
    cgroup: Location,
}

impl Making {
    fn begin(root: &Root, flags: &Make, bundle: Bundle) -> Result<Self, CommandError> {
        let path = bundle.spec.linux().as_ref().and_then(|it| it.cgroups_path().as_deref());
        let cgroup = Location::from_spec(path, &flags.id)
            .map_err(|source| CommandError::Location { source })?;
        let entry = root.add(&flags.id)?;
        let lock = match entry.lock().and_then(|it| entry.write_spec(&bundle.text).map(|()| it)) {
            Ok(lock) => lock,
            Err(err) => return Err(abandon(&entry, err)),
        };
        Ok(Self { id: flags.id.clone(), bundle, entry, lock, cgroup })
    }

    fn create(self, flags: &Make, gate: Gate, log: &Log) -> Result<(Self, Created), CommandError> {
        let terminal = has_terminal(&self.bundle.spec);
        let size = if matches!(gate, Gate::Pipe) { console::own_size() } else { None };
        let request = Request {
            id: &self.id,
            spec: &self.bundle.spec,
            bundle: &self.bundle.path,
            rootfs: Rootfs::Directory(&self.bundle.rootfs),
            cgroup: self.cgroup.clone(),
            stdio: if terminal { Stdio::Terminal { size } } else { Stdio::Inherit },
            preserve_fds: flags.preserve_fds,
            seccomp: SeccompPolicy::Spec,
            init: false,
            gate,
            no_pivot: flags.no_pivot,
            no_new_keyring: flags.no_new_keyring,
            parent_death_signal: false,
        };
        match crate::create(request) {
            Ok(created) => {
                log.warnings(&created.warnings);
                Ok((self, created))
            }
            Err(source) => Err(abandon(&self.entry, CommandError::Create { source })),
        }
    }

    /// Hands out the terminal, and writes down that the container exists.
    fn finish(
        self,
        flags: &Make,
        mut created: Created,
        started: bool,
    ) -> Result<(Created, Self), CommandError> {
        let told = self.tell(flags, &mut created, started);
        match told {
            Ok(()) => Ok((created, self)),
            Err(err) => {
                end(&created);
                Err(abandon(&self.entry, err))
            }
        }
    }

    fn tell(&self, flags: &Make, created: &mut Created, started: bool) -> Result<(), CommandError> {
        if let Some(socket) = &flags.console_socket
            && let Some(terminal) = created.terminal.take()
        {
            console::send(socket, terminal.as_fd(), "/dev/ptmx")?;
        }
        if let Some(socket) = &flags.pidfd_socket {
            console::send(socket, created.pidfd.as_fd(), "pidfd")?;
        }
        let pid = created.pid.as_raw_pid();
        self.entry.write(&Record {
            version: state::VERSION,
            id: self.id.clone(),
            pid,
            start_time: state::start_time(pid).unwrap_or(0),
            started,
            bundle: self.bundle.path.clone(),
            rootfs: self.bundle.rootfs.clone(),
            created: rfc3339(SystemTime::now()),
            owner: rustix::process::getuid().as_raw(),
            cgroup: self.cgroup.clone(),
            annotations: self.bundle.spec.annotations().clone().unwrap_or_default(),
        })?;
        match &flags.pid_file {
            Some(path) => state::replace(path, pid.to_string().as_bytes()),
            None => Ok(()),
        }
    }
}

impl Bundle {
    fn read(path: &Path) -> Result<Self, CommandError> {
        let path = path
            .canonicalize()
            .map_err(|source| CommandError::Read { path: path.to_owned(), source })?;
        let file = path.join("config.json");
        let text =
            fs::read(&file).map_err(|source| CommandError::Read { path: file.clone(), source })?;
        let spec: Spec = serde_json::from_slice(&text)
            .map_err(|source| CommandError::Json { path: file.clone(), source })?;
        let invalid =
            |problem: &str| CommandError::Spec { path: file.clone(), problem: problem.to_owned() };
        if !spec.version().starts_with("1.") {
            return Err(invalid(&format!("ociVersion {:?} is not 1.x", spec.version())));
        }
        if spec.process().is_none() {
            return Err(invalid("process is missing"));
        }
        let root = spec.root().as_ref().ok_or_else(|| invalid("root is missing"))?;
        let rootfs = path.join(root.path());
        let rootfs =
            rootfs.canonicalize().map_err(|source| CommandError::Read { path: rootfs, source })?;
        Ok(Self { path, rootfs, text, spec })
    }
}

fn has_terminal(spec: &Spec) -> bool {
    spec.process().as_ref().and_then(|it| it.terminal()).unwrap_or(false)
}

/// Somebody has to hold the other side of a terminal.
fn check_console(bundle: &Bundle, flags: &Make, waits: bool) -> Result<(), CommandError> {
    match (has_terminal(&bundle.spec), &flags.console_socket) {
        (true, None) if !waits => Err(CommandError::NoConsole),
        (false, Some(_)) => Err(CommandError::NoTerminal),
        _ => Ok(()),
    }
}

/// Forgets a container that was not made, and passes on why.
fn abandon(entry: &Entry, err: CommandError) -> CommandError {
    // The first failure is the one to report; what stays is removed by `delete --force`.
    let _forgotten = entry.remove();
    err
}

/// Kills a container that was made but cannot be handed over.
fn end(created: &Created) {
    // As in `abandon`, there is a reason to report already.
    let _killed = pidfd_send_signal(&created.pidfd, Signal::KILL);
    let _reaped = waitpid(Some(created.pid), WaitOptions::empty());
    let _deleted = Cgroup::delete(&created.cgroup);
}
