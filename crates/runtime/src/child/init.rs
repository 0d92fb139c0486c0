//! A pid 1 of ours: it reaps orphans and passes signals on to the one process it is there for.
//!
//! It executes nothing, so nothing has to be put into the container for it; it holds no descriptor,
//! has the user, the capabilities and the filter of the process, and cannot be traced.

use std::{convert::Infallible, io};

use rustix::process::{DumpableBehavior, Pid, WaitOptions, set_dumpable_behavior, setpgid, wait};
use wadah_sys::{
    fd::close_from,
    process::{block_signals, exit, fork, kill, reset_signals, wait_for_signal},
};

/// Signals that are about pid 1 itself: the kernel reports faults and stops to whom they happen.
const OWN: [i32; 8] = [4, 5, 6, 7, 8, 11, 21, 22];
const SIGCHLD: i32 = 17;

/// Bears a child that runs `body`, and becomes its init: waits for it and ends as it ends.
pub(super) fn precede(terminal: bool, body: impl FnOnce() -> i32) -> io::Result<Infallible> {
    // From before the birth, so that none is lost.
    block_signals();
    let child = fork(|| {
        if step_forward(terminal).is_err() {
            return 126;
        }
        reset_signals();
        body()
    })?;
    serve(child)
}

/// A process group of its own, in the foreground: the terminal's signals go to it, and not also
/// to init, which would pass them on a second time.
fn step_forward(terminal: bool) -> io::Result<()> {
    setpgid(None, None)?;
    if terminal {
        rustix::termios::tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpid())?;
    }
    Ok(())
}

fn serve(child: Pid) -> ! {
    // Our memory is the copy of a process of the host.
    let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if hidden.is_err() || close_from(0).is_err() {
        exit(255);
    }
    loop {
        match wait_for_signal() {
            Ok(SIGCHLD) => reap(child),
            Ok(signal) if !OWN.contains(&signal) => drop(kill(child, signal)),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Reaps all that have ended. The end of the child is ours: with us goes the rest.
fn reap(child: Pid) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        if pid == child {
            let code = status.exit_status();
            exit(code.unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)));
        }
    }
}
