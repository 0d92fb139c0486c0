//! Another OCI runtime in the place of ours, by the OCI command line.
//!
//! The runtime is executed for each step; between steps its process does not exist. Its container
//! becomes our child, because we are the reaper of orphans.
//!
//! **Invariant:** the root filesystem is mounted in the shim's own mount namespace: the host sees
//! no mount, and none outlives the shim.
//! **Absent:** the parent death signal, which such a runtime does not know: the container of a
//! killed shim is killed by the daemon (`launch::bury`).

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use oci_spec::runtime::Spec;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind,
        mount_change, move_mount,
    },
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid},
};
use serde_json::Value;
use wadah_runtime::{
    Stdio,
    cgroup::{Cgroup, Location},
};
use wadah_sys::{
    process::{namespace, unshare},
    spawn::{Descriptors, spawn},
};

use crate::{
    launch::{NETWORK_NAMESPACE, short_name},
    protocol::{Failure, FailureClass, Launch, Rootfs},
};

/// How long one step of the runtime may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where runtimes look for their helpers.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container of another runtime.
#[derive(Debug)]
pub(super) struct Foreign {
    runtime: File,
    id: String,
    /// Where the runtime keeps its state, and we what we tell it.
    directory: PathBuf,
}

/// What another runtime made.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) terminal: Option<OwnedFd>,
}

impl Foreign {
    /// Makes a container up to its gate. `network` is the namespace that the specification calls
    /// [`NETWORK_NAMESPACE`].
    pub(super) fn create(
        runtime: &Path,
        launch: &Launch,
        spec: &Spec,
        stdio: &Stdio,
        network: Option<&OwnedFd>,
    ) -> Result<(Self, Made, Cgroup), Failure> {
        let named = |error: io::Error| {
            let message = format!("cannot use the runtime {}: {error}", runtime.display());
            Failure::says(FailureClass::Invalid, message)
        };
        let foreign = Self {
            runtime: File::open(runtime).map_err(named)?,
            id: launch.id.clone(),
            directory: launch.run_dir.join("runtime"),
        };
        foreign.write_bundle(launch, spec, network)?;
        let bundle = foreign.directory.join("bundle");
        let made = foreign.make("create", &["--bundle".into(), bundle.into()], stdio);
        let made = made.inspect_err(|_| foreign.delete())?;
        let cgroup = Location::new(&launch.cgroup)
            .map_err(|error| Failure::new(FailureClass::Invalid, &error))
            // The directories that it did not make, it did not need; made now, they are the same
            // to whoever deletes them.
            .and_then(|it| Cgroup::create(&it, None).map_err(|error| Failure::internal(&error)));
        let (cgroup, _) = cgroup.inspect_err(|_| foreign.delete())?;
        Ok((foreign, made, cgroup))
    }

    /// Opens the gate.
    pub(super) fn start(&self) -> Result<(), Failure> {
        self.run("start", &[], None)
    }

    /// Puts a process into the container.
    pub(super) fn exec(&self, process: &Value, stdio: &Stdio) -> Result<Made, Failure> {
        let path = self.directory.join("process.json");
        let written = serde_json::to_vec(process).map_err(io::Error::from);
        written.and_then(|bytes| fs::write(&path, bytes)).map_err(internal)?;
        self.make("exec", &["--detach".into(), "--process".into(), path.into()], stdio)
    }

    /// Removes what the runtime keeps of the container, which may still run.
    pub(super) fn delete(&self) {
        // It may have been removed, or never made.
        drop(self.run("delete", &["--force".into()], None));
    }

    /// Runs a step that makes a process.
    fn make(&self, step: &str, options: &[OsString], stdio: &Stdio) -> Result<Made, Failure> {
        let pid_file = self.directory.join("pid");
        let mut options = options.to_vec();
        options.extend(["--pid-file".into(), pid_file.clone().into()]);
        let terminal = match stdio {
            Stdio::Terminal { .. } => {
                let (directory, path) =
                    short_name(&self.directory, "console.sock").map_err(internal)?;
                drop(fs::remove_file(&path));
                let listener = UnixListener::bind(&path).map_err(internal)?;
                options.extend(["--console-socket".into(), path.into()]);
                Some((listener, directory))
            }
            _ => None,
        };
        self.run(step, &options, Some(stdio))?;
        let pid = fs::read_to_string(&pid_file).map_err(internal)?;
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| internal(io::ErrorKind::InvalidData.into()))?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| internal(error.into()))?;
        let terminal = terminal.map(|(listener, _)| receive(&listener)).transpose();
        Ok(Made { pid, pidfd, terminal: terminal.map_err(internal)? })
    }

    /// Executes the runtime, and waits until it has done a step.
    fn run(&self, step: &str, options: &[OsString], stdio: Option<&Stdio>) -> Result<(), Failure> {
        let log = self.directory.join("log.json");
        drop(fs::remove_file(&log));
        let global = ["runtime".into(), "--root".into(), self.directory.join("state").into()];
        let logging = ["--log".into(), log.clone().into(), "--log-format".into(), "json".into()];
        let step_words = [OsString::from(step)].into_iter().chain(options.iter().cloned());
        let arguments =
            global.into_iter().chain(logging).chain(step_words).chain([self.id.clone().into()]);
        let descriptors = match stdio {
            Some(Stdio::Files { stdin, stdout, stderr }) => {
                Descriptors::Streams([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
            }
            _ => Descriptors::Quiet(&[]),
        };
        let pid = spawn(self.runtime.as_fd(), arguments, [PATH.into()], descriptors);
        let pid = pid.map_err(internal)?;
        if wait(pid).map_err(internal)? {
            return Ok(());
        }
        Err(failure(step, &log))
    }

    /// Writes the bundle: the specification with our places in it, and the root filesystem.
    fn write_bundle(
        &self,
        launch: &Launch,
        spec: &Spec,
        network: Option<&OwnedFd>,
    ) -> Result<(), Failure> {
        let bundle = self.directory.join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).map_err(internal)?;
        mount_root(&launch.rootfs, &bundle.join("rootfs")).map_err(internal)?;
        let spec = serde_json::to_value(spec).map_err(|error| Failure::internal(&error))?;
        let spec = adapt(spec, launch, network);
        fs::write(bundle.join("config.json"), spec.to_string()).map_err(internal)
    }
}

/// Puts our places into a specification.
fn adapt(mut spec: Value, launch: &Launch, network: Option<&OwnedFd>) -> Value {
    spec["root"]["path"] = "rootfs".into();
    spec["process"]["terminal"] = launch.terminal.into();
    spec["linux"]["cgroupsPath"] = format!("/{}", launch.cgroup).into();
    if let Some((rows, columns)) = launch.terminal_size {
        spec["process"]["consoleSize"] = serde_json::json!({ "height": rows, "width": columns });
    }
    let namespaces = spec["linux"]["namespaces"].as_array_mut();
    for namespace in namespaces.into_iter().flatten() {
        if namespace["path"] == NETWORK_NAMESPACE
            && let Some(network) = network
        {
            // The runtime is another process: our descriptor, by a name that it can use.
            let path = format!("/proc/{}/fd/{}", std::process::id(), network.as_raw_fd());
            namespace["path"] = path.into();
        }
    }
    spec
}

/// Mounts the root filesystem where only this process and its children see it.
fn mount_root(rootfs: &Rootfs, target: &Path) -> io::Result<()> {
    unshare(namespace::MOUNT)?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave)?;
    let Rootfs::Overlay { lower, upper, work, volatile } = rootfs else {
        let Rootfs::Directory { path } = rootfs else { unreachable!("BUG: a third kind") };
        return Ok(mount_bind(path, target)?);
    };
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(&context, "lowerdir+", layer)?;
    }
    fsconfig_set_string(&context, "upperdir", upper)?;
    fsconfig_set_string(&context, "workdir", work)?;
    if *volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let from_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    Ok(move_mount(&mount, "", rustix::fs::CWD, target, from_descriptor)?)
}

/// Waits for a child; says whether it succeeded. One that takes too long is killed.
fn wait(pid: Pid) -> io::Result<bool> {
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !readable(&pidfd, PATIENCE)? {
        pidfd_send_signal(&pidfd, Signal::KILL)?;
    }
    let ended = waitpid(Some(pid), WaitOptions::empty())?;
    Ok(ended.is_some_and(|(_, status)| status.exit_status() == Some(0)))
}

fn readable(fd: impl AsFd, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other? > 0),
        }
    }
}

/// Receives the shim's side of a terminal.
fn receive(listener: &UnixListener) -> io::Result<OwnedFd> {
    if !readable(listener, Duration::from_secs(5))? {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let (socket, _) = listener.accept()?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 256];
    let mut buffers = [IoSliceMut::new(&mut name)];
    recvmsg(&socket, &mut buffers, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let received = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the runtime says of its failure, and which class its words belong to.
fn failure(step: &str, log: &Path) -> Failure {
    let log = fs::read_to_string(log).unwrap_or_default();
    let mut messages = log.lines().filter_map(|line| {
        let entry: Value = serde_json::from_str(line).ok()?;
        Some(entry["msg"].as_str()?.to_owned())
    });
    let message = messages.next_back().unwrap_or_else(|| "it did not say why".to_owned());
    let says = |words: &[&str]| words.iter().any(|it| message.contains(it));
    let class = if says(&["executable file not found", "no such file or directory"]) {
        FailureClass::ExecutableNotFound
    } else if says(&["permission denied", "is a directory", "not a directory", "exec format"]) {
        FailureClass::NotExecutable
    } else {
        FailureClass::Internal
    };
    Failure::says(class, format!("OCI runtime {step} failed: {message}"))
}

fn internal(error: io::Error) -> Failure {
    Failure::internal(&error)
}
