//! Processes, sizes, names, counts: small questions about containers.

use std::{
    collections::BTreeSet,
    io::Read as _,
    process::{Command, Stdio},
    sync::Arc,
};

use wadah_oci::ContainerName;
use wadah_shim::protocol::{Answer, Call};

use super::{
    Count,
    container::Container,
    shared::Shared,
    view::{Running, Size, State, Top},
};
use crate::{EngineError, supervisor::Deadline};

/// How much ps(1) may say.
const OUTPUT: u64 = 8 << 20;

impl Shared {
    /// Lists the processes of a container, as ps(1) shows them.
    pub(super) async fn top(
        &self,
        container: &Container,
        arguments: &str,
    ) -> Result<Top, EngineError> {
        let run = container.run()?;
        let id = container.id().as_str();
        let answer = run.connection.call(Call::Pids, Deadline::Short).await;
        let Answer::Pids { pids } = answer.map_err(|it| it.about("list the processes of", id))?
        else {
            return Err(EngineError::invalid("the supervisor did not list the processes"));
        };
        let arguments = if arguments.trim().is_empty() { "-ef" } else { arguments };
        let arguments: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
        self.tasks.block(move || parse(&ps(&arguments)?, &pids.into_iter().collect())).await
    }

    /// The space a container uses.
    pub(super) async fn size(&self, container: &Container) -> Result<Size, EngineError> {
        let upper = self.store.containers.directories(container.id()).upper;
        let layers = container.definition.layers.iter().filter_map(|it| self.store.layers.get(it));
        let of_image: u64 = layers.map(|it| it.size).sum();
        let writable = self.tasks.block(move || Ok(disk_usage(&upper))).await?;
        Ok(Size { writable, total: of_image.saturating_add(writable) })
    }

    /// Gives a container another name.
    pub(super) async fn rename(
        self: Arc<Self>,
        container: Arc<Container>,
        name: String,
    ) -> Result<(), EngineError> {
        if name.trim_start_matches('/').is_empty() {
            return Err(EngineError::invalid("Neither old nor new names may be empty".to_owned()));
        }
        let new: ContainerName =
            name.parse().map_err(|it| EngineError::invalid(format!("{it}")))?;
        let _operation = container.operate("rename").await?;
        let old = container.name();
        if old == new {
            return Err(EngineError::invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let hold = self.registry.hold(new, container.id())?;
        self.registry.rename(&container, hold);
        self.write_down(&container).await?;
        self.tell(&container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Counts containers by state.
    pub(crate) fn count(&self) -> Count {
        let mut count = Count::default();
        for container in self.registry.all() {
            match container.now().state {
                State::Running(Running { paused: false, .. }) => count.running += 1,
                State::Running(Running { paused: true, .. }) => count.paused += 1,
                _ => count.stopped += 1,
            }
        }
        count
    }
}

/// Executes the host's ps(1). Nothing of the container is executed.
fn ps(arguments: &[String]) -> Result<String, EngineError> {
    let failed = |error| EngineError::io("cannot run ps", error);
    let mut child = Command::new("ps")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let mut text = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT).read_to_string(&mut text).map_err(failed)?;
    }
    let status = child.wait().map_err(failed)?;
    if !status.success() {
        return Err(EngineError::invalid(format!("ps: {}", arguments.join(" "))));
    }
    Ok(text)
}

/// Chooses the rows of the container's processes, by the column `PID`.
fn parse(text: &str, pids: &BTreeSet<i32>) -> Result<Top, EngineError> {
    let mut lines = text.lines();
    let titles: Vec<String> =
        lines.next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    let column = titles.iter().position(|it| it == "PID");
    let column =
        column.ok_or_else(|| EngineError::invalid("Couldn't find PID field in ps output"))?;
    let mut processes = Vec::new();
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let pid = words.get(column).and_then(|it| it.parse().ok());
        if pid.is_some_and(|it| pids.contains(&it)) {
            processes.push(row(&words, titles.len()));
        }
    }
    Ok(Top { titles, processes })
}

/// The words of a row, the last column holding the rest.
fn row(words: &[&str], columns: usize) -> Vec<String> {
    let (fixed, rest) = words.split_at(words.len().min(columns.saturating_sub(1)));
    let mut row: Vec<_> = fixed.iter().map(|it| (*it).to_owned()).collect();
    if !rest.is_empty() {
        row.push(rest.join(" "));
    }
    row
}

/// The bytes of all regular files below `root`. What vanishes meanwhile is not counted.
fn disk_usage(root: &std::path::Path) -> u64 {
    let mut total = 0;
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                directories.push(entry.path());
            } else if metadata.is_file() {
                total += metadata.len();
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let text = "UID PID PPID CMD\nroot 1 0 /sbin/init splash\nroot 42 1 sleep  10\n";
        let top = parse(text, &BTreeSet::from([42])).unwrap();
        assert_eq!(top.titles, ["UID", "PID", "PPID", "CMD"]);
        assert_eq!(top.processes, [["root", "42", "1", "sleep 10"]]);
        let error = parse("A B\n", &BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("PID"));
    }
}
