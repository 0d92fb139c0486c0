//! The table of what was measured.

use std::{fmt, fs, time::Duration};

use anyhow::{Context as _, Result};

use crate::shell;

const BEGIN: &str = "<!-- begin: cargo xtask bench --write -->\n";
const END: &str = "<!-- end -->\n";

/// One comparison.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    pub(crate) peer: &'static str,
    pub(crate) ratio: Option<f64>,
    pub(crate) target: f64,
}

impl Row {
    /// Our time against a peer's; the target is the highest ratio that is good enough.
    pub(crate) fn times(
        what: &str,
        ours: Duration,
        peer: &'static str,
        theirs: Duration,
        target: f64,
    ) -> Self {
        let ratio = Some(ours.as_secs_f64() / theirs.as_secs_f64());
        Self {
            what: what.into(),
            ours: milliseconds(ours),
            theirs: milliseconds(theirs),
            peer,
            ratio,
            target,
        }
    }

    /// Our bytes against a limit.
    pub(crate) fn bytes(what: &str, kibibytes: u64, limit: u64) -> Self {
        let show = |kib: u64| format!("{}.{:02} MB", kib / 1024, kib % 1024 * 100 / 1024);
        let ratio = u32::try_from(kibibytes)
            .ok()
            .zip(u32::try_from(limit).ok())
            .map(|(a, b)| f64::from(a) / f64::from(b));
        Self {
            what: what.into(),
            ours: show(kibibytes),
            theirs: show(limit),
            peer: "limit",
            ratio,
            target: 1.0,
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// All comparisons of one run.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn fail(&mut self, name: &str, error: &anyhow::Error) {
        self.failures.push(format!("{name}: {error:#}"));
    }

    /// Puts the table between the marks of docs/benchmarks.md.
    pub(crate) fn write(&self) -> Result<()> {
        let path = shell::top().join("docs/benchmarks.md");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (head, rest) =
            text.split_once(BEGIN).context("docs/benchmarks.md has lost its begin mark")?;
        let (_, tail) = rest.split_once(END).context("docs/benchmarks.md has lost its end mark")?;
        Ok(fs::write(&path, format!("{head}{BEGIN}\n{self}\n{END}{tail}"))?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        writeln!(
            f,
            "Load averages at the end: {}.\n",
            load.split(' ').take(3).collect::<Vec<_>>().join(" ")
        )?;
        writeln!(f, "| what | wadah | peer | | ratio | target | |")?;
        writeln!(f, "|---|---:|---|---:|---:|---:|---|")?;
        for Row { what, ours, theirs, peer, ratio, target } in &self.rows {
            let verdict = if ratio.is_some_and(|it| it <= *target) { "met" } else { "**missed**" };
            let ratio = ratio.map(|it| format!("{it:.3}")).unwrap_or_default();
            writeln!(
                f,
                "| {what} | {ours} | {peer} | {theirs} | {ratio} | ≤ {target:.3} | {verdict} |"
            )?;
        }
        for failure in &self.failures {
            writeln!(f, "\nNot measured: {failure}")?;
        }
        Ok(())
    }
}
