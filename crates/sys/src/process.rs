//! Processes: their birth by `clone3`, their change of executable, and attributes of the calling
//! one that have no wrapper elsewhere.
//!
//! **Invariant:** a child born here never returns into its parent's code: it runs one function and
//! exits, even when that function panics.

use std::{
    ffi::{CStr, CString},
    io,
    mem::size_of,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
};

use rustix::process::Pid;

/// Which namespaces, as in `clone(2)`.
pub mod namespace {
    /// Mounts.
    pub const MOUNT: u64 = libc::CLONE_NEWNS as u64;
    /// Host and domain name.
    pub const UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// System V IPC and POSIX message queues.
    pub const IPC: u64 = libc::CLONE_NEWIPC as u64;
    /// Users, groups and capabilities.
    pub const USER: u64 = libc::CLONE_NEWUSER as u64;
    /// Process ids.
    pub const PID: u64 = libc::CLONE_NEWPID as u64;
    /// Networks.
    pub const NETWORK: u64 = libc::CLONE_NEWNET as u64;
    /// The view of control groups.
    pub const CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    /// Boot and monotonic clocks.
    pub const TIME: u64 = 0x80;
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How a child is born.
#[derive(Debug, Default)]
pub struct Birth<'a> {
    /// New namespaces, of [`namespace`].
    pub namespaces: u64,
    /// The version 2 control group it is born into.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Whether it becomes a sibling of the caller instead of a child.
    pub sibling: bool,
}

/// A process that was born.
#[derive(Debug)]
pub struct Child {
    /// As seen from the caller's pid namespace.
    pub pid: Pid,
    /// A descriptor of it, close-on-exec.
    pub pidfd: OwnedFd,
}

/// Tells whether the calling process has one thread.
pub fn is_single_threaded() -> bool {
    // The kernel refuses to unshare what threads share when there are threads, and does nothing
    // when there are none.
    // SAFETY: takes no pointer; CLONE_THREAD changes nothing in a process of one thread.
    unsafe { libc::unshare(libc::CLONE_THREAD) == 0 }
}

/// Bears a child that runs `body` and exits with what that returns.
///
/// To be called by a process of one thread: in the copy of another process, a lock of the
/// allocator may be held by a thread that does not exist there. [`fork`] has no such demand.
pub fn clone(birth: &Birth<'_>, body: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    let relation = if birth.sibling { libc::CLONE_PARENT } else { 0 };
    let flags = birth.namespaces | (libc::CLONE_PIDFD | relation) as u64;
    let mut args = CloneArgs {
        flags: flags | if birth.cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: ptr::from_mut(&mut pidfd) as u64,
        exit_signal: if birth.sibling { 0 } else { libc::SIGCHLD as u64 },
        cgroup: birth.cgroup.map_or(0, |it| it.as_raw_fd() as u64),
        ..CloneArgs::default()
    };
    // SAFETY: `args` is a valid `clone_args` of the size given, and its pointer points to `pidfd`;
    // without CLONE_VM the child runs on a copy of this stack, as after fork(2).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => run(body),
        _ => {
            // SAFETY: the kernel has just opened this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: pid_of(pid)?, pidfd })
        }
    }
}

/// Bears a child that runs `body` and exits with what that returns; allowed in a process of many
/// threads, because the C library puts its own locks in order.
pub fn fork(body: impl FnOnce() -> i32) -> io::Result<Pid> {
    // SAFETY: the child only runs `body`; the C library makes its allocator usable there.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => run(body),
        pid => pid_of(pid.into()),
    }
}

fn run(body: impl FnOnce() -> i32) -> ! {
    exit(catch_unwind(AssertUnwindSafe(body)).unwrap_or(255))
}

fn pid_of(pid: i64) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Ends the calling process at once, without any clean-up of the language or the C library.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns and runs no code of ours.
    unsafe { libc::_exit(code) }
}

/// `struct clone_args` of the kernel.
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Arguments or an environment, as `execve` wants them.
#[derive(Debug)]
pub struct Strings {
    owned: Vec<CString>,
}

impl Strings {
    /// Takes the strings; one with a NUL inside is refused.
    pub fn new<T: Into<Vec<u8>>>(strings: impl IntoIterator<Item = T>) -> io::Result<Self> {
        let owned = strings.into_iter().map(CString::new).collect::<Result<_, _>>();
        Ok(Self { owned: owned.map_err(|_nul| io::ErrorKind::InvalidInput)? })
    }

    /// The first string.
    pub fn first(&self) -> Option<&CStr> {
        self.owned.first().map(CString::as_c_str)
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.owned.iter().map(|it| it.as_ptr()).chain([ptr::null()]).collect()
    }
}

/// Replaces the executable of the calling process; returns only if that fails.
pub fn execve(path: &CStr, arguments: &Strings, environment: &Strings) -> io::Error {
    let (arguments, environment) = (arguments.pointers(), environment.pointers());
    // SAFETY: `path` and both NULL-terminated arrays of C strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// As [`execve`], of the file that `executable` refers to.
pub fn execve_descriptor(
    executable: BorrowedFd<'_>,
    arguments: &Strings,
    environment: &Strings,
) -> io::Error {
    let (arguments, environment) = (arguments.pointers(), environment.pointers());
    // SAFETY: the descriptor is open, and the strings and both arrays outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            executable.as_raw_fd(),
            c"".as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}

/// Moves the calling process into new namespaces, of [`namespace`]. A new pid or time namespace
/// is for its children.
pub fn unshare(namespaces: u64) -> io::Result<()> {
    // Every flag fits: they are those of clone(2).
    let flags = libc::c_int::try_from(namespaces).map_err(|_large| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointer, and namespaces share no memory or descriptors with other threads.
    check(unsafe { libc::unshare(flags) }.into())
}

/// Gives every signal its default action and unblocks all: also the two that the C library keeps
/// for itself, refuses to touch, and leaves ignored in what it spawns.
pub fn reset_signals() {
    // `struct sigaction` of the kernel: handler, flags, restorer, mask.
    let default = [0_u64; 4];
    let no_old = ptr::null_mut::<u64>();
    for signal in (1..=64).filter(|it| ![libc::SIGKILL, libc::SIGSTOP].contains(it)) {
        // SAFETY: `default` is a valid `sigaction` that asks for no code of ours to run; the old
        // one is not asked for; a set of signals has eight bytes.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), no_old, 8) };
    }
    set_blocked(false);
}

/// Blocks all signals that can be blocked.
pub fn block_signals() {
    set_blocked(true);
}

fn set_blocked(blocked: bool) {
    let mut signals = empty_set();
    // SAFETY: `signals` is an initialised set.
    unsafe { libc::sigfillset(&raw mut signals) };
    let how = if blocked { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    // SAFETY: `signals` is an initialised set; the old one is not asked for.
    unsafe { libc::sigprocmask(how, &raw const signals, ptr::null_mut()) };
}

/// Waits for the next of the blocked signals and returns its number.
pub fn wait_for_signal() -> io::Result<i32> {
    let mut signals = empty_set();
    // SAFETY: `signals` is an initialised set.
    unsafe { libc::sigfillset(&raw mut signals) };
    // SAFETY: `signals` is an initialised set; the details are not asked for.
    let signal = unsafe { libc::sigwaitinfo(&raw const signals, ptr::null_mut()) };
    check(signal.into()).map(|()| signal)
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: all-zero bytes are a valid, empty set on Linux.
    unsafe { std::mem::zeroed() }
}

/// Sends signal number `signal` (any, real-time ones too) to `pid`.
pub fn kill(pid: Pid, signal: i32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) }.into())
}

/// Sends signal number `signal` (any, real-time ones too) to the process of `pidfd`.
pub fn pidfd_kill(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let null = ptr::null::<libc::siginfo_t>();
    let fd = pidfd.as_raw_fd();
    // SAFETY: the descriptor is open; no details are passed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, null, 0) })
}

/// Sets the execution domain and its flags (`personality(2)`).
pub fn set_personality(persona: u32) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::personality(persona.into()) }.into())
}

/// Sets the I/O scheduling class (1 real-time, 2 best effort, 3 idle) and level of the caller.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let priority = libc::c_int::from(class) << 13 | libc::c_int::from(level);
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) })
}

/// `struct sched_attr` of the kernel, for [`set_scheduler`].
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct SchedulerAttributes {
    size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For the ordinary policies.
    pub nice: i32,
    /// For the real-time policies.
    pub priority: u32,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub runtime: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub deadline: u64,
    /// Nanoseconds, for `SCHED_DEADLINE`.
    pub period: u64,
}

/// Sets the scheduling policy of the caller.
pub fn set_scheduler(attributes: SchedulerAttributes) -> io::Result<()> {
    let size = size_of::<SchedulerAttributes>();
    let size = u32::try_from(size).expect("BUG: a struct of forty-eight bytes");
    let attributes = SchedulerAttributes { size, ..attributes };
    // SAFETY: `attributes` is a valid `sched_attr` of the size it names.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) })
}

/// Sets the memory policy of the caller: `mode` with its flags, and the set of nodes, 64 to a word.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    // The kernel reads one bit less than it is told.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let pointer = if nodes.is_empty() { ptr::null() } else { nodes.as_ptr() };
    // SAFETY: `pointer` is null with zero bits, or has that many bits minus one behind it.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) })
}

/// Gives the caller a session keyring of its own.
pub fn join_session_keyring(name: &CStr) -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: `name` is a C string that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, name.as_ptr()) })
}

fn check(result: i64) -> io::Result<()> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    #[test]
    fn a_child_exits_with_what_its_body_returns() {
        let pid = fork(|| {
            let born = clone(&Birth::default(), || 7)
                .map(|it| waitpid(Some(it.pid), WaitOptions::empty()));
            match born {
                Ok(Ok(Some((_, status)))) => status.exit_status().unwrap_or(1),
                _ => 2,
            }
        });
        let (_, status) = waitpid(Some(pid.unwrap()), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(7));
    }

    #[test]
    fn a_panic_stays_in_the_child() {
        let pid = fork(|| {
            std::panic::set_hook(Box::new(|_| ()));
            panic!("in the child")
        });
        let (_, status) = waitpid(Some(pid.unwrap()), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(255));
    }

    #[test]
    fn threads_are_noticed() {
        let counted = fork(|| i32::from(is_single_threaded())).unwrap();
        let (_, status) = waitpid(Some(counted), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(1));
        std::thread::spawn(|| assert!(!is_single_threaded())).join().unwrap();
    }
}
