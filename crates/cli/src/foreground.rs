//! The foreground: what goes on between us and a container while its streams are ours.
//!
//! The bytes are the session's affair; here are signals, the window's size, and the end.

use std::time::Duration;

use tokio::time;

use crate::{
    client::{Client, Request},
    failure::Failure,
    output,
    session::{Ended, Session},
    signals::{self, Signal, Signals},
    terminal::{self, Raw},
};

/// How often a first resize that failed is tried again, and after how long.
const ATTEMPTS: u8 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// Whose terminal is resized.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    Container(&'a str),
    Exec(&'a str),
}

/// Something in the foreground.
#[derive(Debug)]
pub(crate) struct Foreground<'a> {
    pub client: &'a Client,
    pub target: Target<'a>,
    pub session: Session,
    /// The signals that are caught; `None` leaves them their default action.
    pub signals: Option<Signals>,
    /// Whether signals are passed on to the container.
    pub proxy: bool,
    pub tty: bool,
    pub raw: Option<Raw>,
}

/// Why the foreground was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// The process has closed its output.
    Ended,
    /// The detach keys were typed.
    Detached,
}

impl Foreground<'_> {
    /// Stays until the streams end. The terminal is as it was before when this returns.
    pub(crate) async fn stay(mut self) -> Result<Left, Failure> {
        let mut attempts = if self.tty && !self.resize().await { ATTEMPTS } else { 0 };
        loop {
            let ended = tokio::select! {
                biased;
                ended = self.session.ended() => ended,
                signal = next(&mut self.signals) => {
                    self.signal(signal).await?;
                    continue;
                }
                () = time::sleep(PAUSE), if attempts > 0 => {
                    attempts = if self.resize().await { 0 } else { attempts - 1 };
                    continue;
                }
            };
            drop(self.raw.take());
            return match ended {
                Ended::Output => Ok(Left::Ended),
                Ended::Detached => Ok(Left::Detached),
                // As the signal would have ended us that comes with it.
                Ended::HungUp => Err(Failure::Told { status: 129 }),
                Ended::Unwritable(source) => Err(Failure::Output { source }),
                Ended::Garbled(source) => {
                    Err(Failure::Connection { what: "output", source: Box::new(source) })
                }
            };
        }
    }

    async fn signal(&mut self, signal: Signal) -> Result<(), Failure> {
        if signal.number == signals::WINCH {
            if self.tty {
                self.resize().await;
            }
            return Ok(());
        }
        if signal.number == signals::CONT
            && let Some(raw) = &self.raw
        {
            // Without a terminal there is no mode to restore.
            let _ = raw.apply();
        }
        match self.target {
            Target::Container(id) if self.proxy => {
                let kill = Request::post(&["containers", id, "kill"]).query("signal", signal.name);
                if let Err(failure) = self.client.unit(kill).await {
                    self.unproxied(signal, &failure);
                }
                Ok(())
            }
            _ if signal.is_deadly() => {
                drop(self.raw.take());
                let status = u8::try_from(128 + signal.number).unwrap_or(u8::MAX);
                Err(Failure::Told { status })
            }
            _ => Ok(()),
        }
    }

    /// Tells about a signal that was not passed on, unless the container has just ended.
    fn unproxied(&self, signal: Signal, failure: &Failure) {
        let gone = matches!(failure.status(), Some(404 | 409));
        if !gone {
            output::note(&format!("cannot pass on SIG{}: {}", signal.name, failure.chain()));
        }
    }

    /// Tells the container our window's size; true if there is nothing more to tell. A process
    /// that has ended has no window, and one that has hardly begun may have none yet.
    async fn resize(&self) -> bool {
        let Some(size) = terminal::size() else { return true };
        let segments = match self.target {
            Target::Container(id) => ["containers", id, "resize"],
            Target::Exec(id) => ["exec", id, "resize"],
        };
        let request = Request::post(&segments).query("h", size.rows).query("w", size.columns);
        self.client.unit(request).await.is_ok()
    }
}

async fn next(signals: &mut Option<Signals>) -> Signal {
    match signals {
        Some(signals) => signals.next().await,
        None => std::future::pending().await,
    }
}
