//! Taking turns, so that what the machine does meanwhile falls on everyone alike.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

/// One of those compared: a name, and what it does once.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() -> Result<()> + 'a>,
}

impl<'a> Contender<'a> {
    pub(crate) fn new(name: &'static str, run: impl FnMut() -> Result<()> + 'a) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// A contender that runs the command that `make` makes, to its end.
    pub(crate) fn command(name: &'static str, mut make: impl FnMut() -> Command + 'a) -> Self {
        Self::new(name, move || quietly(&mut make()))
    }
}

/// Lets everyone run once unmeasured and then `rounds` times in turn; gives the medians, in order.
pub(crate) fn alternate(rounds: u32, contenders: &mut [Contender<'_>]) -> Result<Vec<Duration>> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let begin = Instant::now();
            (contender.run)().with_context(|| contender.name)?;
            if round > 0 {
                times.push(begin.elapsed());
            }
        }
    }
    Ok(times.into_iter().map(median).collect())
}

/// Runs a command to its end with its output thrown away; an error, with what it complained of, if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}: {complaint}", output.status);
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
