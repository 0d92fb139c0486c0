//! `exec`: another process in a container.

use std::{collections::HashSet, os::fd::AsFd};

use oci_spec::runtime::{Capability, LinuxCapabilities, Process as SpecProcess, User};

use super::{
    console,
    error::CommandError,
    flags::Exec,
    log::Log,
    state::{self, Record, Root, Status},
    wait,
};
use crate::{
    ExecError, ExecRequest, Process, SeccompPolicy, Stdio,
    cgroup::{Cgroup, Location},
    protect,
};

/// Runs a process and, unless it is to be left alone, waits for its end. Returns what to exit with.
pub(super) fn exec(root: &Root, flags: &Exec, log: &Log) -> Result<u8, CommandError> {
    protect::reexec_from_readonly().map_err(|source| CommandError::Protect { source })?;
    let entry = root.find(&flags.id)?;
    let record = entry.record()?;
    check_status(&record, flags)?;
    let spec = entry.spec()?;
    let process = process_of(flags, spec.process().as_ref())?;
    let terminal = process.terminal().unwrap_or(false);
    check_console(flags, terminal)?;
    let cgroup = cgroup_of(&record, flags)?;
    let not_running =
        || CommandError::NotRunning { id: record.id.clone(), status: Status::Stopped };
    let init = record.process().ok_or_else(not_running)?;
    if !flags.detach {
        // From here on, so that none is lost before the waiting begins.
        wadah_sys::process::block_signals();
    }
    let size = if flags.console_socket.is_none() { console::own_size() } else { None };
    let started = crate::exec(ExecRequest {
        init,
        spec: &spec,
        process: &process,
        cgroup: Some(&cgroup),
        stdio: if terminal { Stdio::Terminal { size } } else { Stdio::Inherit },
        preserve_fds: flags.preserve_fds,
        seccomp: SeccompPolicy::Spec,
        parent_death_signal: false,
    });
    let mut started = started.map_err(|source| CommandError::Exec { source })?;
    log.warnings(&started.warnings);
    hand_over(flags, &mut started)?;
    if flags.detach {
        return Ok(0);
    }
    wait::wait(started.pid, started.terminal)
}

fn check_status(record: &Record, flags: &Exec) -> Result<(), CommandError> {
    match record.status() {
        Status::Paused if !flags.ignore_paused => {
            Err(CommandError::Exec { source: ExecError::Paused })
        }
        Status::Stopped => {
            Err(CommandError::NotRunning { id: record.id.clone(), status: Status::Stopped })
        }
        _ => Ok(()),
    }
}

fn check_console(flags: &Exec, terminal: bool) -> Result<(), CommandError> {
    match (terminal, &flags.console_socket) {
        (true, None) if flags.detach => Err(CommandError::NoConsole),
        (false, Some(_)) => Err(CommandError::NoTerminal),
        _ => Ok(()),
    }
}

/// Sends the terminal where it is wanted, and writes the process's id down.
fn hand_over(flags: &Exec, started: &mut Process) -> Result<(), CommandError> {
    if let Some(socket) = &flags.console_socket
        && let Some(terminal) = started.terminal.take()
    {
        console::send(socket, terminal.as_fd(), "/dev/ptmx")?;
    }
    if let Some(socket) = &flags.pidfd_socket {
        console::send(socket, started.pidfd.as_fd(), "pidfd")?;
    }
    match &flags.pid_file {
        Some(path) => state::replace(path, started.pid.as_raw_pid().to_string().as_bytes()),
        None => Ok(()),
    }
}

fn cgroup_of(record: &Record, flags: &Exec) -> Result<Cgroup, CommandError> {
    let Some(below) = flags.cgroup.first() else { return record.open_cgroup() };
    let invalid = |problem| CommandError::Flag { flag: "--cgroup", value: below.clone(), problem };
    if flags.cgroup.len() > 1 || below.contains(':') {
        return Err(invalid("one path for all controllers is supported"));
    }
    let location = Location::new(&format!("{}/{below}", record.cgroup.as_str()))
        .map_err(|_| invalid("not a path below the container's group"))?;
    Ok(Cgroup::open(&location)?)
}

/// Takes the process from `--process`, or the container's own with what the flags say.
fn process_of(flags: &Exec, own: Option<&SpecProcess>) -> Result<SpecProcess, CommandError> {
    if let Some(path) = &flags.process {
        return state::read_json(path);
    }
    let mut process = own.cloned().unwrap_or_default();
    if flags.command.is_empty() {
        return Err(CommandError::Flag {
            flag: "exec",
            value: String::new(),
            problem: "a command, or --process, is needed",
        });
    }
    process.set_args(Some(flags.command.clone()));
    process.set_terminal(Some(flags.tty));
    if let Some(directory) = &flags.cwd {
        process.set_cwd(directory.clone());
    }
    let mut environment = process.env().clone().unwrap_or_default();
    environment.extend(flags.env.iter().cloned());
    process.set_env(Some(environment));
    if let Some(user) = &flags.user {
        process.set_user(user_of(user, process.user())?);
    }
    if !flags.additional_gids.is_empty() {
        let mut user = process.user().clone();
        user.set_additional_gids(Some(flags.additional_gids.clone()));
        process.set_user(user);
    }
    if flags.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if flags.process_label.is_some() {
        process.set_selinux_label(flags.process_label.clone());
    }
    if flags.apparmor.is_some() {
        process.set_apparmor_profile(flags.apparmor.clone());
    }
    add_capabilities(&mut process, &flags.cap)?;
    Ok(process)
}

/// Reads `UID[:GID]`. Names are the engine's business: they would be the image's.
fn user_of(text: &str, own: &User) -> Result<User, CommandError> {
    let number = |it: &str| {
        it.parse::<u32>().map_err(|_| CommandError::Flag {
            flag: "--user",
            value: text.to_owned(),
            problem: "expected UID or UID:GID",
        })
    };
    let mut user = own.clone();
    match text.split_once(':') {
        Some((uid, gid)) => {
            user.set_uid(number(uid)?);
            user.set_gid(number(gid)?);
        }
        None => {
            user.set_uid(number(text)?);
        }
    }
    Ok(user)
}

fn add_capabilities(process: &mut SpecProcess, names: &[String]) -> Result<(), CommandError> {
    if names.is_empty() {
        return Ok(());
    }
    let mut added = HashSet::new();
    for name in names {
        let known = serde_json::from_value::<Capability>(serde_json::json!(name));
        added.insert(known.map_err(|_| CommandError::Flag {
            flag: "--cap",
            value: name.clone(),
            problem: "unknown capability",
        })?);
    }
    let mut all = process.capabilities().clone().unwrap_or_else(no_capabilities);
    // Not the inheritable and ambient ones: they would outlive an execve by another user.
    for mut set in [all.bounding().clone(), all.effective().clone(), all.permitted().clone()]
        .into_iter()
        .map(Option::unwrap_or_default)
        .enumerate()
    {
        set.1.extend(added.iter().copied());
        match set.0 {
            0 => all.set_bounding(Some(set.1)),
            1 => all.set_effective(Some(set.1)),
            _ => all.set_permitted(Some(set.1)),
        };
    }
    process.set_capabilities(Some(all));
    Ok(())
}

fn no_capabilities() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None)
        .set_effective(None)
        .set_permitted(None)
        .set_inheritable(None)
        .set_ambient(None);
    none
}
