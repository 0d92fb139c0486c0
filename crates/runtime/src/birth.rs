//! How a new process comes to be a child of the caller in the right namespaces.
//!
//! Mostly one `clone3`. An intermediate process, which bears the new one as its sibling and ends,
//! is there when the caller has threads (the copy of a threaded process may not allocate), or when
//! namespaces have to be entered before the birth (a pid namespace, or one that is to own others).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{
        DumpableBehavior, Pid, PidfdFlags, WaitOptions, pidfd_open, set_dumpable_behavior, waitpid,
    },
};
use wadah_sys::process::{Birth, Child, clone, fork, is_single_threaded};

use crate::channel::{Channel, Failure, Report};

/// What an intermediate process does before the birth.
pub(crate) type Before<'a> = Option<&'a dyn Fn() -> Result<(), Failure>>;

/// Bears a process that runs `body`. With `before`, or in a process of many threads, by way of an
/// intermediate process; what fails there is reported on `channel`, the child's end.
pub(crate) fn bear(
    birth: Birth<'_>,
    before: Before<'_>,
    channel: &Channel,
    body: impl FnOnce() -> i32,
) -> io::Result<Child> {
    if before.is_none() && is_single_threaded() {
        return clone(&birth, body);
    }
    let (reads, writes) = pipe_with(PipeFlags::CLOEXEC)?;
    let birth = Birth { sibling: true, ..birth };
    let middle = fork(|| {
        // Nobody in a namespace we enter may look into the copy of our memory.
        let hidden = set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let prepared = before.map_or(Ok(()), |it| it());
        if let Err(failure) = prepared {
            return i32::from(channel.send(&Report::Failed(failure)).is_err());
        }
        let born = hidden.map_err(io::Error::from).and_then(|()| clone(&birth, body));
        tell(&writes, born)
    })?;
    drop(writes);
    let born = learn(&reads);
    reap(middle)?;
    born
}

fn tell(writes: &OwnedFd, born: io::Result<Child>) -> i32 {
    let number = match &born {
        Ok(child) => child.pid.as_raw_nonzero().get(),
        Err(error) => -error.raw_os_error().unwrap_or(1),
    };
    i32::from(rustix::io::write(writes, &number.to_ne_bytes()) != Ok(4))
}

fn learn(reads: &OwnedFd) -> io::Result<Child> {
    let mut bytes = [0; 4];
    let length = loop {
        match rustix::io::read(reads.as_fd(), &mut bytes) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => break outcome?,
        }
    };
    if length != 4 {
        // It has said on the channel what went wrong.
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let number = i32::from_ne_bytes(bytes);
    let pid = Pid::from_raw(number).filter(|_| number > 0);
    let pid = pid.ok_or_else(|| io::Error::from_raw_os_error(-number))?;
    // It is our child and not reaped: the number is still its own.
    Ok(Child { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
}

/// Waits for the end of a child.
pub(crate) fn reap(pid: Pid) -> io::Result<()> {
    loop {
        match waitpid(Some(pid), WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return outcome.map(|_| ()).map_err(io::Error::from),
        }
    }
}
