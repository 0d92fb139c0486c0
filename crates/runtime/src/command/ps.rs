//! `ps`: the processes of a container, as the host's `ps` shows them.

use std::process::{Command, Stdio};

use super::{
    error::CommandError,
    flags::{Ps, Shape},
    list::{print, print_json},
    state::Root,
};

/// Prints the processes. Returns what to exit with.
pub(super) fn ps(root: &Root, flags: &Ps) -> Result<u8, CommandError> {
    let record = root.find(&flags.id)?.record()?;
    let pids: Vec<i32> =
        record.open_cgroup()?.pids()?.into_iter().map(rustix::process::Pid::as_raw_pid).collect();
    if flags.format == Shape::Json {
        return print_json(&pids, false).map(|()| 0);
    }
    let default = ["-ef".to_owned()];
    let arguments = if flags.arguments.is_empty() { &default[..] } else { &flags.arguments };
    let output = Command::new("ps")
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| CommandError::Program { program: "ps", source })?;
    if !output.status.success() {
        return Ok(1);
    }
    print(&only(&String::from_utf8_lossy(&output.stdout), &pids)).map(|()| 0)
}

/// Keeps the header and the lines of these processes.
fn only(text: &str, pids: &[i32]) -> String {
    let mut lines = text.lines();
    let Some(header) = lines.next() else { return String::new() };
    let column = header.split_whitespace().position(|it| it == "PID").unwrap_or(0);
    let mut kept = format!("{header}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|it| it.parse().ok());
        if pid.is_some_and(|it| pids.contains(&it)) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_container_are_kept() {
        let text = "UID PID CMD\nroot 1 init\nroot 12 sh\nroot 2 x 12\n";
        assert_eq!(only(text, &[12]), "UID PID CMD\nroot 12 sh\n");
    }
}
