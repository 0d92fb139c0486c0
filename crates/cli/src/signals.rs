//! Signals: those that reach us while a container is in the foreground.

use std::{future, task::Poll};

use tokio::signal::unix::{self, SignalKind};

use crate::failure::Failure;

/// A signal's number and its name without `SIG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    pub number: i32,
    pub name: &'static str,
}

/// The window has changed its size. It is not proxied: the resize is.
pub(crate) const WINCH: i32 = 28;
/// We run again after having been stopped.
pub(crate) const CONT: i32 = 18;

/// What is caught. Absent: what cannot be caught (KILL, STOP), what faults raise, what is about
/// our own children and pipes (CHLD, PIPE), and job control from the terminal (TTIN, TTOU).
const CAUGHT: [Signal; 16] = [
    Signal { number: 1, name: "HUP" },
    Signal { number: 2, name: "INT" },
    Signal { number: 3, name: "QUIT" },
    Signal { number: 10, name: "USR1" },
    Signal { number: 12, name: "USR2" },
    Signal { number: 14, name: "ALRM" },
    Signal { number: 15, name: "TERM" },
    Signal { number: 16, name: "STKFLT" },
    Signal { number: CONT, name: "CONT" },
    Signal { number: 20, name: "TSTP" },
    Signal { number: 24, name: "XCPU" },
    Signal { number: 26, name: "VTALRM" },
    Signal { number: 27, name: "PROF" },
    Signal { number: WINCH, name: "WINCH" },
    Signal { number: 29, name: "IO" },
    Signal { number: 30, name: "PWR" },
];

/// Those whose default action would end us with the terminal in raw mode.
const DEADLY: [i32; 4] = [1, 2, 3, 15];

/// Which signals to catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All that can be passed on.
    All,
    /// Those that would end us, and those about the window.
    Own,
}

/// The signals that are caught, until dropped.
#[derive(Debug)]
pub(crate) struct Signals {
    streams: Vec<(Signal, unix::Signal)>,
}

impl Signals {
    /// Starts catching signals. From here on none of them has its default action.
    pub(crate) fn catch(wanted: Wanted) -> Result<Self, Failure> {
        let streams = CAUGHT
            .into_iter()
            .filter(|it| {
                let own = DEADLY.contains(&it.number) || [WINCH, CONT].contains(&it.number);
                wanted == Wanted::All || own
            })
            .map(|it| Ok((it, unix::signal(SignalKind::from_raw(it.number))?)))
            .collect::<Result<_, _>>()
            .map_err(|source| Failure::System { action: "catch signals", source })?;
        Ok(Self { streams })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        future::poll_fn(|cx| {
            for (signal, stream) in &mut self.streams {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

impl Signal {
    /// Whether it asks a process to end.
    pub(crate) fn is_deadly(self) -> bool {
        DEADLY.contains(&self.number)
    }
}
