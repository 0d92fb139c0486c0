//! Another process in a running container.

use std::{
    cell::Cell,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    process::{Pid, PidfdFlags, pidfd_open},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};
use wadah_sys::process::{Birth, Child};

use crate::{
    CreateError, ExecError, ExecRequest,
    birth::bear,
    channel::{Channel, Context, Failure, Report},
    child::{Guest, set_oom_score_adj, warn_if_forbidden},
    create::{hand_on, kill_and_reap},
    plan::{self, ProcessPlan},
};

/// A process in a container, whose executable runs.
#[derive(Debug)]
pub struct Process {
    /// As the host sees it. A child of the caller, who has to reap it.
    pub pid: Pid,
    /// The same, safe against reuse of the number.
    pub pidfd: OwnedFd,
    /// The caller's side of its terminal, for [`crate::Stdio::Terminal`].
    pub terminal: Option<OwnedFd>,
    /// What could not be done as asked but was gone on without.
    pub warnings: Vec<String>,
}

/// Puts a process into a running container; returns when its executable runs.
pub fn exec(request: ExecRequest<'_>) -> Result<Process, ExecError> {
    let pid = request.init.as_raw_nonzero().get();
    let not_running = |source| ExecError::NotRunning { pid, source };
    let init =
        pidfd_open(request.init, PidfdFlags::empty()).map_err(|it| not_running(it.into()))?;
    if request.cgroup.is_some_and(|it| it.is_frozen().unwrap_or(false)) {
        return Err(ExecError::Paused);
    }
    let linux = request.spec.linux().clone().unwrap_or_default();
    let mut warnings = Vec::new();
    let plan = ProcessPlan::new(request.process, &linux, request.seccomp, &mut warnings)
        .map_err(ExecError::Create)?;
    let (child, channel) = bear_guest(&request, &linux, &plan, &init)?;
    let mut process = Process { pid: child.pid, pidfd: child.pidfd, terminal: None, warnings };
    match attend(&mut process, &channel, &plan, &request) {
        Ok(()) => Ok(process),
        Err(error) => {
            kill_and_reap(&process.pidfd);
            Err(error)
        }
    }
}

/// Bears the process, in the container's namespaces, by way of an intermediate process that
/// enters them.
fn bear_guest(
    request: &ExecRequest<'_>,
    linux: &oci_spec::runtime::Linux,
    process: &ProcessPlan,
    init: &OwnedFd,
) -> Result<(Child, Channel), ExecError> {
    let failed = |step| move |source| ExecError::Create(CreateError::Parent { step, source });
    let of_cgroup = |source| ExecError::Create(CreateError::Cgroup { source });
    let (ours, theirs) = Channel::pair().map_err(failed("make a channel"))?;
    let join = request.cgroup.map(|it| it.join_beside(request.init)).transpose();
    let join = join.map_err(of_cgroup)?;
    let namespaces = plan::namespaces_of(linux);
    let guest = Guest {
        request,
        process,
        in_user_namespace: namespaces & wadah_sys::process::namespace::USER != 0,
        join: join.as_ref(),
        channel: &theirs,
    };
    let before = || enter(init, namespaces, process, &theirs);
    let birth = Birth { cgroup: join.as_ref().and_then(|it| it.unified()), ..Birth::default() };
    let ours = Cell::new(Some(ours));
    let born = bear(birth, Some(&before), &theirs, || {
        // The child's copy of our end, or it would never see us go.
        drop(ours.take());
        guest.live()
    });
    drop(theirs);
    let ours = ours.take().expect("BUG: taken in the child only");
    match born {
        Ok(child) => Ok((child, ours)),
        Err(source) => match ours.receive() {
            Ok(Some((Report::Failed(failure), _))) => Err(failure.into()),
            _ => Err(failed("bear the process")(source)),
        },
    }
}

/// What the intermediate process does: the last steps with the host's view, then all of the
/// container's namespaces at once, by the descriptor of its first process.
fn enter(
    init: &OwnedFd,
    namespaces: u64,
    process: &ProcessPlan,
    channel: &Channel,
) -> Result<(), Failure> {
    if let Some(score) = process.oom_score_adj {
        let set = set_oom_score_adj("self", score);
        warn_if_forbidden(set, channel, "process.oomScoreAdj")?;
    }
    let kinds = u32::try_from(namespaces).unwrap_or(0);
    move_into_thread_name_spaces(init.as_fd(), ThreadNameSpaceType::from_bits_retain(kinds))
        .step(|| "enter the container's namespaces")
}

/// Listens until the executable runs.
fn attend(
    process: &mut Process,
    channel: &Channel,
    plan: &ProcessPlan,
    request: &ExecRequest<'_>,
) -> Result<(), ExecError> {
    let failed = |step| move |source| ExecError::Create(CreateError::Parent { step, source });
    loop {
        let received = channel.receive().map_err(failed("hear from the process"))?;
        let Some((report, fd)) = received else { return Ok(()) };
        match report {
            Report::Warning(text) => process.warnings.push(text),
            Report::Terminal => process.terminal = fd,
            Report::Failed(failure) => return Err(failure.into()),
            Report::SeccompListener => {
                let bundle = std::path::Path::new("");
                let state = plan::state(request.spec, "", "running", Some(request.init), bundle);
                hand_on(plan.seccomp.as_ref(), fd, process.pid, state)
                    .map_err(failed("reach the agent of the seccomp filter"))?;
            }
            Report::MapIds | Report::Hooks | Report::Ready => {}
        }
    }
}
