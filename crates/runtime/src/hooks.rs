//! Hooks: programs of the host that run at points of a container's life.
//!
//! A hook gets the container's state on its standard input and has a time limit if the
//! specification names one. Its input and its error output are anonymous files, so that a hook
//! which does not read, or leaves a process behind, holds nobody up.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use oci_spec::runtime as spec;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{channel::Failure, plan};

/// How much of a failed hook's error output is told.
const TAIL: u64 = 1 << 10;

/// The points at which hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Point {
    /// Those that run before the container's executable does.
    pub(crate) const ALL_BEFORE_START: [Self; 4] =
        [Self::Prestart, Self::CreateRuntime, Self::CreateContainer, Self::StartContainer];

    /// Whether a specification has hooks for it.
    pub(crate) fn has_hooks(self, spec: &spec::Spec) -> bool {
        !self.hooks(spec).is_empty()
    }

    fn hooks(self, spec: &spec::Spec) -> &[spec::Hook] {
        let Some(hooks) = spec.hooks() else { return &[] };
        match self {
            Self::Prestart => prestart(hooks),
            Self::CreateRuntime => hooks.create_runtime(),
            Self::CreateContainer => hooks.create_container(),
            Self::StartContainer => hooks.start_container(),
            Self::Poststart => hooks.poststart(),
            Self::Poststop => hooks.poststop(),
        }
        .as_deref()
        .unwrap_or_default()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

#[allow(deprecated, reason = "the specification still asks for prestart hooks to be run")]
fn prestart(hooks: &spec::Hooks) -> &Option<Vec<spec::Hook>> {
    hooks.prestart()
}

/// Runs the hooks of a point, up to the first that fails.
pub(crate) fn run(spec: &spec::Spec, point: Point, state: &[u8]) -> Result<(), Failure> {
    for hook in point.hooks(spec) {
        run_one(hook, state).map_err(|problem| Failure::Hook {
            kind: point.name().into(),
            path: hook.path().clone(),
            problem,
        })?;
    }
    Ok(())
}

/// Runs the `poststart` hooks; what failed is returned, for a warning, as the specification has it.
pub fn poststart(spec: &spec::Spec, id: &str, pid: Pid, bundle: &Path) -> Vec<String> {
    run_all(spec, Point::Poststart, plan::state(spec, id, "running", Some(pid), bundle))
}

/// Runs the `poststop` hooks; what failed is returned, for a warning, as the specification has it.
pub fn poststop(spec: &spec::Spec, id: &str, bundle: &Path) -> Vec<String> {
    run_all(spec, Point::Poststop, plan::state(spec, id, "stopped", None, bundle))
}

fn run_all(spec: &spec::Spec, point: Point, state: serde_json::Value) -> Vec<String> {
    let state = state.to_string();
    let failed = |hook: &spec::Hook| {
        let problem = run_one(hook, state.as_bytes()).err()?;
        Some(format!("hook {:?} of {} failed: {problem}", hook.path(), point.name()))
    };
    point.hooks(spec).iter().filter_map(failed).collect()
}

fn run_one(hook: &spec::Hook, state: &[u8]) -> Result<(), String> {
    let (mut input, errors) = (anonymous_file()?, anonymous_file()?);
    input.write_all(state).and_then(|()| input.rewind()).map_err(|it| it.to_string())?;
    let copy = errors.try_clone().map_err(|it| it.to_string())?;
    let mut child = command(hook, input, copy).spawn().map_err(|it| it.to_string())?;
    let limit = hook.timeout().and_then(|it| u64::try_from(it).ok()).map(Duration::from_secs);
    match wait(&mut child, limit)? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(format!("{status}{}", tail(errors))),
        None => {
            Err(format!("killed after {} s{}", limit.unwrap_or_default().as_secs(), tail(errors)))
        }
    }
}

fn command(hook: &spec::Hook, input: File, errors: File) -> Command {
    let mut command = Command::new(hook.path());
    let mut arguments = hook.args().as_deref().unwrap_or_default().iter();
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let variables = hook.env().iter().flatten().filter_map(|it| it.split_once('='));
    command.args(arguments).env_clear().envs(variables);
    command.stdin(input).stdout(Stdio::null()).stderr(errors);
    command
}

/// Waits for the end; `None` if the time limit came first, after killing it.
fn wait(child: &mut Child, limit: Option<Duration>) -> Result<Option<ExitStatus>, String> {
    let text = |it: std::io::Error| it.to_string();
    let deadline = limit.map(|it| Instant::now() + it);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|it| it.to_string())?;
    loop {
        if let Some(status) = child.try_wait().map_err(text)? {
            return Ok(Some(status));
        }
        let left = deadline.map(|it| it.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            child.kill().map_err(text)?;
            child.wait().map_err(text)?;
            return Ok(None);
        }
        let left = left.and_then(|it| Timespec::try_from(it).ok());
        // What wakes us is looked at above, an interruption too.
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], left.as_ref());
    }
}

fn anonymous_file() -> Result<File, String> {
    memfd_create("hook", MemfdFlags::CLOEXEC).map(File::from).map_err(|it| it.to_string())
}

fn tail(mut errors: File) -> String {
    let length = errors.seek(SeekFrom::End(0)).unwrap_or(0);
    let mut bytes = Vec::new();
    let from = SeekFrom::Start(length.saturating_sub(TAIL));
    if errors.seek(from).is_err() || errors.take(TAIL).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}
