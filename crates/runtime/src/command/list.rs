//! `state` and `list`: telling about containers.

use std::{fs, io::Write, path::Path};

use serde::Serialize;

use super::{
    error::CommandError,
    flags::{List, Shape},
    state::{Record, Root, Status},
};

/// A container's state (OCI runtime spec, "State") and what runc adds to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    oci_version: &'static str,
    id: &'a str,
    pid: i32,
    status: String,
    bundle: &'a Path,
    rootfs: &'a Path,
    created: &'a str,
    #[serde(skip_serializing_if = "std::collections::HashMap::is_empty")]
    annotations: &'a std::collections::HashMap<String, String>,
    owner: String,
}

impl<'a> State<'a> {
    fn of(record: &'a Record) -> Self {
        let status = record.status();
        Self {
            oci_version: "1.2.1",
            id: &record.id,
            pid: if status == Status::Stopped { 0 } else { record.pid },
            status: status.to_string(),
            bundle: &record.bundle,
            rootfs: &record.rootfs,
            created: &record.created,
            annotations: &record.annotations,
            owner: name_of(record.owner),
        }
    }
}

/// The name of a user of the host, or the number where it has none.
fn name_of(uid: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>().ok()? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

/// Prints the state of one container.
pub(super) fn state(root: &Root, id: &str) -> Result<(), CommandError> {
    let record = root.find(id)?.record()?;
    print_json(&State::of(&record), true)
}

/// Prints all containers.
pub(super) fn list(root: &Root, flags: &List) -> Result<(), CommandError> {
    let mut records = Vec::new();
    for id in root.ids()? {
        match root.find(&id).and_then(|it| it.record()) {
            Ok(record) => records.push(record),
            // Deleted since the directory was read, or still being made.
            Err(CommandError::Unknown { .. }) => {}
            Err(err) => return Err(err),
        }
    }
    if flags.quiet {
        let ids: String = records.iter().map(|it| format!("{}\n", it.id)).collect();
        return print(&ids);
    }
    let states: Vec<State<'_>> = records.iter().map(State::of).collect();
    match flags.format {
        Shape::Json if states.is_empty() => print("null\n"),
        Shape::Json => print_json(&states, false).and_then(|()| print("\n")),
        Shape::Table => print(&table(&states)),
    }
}

fn table(states: &[State<'_>]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(ToOwned::to_owned);
    let row = |it: &State<'_>| {
        [
            it.id.to_owned(),
            it.pid.to_string(),
            it.status.clone(),
            it.bundle.display().to_string(),
            it.created.to_owned(),
            it.owner.clone(),
        ]
    };
    columns(std::iter::once(header).chain(states.iter().map(row)).collect())
}

/// Lays rows out in columns at least twelve wide, three apart.
pub(super) fn columns<const N: usize>(rows: Vec<[String; N]>) -> String {
    let mut widths = [12; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + 3);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(&format!("{cell:<width$}"));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Prints to standard output; a reader that went away is no failure of the command.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandError::Write { path: "standard output".into(), source })
        }
        _ => Ok(()),
    }
}

pub(super) fn print_json(value: &impl Serialize, pretty: bool) -> Result<(), CommandError> {
    let text =
        if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    print(&text.expect("BUG: an answer that JSON cannot hold"))
}
