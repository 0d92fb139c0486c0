//! Waiting for a process in the foreground: its signals, its terminal, its exit code.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, waitpid},
};

use super::{
    console::{self, Raw},
    error::CommandError,
};

const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;

/// Waits for the end of `pid`, passing on signals and, if it has one, its terminal. Returns what a
/// shell would: its exit code, or 128 and the signal that ended it.
///
/// All signals must have been blocked before the process was made.
pub(super) fn wait(pid: Pid, terminal: Option<OwnedFd>) -> Result<u8, CommandError> {
    let Some(terminal) = terminal else { return until_end(pid, |_| {}) };
    let raw = Raw::enter()?;
    let failed = |source| CommandError::Terminal { step: "share the container's terminal", source };
    let input = File::from(terminal.try_clone().map_err(failed)?);
    let output = File::from(terminal.try_clone().map_err(failed)?);
    // Ends with the program: nothing wakes it from reading the keyboard.
    thread::spawn(move || io::copy(&mut io::stdin().lock(), &mut &input));
    let printing = thread::spawn(move || io::copy(&mut &output, &mut io::stdout().lock()));
    let code = until_end(pid, |signal| {
        if signal == SIGWINCH {
            console::follow_size(terminal.as_fd());
        }
    });
    // What was written before the end is still to be printed; then the terminal answers EIO.
    let _printed = printing.join();
    drop(raw);
    code
}

fn until_end(pid: Pid, mut on_signal: impl FnMut(i32)) -> Result<u8, CommandError> {
    let failed = |source| CommandError::Wait { pid: pid.as_raw_pid(), source };
    loop {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) if status.exited() || status.signaled() => {
                let code = status.exit_status().or(status.terminating_signal().map(|it| 128 + it));
                return Ok(code.and_then(|it| u8::try_from(it).ok()).unwrap_or(255));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(err) => return Err(failed(err.into())),
        }
        let signal = wadah_sys::process::wait_for_signal().map_err(failed)?;
        on_signal(signal);
        if signal != SIGCHLD && signal != SIGWINCH {
            // It may have ended in the meantime, which the next round finds out.
            let _sent = wadah_sys::process::kill(pid, signal);
        }
    }
}
