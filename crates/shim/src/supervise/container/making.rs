//! The making of the container and of other processes in it, by our runtime or another.

use std::{fs, mem, os::fd::OwnedFd, path::Path};

use oci_spec::runtime::{LinuxNamespaceType, Process as ProcessSpec, Spec};
use wadah_runtime::{
    ExecRequest, Overlay, Request, Rootfs, SeccompPolicy, Stdio,
    cgroup::{Cgroup, Location},
};

use super::{Container, Gate, Life};
use crate::{
    launch::CONFIG,
    protocol::{self, Exec, ExecState, Failure, FailureClass, Seccomp},
    supervise::{
        PROTECTED,
        foreign::{Foreign, Made},
        process::{Phase, Plumbing, Process},
    },
};

impl Container {
    /// Makes the container up to its gate.
    pub(super) fn try_create(&mut self, network: Option<&OwnedFd>) -> Result<Process, Failure> {
        let mut spec = read_spec(&self.launch.run_dir)?;
        if let Some(process) = spec.process_mut() {
            forgo_protection(process, 0);
        }
        self.shares_pids = !has_own_pids(&spec);
        let (pipes, stdio) = if self.launch.terminal {
            (None, Stdio::Terminal { size: self.launch.terminal_size })
        } else {
            let pipes = Plumbing::pipes(self.launch.stdin);
            let (pipes, stdio) = pipes.map_err(|error| Failure::internal(&error))?;
            (Some(pipes), stdio)
        };
        let (gate, made) = match self.launch.runtime.clone() {
            None => self.create_ours(&spec, stdio)?,
            Some(runtime) => {
                let (foreign, made, cgroup) =
                    Foreign::create(&runtime, &self.launch, &spec, &stdio, network)?;
                self.foreign = Some(foreign);
                (Gate::Theirs(cgroup), made)
            }
        };
        self.pid = made.pid.as_raw_nonzero().get();
        // Without it, a container that dies for want of memory is only seen to be killed.
        self.oom = gate.cgroup().oom_watch().ok();
        self.life = Life::Created(gate);
        process_of(None, made, pipes)
    }

    fn create_ours(&mut self, spec: &Spec, stdio: Stdio) -> Result<(Gate, Made), Failure> {
        let launch = &self.launch;
        let overlay = overlay(&launch.rootfs);
        let mut created = wadah_runtime::create(Request {
            id: &launch.id,
            spec,
            bundle: &launch.run_dir,
            rootfs: match (&launch.rootfs, &overlay) {
                (protocol::Rootfs::Directory { path }, _) => Rootfs::Directory(path),
                (_, Some(overlay)) => Rootfs::Overlay(overlay),
                (_, None) => unreachable!("BUG: what is no directory is an overlay"),
            },
            cgroup: Location::new(&launch.cgroup)
                .map_err(|error| Failure::new(FailureClass::Invalid, &error))?,
            stdio,
            preserve_fds: 0,
            seccomp: launch.seccomp.into(),
            init: launch.init,
            gate: wadah_runtime::Gate::Pipe,
            no_pivot: false,
            no_new_keyring: false,
            parent_death_signal: true,
        })?;
        self.warnings = mem::take(&mut created.warnings);
        let made = Made {
            pid: created.pid,
            pidfd: created.pidfd.try_clone().map_err(|error| Failure::internal(&error))?,
            terminal: created.terminal.take(),
        };
        Ok((Gate::Ours(Box::new(created)), made))
    }

    /// Puts a process into the container.
    pub(in crate::supervise) fn exec(&mut self, exec: &Exec) -> Result<Process, Failure> {
        let Life::Running(cgroup) = &self.life else { return Err(self.wrong_state("exec in")) };
        if self.execs.contains_key(&exec.id) {
            let message = format!("exec session {} exists already", exec.id);
            return Err(Failure::says(FailureClass::Invalid, message));
        }
        let mut process: ProcessSpec = serde_json::from_value(exec.process.clone())
            .map_err(|error| Failure::new(FailureClass::Invalid, &error))?;
        let spec = read_spec(&self.launch.run_dir)?;
        let score = spec.process().as_ref().and_then(ProcessSpec::oom_score_adj);
        forgo_protection(&mut process, score.unwrap_or(0));
        let (pipes, stdio) = if process.terminal().unwrap_or(false) {
            (None, Stdio::Terminal { size: None })
        } else {
            let pipes = Plumbing::pipes(exec.stdin);
            let (pipes, stdio) = pipes.map_err(|error| Failure::internal(&error))?;
            (Some(pipes), stdio)
        };
        let made = match &self.foreign {
            Some(foreign) => foreign.exec(&exec.process, &stdio)?,
            None => self.exec_ours(cgroup, &spec, &process, stdio, exec.unconfined)?,
        };
        let process = process_of(Some(exec.id.clone()), made, pipes)?;
        let pid = process.pid.as_raw_nonzero().get();
        self.execs.insert(exec.id.clone(), ExecState { pid, exit: None });
        Ok(process)
    }

    fn exec_ours(
        &self,
        cgroup: &Cgroup,
        spec: &Spec,
        process: &ProcessSpec,
        stdio: Stdio,
        unconfined: bool,
    ) -> Result<Made, Failure> {
        let policy = if unconfined { Seccomp::Unconfined } else { self.launch.seccomp };
        let started = wadah_runtime::exec(ExecRequest {
            init: rustix::process::Pid::from_raw(self.pid).expect("BUG: a running process"),
            spec,
            process,
            cgroup: Some(cgroup),
            stdio,
            preserve_fds: 0,
            seccomp: policy.into(),
            parent_death_signal: true,
        })?;
        Ok(Made { pid: started.pid, pidfd: started.pidfd, terminal: started.terminal })
    }
}

impl From<Seccomp> for SeccompPolicy {
    fn from(seccomp: Seccomp) -> Self {
        match seccomp {
            Seccomp::Default => Self::Default,
            Seccomp::Spec => Self::Spec,
            Seccomp::Unconfined => Self::Unconfined,
        }
    }
}

/// What is to be killed for want of memory is the container, not its supervisor: a process must
/// not inherit the shim's protection.
fn forgo_protection(process: &mut ProcessSpec, score: i32) {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    if process.oom_score_adj().is_none() && own.trim() == PROTECTED {
        process.set_oom_score_adj(Some(score));
    }
}

fn read_spec(run_dir: &Path) -> Result<Spec, Failure> {
    let bytes = fs::read(run_dir.join(CONFIG)).map_err(|error| Failure::internal(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| Failure::new(FailureClass::Invalid, &error))
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces.is_some_and(|namespaces| {
        namespaces.iter().any(|it| it.typ() == LinuxNamespaceType::Pid && it.path().is_none())
    })
}

fn overlay(rootfs: &protocol::Rootfs) -> Option<Overlay> {
    match rootfs {
        protocol::Rootfs::Directory { .. } => None,
        protocol::Rootfs::Overlay { lower, upper, work, volatile } => Some(Overlay {
            lower: lower.clone(),
            upper: upper.clone(),
            work: work.clone(),
            volatile: *volatile,
        }),
    }
}

fn process_of(
    exec: Option<String>,
    made: Made,
    pipes: Option<Plumbing>,
) -> Result<Process, Failure> {
    let Made { pid, pidfd, terminal } = made;
    Ok(Process { exec, pid, pidfd, streams: streams_of(pipes, terminal)?, phase: Phase::Alive })
}

fn streams_of(pipes: Option<Plumbing>, terminal: Option<OwnedFd>) -> Result<Plumbing, Failure> {
    match (pipes, terminal) {
        (Some(pipes), _) => Ok(pipes),
        (None, Some(master)) => {
            Plumbing::terminal(master).map_err(|error| Failure::internal(&error))
        }
        (None, None) => Err(Failure::says(FailureClass::Internal, "no terminal was made")),
    }
}
