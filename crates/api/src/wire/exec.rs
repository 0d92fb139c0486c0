//! Exec sessions, inspected.

use serde::Serialize;
use wadah_engine::execs::ExecSnapshot;

/// The answer to `GET /exec/{id}/json`.
#[derive(Debug, Serialize)]
pub(crate) struct InspectedExec<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    #[serde(rename = "Running")]
    running: bool,
    #[serde(rename = "ExitCode")]
    exit_code: Option<i32>,
    #[serde(rename = "ProcessConfig")]
    process: Process<'a>,
    #[serde(rename = "OpenStdin")]
    open_stdin: bool,
    #[serde(rename = "OpenStderr")]
    open_stderr: bool,
    #[serde(rename = "OpenStdout")]
    open_stdout: bool,
    #[serde(rename = "CanRemove")]
    can_remove: bool,
    #[serde(rename = "ContainerID")]
    container: &'a str,
    #[serde(rename = "DetachKeys")]
    detach_keys: &'a str,
    #[serde(rename = "Pid")]
    pid: i32,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    tty: bool,
    entrypoint: &'a str,
    arguments: &'a [String],
    privileged: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    user: &'a str,
}

impl<'a> From<&'a ExecSnapshot> for InspectedExec<'a> {
    fn from(it: &'a ExecSnapshot) -> Self {
        let config = &it.config;
        let (entrypoint, arguments) = match config.command.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", Default::default()),
        };
        Self {
            id: it.id.as_str(),
            running: it.running,
            exit_code: it.exit_code,
            process: Process {
                tty: config.tty,
                entrypoint,
                arguments,
                privileged: config.privileged,
                user: &config.user,
            },
            open_stdin: config.attach_stdin,
            open_stderr: config.attach_stderr,
            open_stdout: config.attach_stdout,
            can_remove: it.exit_code.is_some(),
            container: it.container.as_str(),
            detach_keys: &config.detach_keys,
            pid: it.pid,
        }
    }
}
