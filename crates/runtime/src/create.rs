//! The making of a container, on its parent's side.

use std::{
    cell::{Cell, OnceCell},
    io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use oci_spec::runtime as spec;
use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use wadah_sys::process::{Birth, Child, namespace};

use crate::{
    CreateError, Gate, Request, StartError,
    birth::bear,
    cgroup::{Cgroup, CgroupError, JoinPlan},
    channel::{Channel, Report},
    child::{self, Container, set_oom_score_adj},
    gate,
    hooks::{self, Point},
    idmap,
    plan::{self, Plan, Prepared},
};

/// A container up to its gate.
#[derive(Debug)]
#[must_use = "a container that is not started dies with its creator"]
pub struct Created {
    /// Its first process, as the host sees it. A child of the caller, who has to reap it.
    pub pid: Pid,
    /// The same, safe against reuse of the number.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal, for [`crate::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// Its control group; the caller deletes it after the container's end.
    pub cgroup: Cgroup,
    /// What could not be done as asked but was gone on without.
    pub warnings: Vec<String>,
    channel: Channel,
    /// For hooks after the start, if there are any.
    aftermath: Option<(Box<spec::Spec>, String, PathBuf)>,
}

/// A container whose executable runs.
#[derive(Debug)]
pub struct Running {
    /// As in [`Created`].
    pub pid: Pid,
    /// As in [`Created`].
    pub pidfd: OwnedFd,
    /// As in [`Created`].
    pub terminal: Option<OwnedFd>,
    /// As in [`Created`].
    pub cgroup: Cgroup,
    /// As in [`Created`].
    pub warnings: Vec<String>,
}

/// Makes a container up to its gate. On an error nothing of it is left.
pub fn create(request: Request<'_>) -> Result<Created, CreateError> {
    check_preserved(request.preserve_fds)?;
    let mut plan = plan::plan(&request)?;
    let mut warnings = std::mem::take(&mut plan.warnings);
    let prepared = plan::prepare(&request, &plan)?;
    let resources = plan.linux.resources().as_ref();
    let (cgroup, found) = Cgroup::create(&request.cgroup, resources).map_err(of_cgroup)?;
    warnings.extend(found);
    let outcome =
        bear_container(&request, &plan, &prepared, &cgroup).and_then(|(child, channel)| {
            Midwife { request: &request, plan: &plan, child, channel, warnings, terminal: None }
                .attend()
        });
    match outcome {
        Ok(born) => Ok(born.into_created(&request, cgroup)),
        Err(error) => {
            // What failed first is what to tell.
            drop(cgroup.kill_all());
            drop(cgroup.delete());
            if let Gate::Socket(path) = &request.gate {
                drop(std::fs::remove_file(path));
            }
            Err(error)
        }
    }
}

/// A number that is not open would be given to something of ours, and that would be preserved.
fn check_preserved(count: u32) -> Result<(), CreateError> {
    let end = i32::try_from(count).ok().and_then(|it| it.checked_add(3));
    let end = end.ok_or_else(|| plan::invalid("preserve-fds", format!("{count} is too many")))?;
    match (3..end).find(|it| !wadah_sys::fd::is_open(*it)) {
        Some(closed) => {
            Err(plan::invalid("preserve-fds", format!("descriptor {closed} is not open")))
        }
        None => Ok(()),
    }
}

fn of_cgroup(source: CgroupError) -> CreateError {
    CreateError::Cgroup { source }
}

fn parent(step: &'static str) -> impl FnOnce(io::Error) -> CreateError {
    move |source| CreateError::Parent { step, source }
}

/// Bears the first process. What it reports comes on the channel.
fn bear_container(
    request: &Request<'_>,
    plan: &Plan<'_>,
    prepared: &Prepared,
    cgroup: &Cgroup,
) -> Result<(Child, Channel), CreateError> {
    let listener = match &request.gate {
        Gate::Socket(path) => Some(gate::make(path).map_err(parent("make the gate's socket"))?),
        Gate::Pipe => None,
    };
    let join: JoinPlan = cgroup.join().map_err(of_cgroup)?;
    let (ours, theirs) = Channel::pair().map_err(parent("make a channel"))?;
    let namespaces = &plan.namespaces;
    // The cgroup namespace is unshared once the process is in its group; the time namespace, where
    // clocks are set, comes before the birth.
    let at_birth = namespaces.new & !(namespace::CGROUP | namespace::TIME);
    let birth = Birth { namespaces: at_birth, cgroup: join.unified(), sibling: false };
    let container = Container {
        request,
        plan,
        prepared,
        cgroup,
        join: &join,
        channel: &theirs,
        listener: listener.as_ref(),
        starter: OnceCell::new(),
    };
    let before = || child::join_before_birth(namespaces);
    let is_needed = namespaces.new & namespace::TIME != 0
        || [namespace::USER, namespace::PID].iter().any(|it| namespaces.joined(*it).is_some());
    let before: Option<&dyn Fn() -> _> = if is_needed { Some(&before) } else { None };
    let ours = Cell::new(Some(ours));
    let born = bear(birth, before, &theirs, || {
        // The child's copy of our end, or it would never see us go.
        drop(ours.take());
        container.live()
    });
    drop(container);
    drop(theirs);
    let ours = ours.take().expect("BUG: taken in the child only");
    match born {
        Ok(child) => Ok((child, ours)),
        Err(source) => match ours.receive() {
            Ok(Some((Report::Failed(failure), _))) => Err(failure.into()),
            _ => Err(parent("bear the container's process")(source)),
        },
    }
}

/// Stands by while the new process makes itself.
struct Midwife<'a> {
    request: &'a Request<'a>,
    plan: &'a Plan<'a>,
    child: Child,
    channel: Channel,
    warnings: Vec<String>,
    terminal: Option<OwnedFd>,
}

impl Midwife<'_> {
    /// Answers until the child is ready. On an error it is dead and reaped.
    fn attend(mut self) -> Result<Self, CreateError> {
        match self.answer_all() {
            Ok(()) => Ok(self),
            Err(error) => {
                kill_and_reap(&self.child.pidfd);
                Err(error)
            }
        }
    }

    fn answer_all(&mut self) -> Result<(), CreateError> {
        loop {
            let received = match self.channel.receive() {
                Ok(received) => received,
                // It died with words of ours unread.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNRESET) => None,
                Err(error) => return Err(parent("hear from the container's process")(error)),
            };
            let (report, fd) = received.ok_or(CreateError::Died)?;
            match report {
                Report::Ready => return Ok(()),
                Report::Warning(text) => self.warnings.push(text),
                Report::Terminal => self.terminal = fd,
                Report::MapIds => self.map_ids()?,
                Report::Hooks => self.run_hooks()?,
                Report::SeccompListener => self.hand_on(fd)?,
                Report::Failed(failure) => return Err(failure.into()),
            }
        }
    }

    fn go(&self) -> Result<(), CreateError> {
        self.channel.go(self.child.pid).map_err(parent("let the container's process go on"))
    }

    /// Inside, neither the maps nor, as another's file, the score could be written.
    fn map_ids(&mut self) -> Result<(), CreateError> {
        if let Some((users, groups)) = &self.plan.namespaces.id_maps {
            let written = idmap::write_maps(self.child.pid, users, groups);
            written.map_err(parent("write the id maps"))?;
        }
        if let Some(score) = self.plan.process.oom_score_adj {
            let process = self.child.pid.as_raw_nonzero().to_string();
            if let Err(error) = set_oom_score_adj(&process, score) {
                self.warnings.push(format!("process.oomScoreAdj: {error}"));
            }
        }
        self.go()
    }

    fn run_hooks(&self) -> Result<(), CreateError> {
        let state = self.state("creating").to_string();
        for point in [Point::Prestart, Point::CreateRuntime] {
            hooks::run(self.request.spec, point, state.as_bytes())?;
        }
        self.go()
    }

    fn hand_on(&self, listener: Option<OwnedFd>) -> Result<(), CreateError> {
        let program = self.plan.process.seccomp.as_ref();
        hand_on(program, listener, self.child.pid, self.state("creating"))
            .map_err(parent("reach the agent of the seccomp filter"))
    }

    fn state(&self, status: &str) -> serde_json::Value {
        let request = self.request;
        plan::state(request.spec, request.id, status, Some(self.child.pid), request.bundle)
    }

    fn into_created(self, request: &Request<'_>, cgroup: Cgroup) -> Created {
        let has_aftermath = Point::Poststart.has_hooks(request.spec);
        let aftermath =
            || (Box::new(request.spec.clone()), request.id.to_owned(), request.bundle.to_owned());
        Created {
            pid: self.child.pid,
            pidfd: self.child.pidfd,
            terminal: self.terminal,
            cgroup,
            warnings: self.warnings,
            channel: self.channel,
            aftermath: has_aftermath.then(aftermath),
        }
    }
}

/// Sends a notifying filter's listener to its agent, with what the specification calls the
/// container process state.
pub(crate) fn hand_on(
    program: Option<&crate::seccomp::Program>,
    listener: Option<OwnedFd>,
    pid: Pid,
    state: serde_json::Value,
) -> io::Result<()> {
    let agent = program.and_then(|it| it.listener()).ok_or(Errno::INVAL)?;
    let listener = listener.ok_or(Errno::BADF)?;
    let told = serde_json::json!({
        "ociVersion": state["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid.as_raw_nonzero().get(),
        "metadata": agent.metadata,
        "state": state,
    });
    agent.send(listener, told.to_string().as_bytes())
}

/// Ends a child of ours for certain.
pub(crate) fn kill_and_reap(pidfd: &OwnedFd) {
    // Dead already is as good.
    let _ = pidfd_send_signal(pidfd, Signal::KILL);
    while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {}
}

impl Created {
    /// Opens the gate; returns when the executable runs. On an error nothing is left of the
    /// container: its process is reaped and its control group deleted.
    pub fn start(self) -> Result<Running, StartError> {
        let Self { pid, pidfd, terminal, cgroup, mut warnings, channel, aftermath } = self;
        let opened = channel.go(pid).map_err(|source| StartError::NotCreated { source });
        if let Err(error) = opened.and_then(|()| gate::wait_for_executable(&channel)) {
            kill_and_reap(&pidfd);
            // What failed first is what to tell.
            drop(cgroup.kill_all());
            drop(cgroup.delete());
            return Err(error);
        }
        if let Some((spec, id, bundle)) = aftermath {
            warnings.extend(hooks::poststart(&spec, &id, pid, &bundle));
        }
        Ok(Running { pid, pidfd, terminal, cgroup, warnings })
    }
}
