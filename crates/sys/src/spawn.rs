//! Starting another executable from a process of many threads, and taking over what was handed
//! to one so started.
//!
//! `posix_spawn` of the C library does not copy the address space, however large the daemon's is,
//! and gives descriptors their numbers in the child only: no other thread's child can inherit
//! them by accident.

use std::{
    ffi::{CString, OsString},
    io,
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::ffi::OsStringExt,
    },
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::Pid;

/// The number that the first descriptor handed on gets.
pub const FIRST: RawFd = 3;

/// Descriptors are moved above this before they get their numbers, so that none overwrites
/// another that is still to be moved.
const ABOVE: RawFd = 64;

/// Where a spawned process's descriptors come from.
#[derive(Debug, Clone, Copy)]
pub enum Descriptors<'a> {
    /// `/dev/null` as its standard streams, and these from number [`FIRST`] on.
    Quiet(&'a [BorrowedFd<'a>]),
    /// These as its standard streams, and no others.
    Streams([BorrowedFd<'a>; 3]),
}

/// Starts the file that `executable` refers to, as the leader of a new session, with no signal
/// blocked or ignored, and with this environment and these descriptors.
///
/// What else of the caller's is not close-on-exec leaks: see [`inherited`].
pub fn spawn(
    executable: BorrowedFd<'_>,
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = OsString>,
    descriptors: Descriptors<'_>,
) -> io::Result<Pid> {
    let executable = rustix::io::fcntl_dupfd_cloexec(executable, ABOVE)?;
    let path = CString::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))?;
    let (arguments, environment) = (Strings::new(arguments)?, Strings::new(environment)?);
    let (first, sources) = match &descriptors {
        Descriptors::Quiet(sources) => (FIRST, *sources),
        Descriptors::Streams(sources) => (0, &sources[..]),
    };
    let sources: Vec<OwnedFd> = sources
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, ABOVE))
        .collect::<Result<_, _>>()?;
    let actions = Actions::new(first, &sources)?;
    let attributes = Attributes::new()?;
    let mut pid = 0;
    // SAFETY: every pointer is to something initialised that outlives the call, and both arrays
    // of strings end with a null pointer.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.pointers().as_ptr(),
            environment.pointers().as_ptr(),
        )
    })?;
    Pid::from_raw(pid).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Takes over `count` descriptors that [`spawn`] handed to this process, makes them
/// close-on-exec, and closes all others but the standard streams. Once, before anything else is
/// opened; a second call is an error.
pub fn inherited(count: RawFd) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let end = FIRST.checked_add(count).and_then(|end| u32::try_from(end).ok());
    let end = end.ok_or(io::ErrorKind::InvalidInput)?;
    crate::fd::close_from(end)?;
    let first = u32::try_from(FIRST).expect("BUG: a small number");
    crate::fd::set_close_on_exec_from(first)?;
    let mut taken = Vec::new();
    for number in FIRST..FIRST + count {
        // SAFETY: takes no pointer; a number that is not open fails with EBADF.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it is open, and nothing owns it: this process has just begun, and this code
        // runs once.
        taken.push(unsafe { OwnedFd::from_raw_fd(number) });
    }
    Ok(taken)
}

/// Strings as `execve` wants them.
struct Strings(Vec<CString>);

impl Strings {
    fn new(strings: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let strings = strings.into_iter().map(|it| CString::new(it.into_vec()));
        Ok(Self(strings.collect::<Result<_, _>>()?))
    }

    fn pointers(&self) -> Vec<*mut libc::c_char> {
        self.0.iter().map(|it| it.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
    }
}

/// What happens to descriptors in the child.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    /// Gives `sources` the numbers from `first` on, and `/dev/null` those before.
    fn new(first: RawFd, sources: &[OwnedFd]) -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the pointer is to memory of the right size, which the call initialises.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: initialised just now. It may be moved: it holds its memory by pointer.
        let mut actions = Self(unsafe { actions.assume_init() });
        for number in 0..first {
            actions.open_null(number)?;
        }
        for (number, source) in (first..).zip(sources) {
            // SAFETY: `actions` is initialised; both are numbers.
            check(unsafe {
                libc::posix_spawn_file_actions_adddup2(
                    &raw mut actions.0,
                    source.as_raw_fd(),
                    number,
                )
            })?;
        }
        Ok(actions)
    }

    fn open_null(&mut self, number: RawFd) -> io::Result<()> {
        let path = c"/dev/null".as_ptr();
        // SAFETY: `self` is initialised and copies the path, a C string.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(&raw mut self.0, number, path, libc::O_RDWR, 0)
        })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// The child's session and signals.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the pointer is to memory of the right size, which the call initialises.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: initialised just now, and free to be moved.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        let flags = libc::c_short::try_from(flags).expect("BUG: flags fit their type");
        // SAFETY: `attributes` is initialised.
        check(unsafe {
            libc::posix_spawnattr_setflags(&raw mut attributes.0, flags | libc::POSIX_SPAWN_SETSID)
        })?;
        let mut signals = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: the call initialises the set.
        unsafe { libc::sigemptyset(signals.as_mut_ptr()) };
        // SAFETY: both are initialised.
        check(unsafe {
            libc::posix_spawnattr_setsigmask(&raw mut attributes.0, signals.as_ptr())
        })?;
        // SAFETY: the call initialises the set.
        unsafe { libc::sigfillset(signals.as_mut_ptr()) };
        // SAFETY: both are initialised.
        check(unsafe {
            libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, signals.as_ptr())
        })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, and destroyed once.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}

/// These functions return the error's number.
fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Read, os::fd::AsFd};

    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    #[test]
    fn a_spawned_process_gets_its_descriptors_a_session_and_nothing_else() {
        let shell = File::open("/bin/sh").unwrap();
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let other = File::open("/dev/zero").unwrap();
        let script = "exec >&3; readlink /proc/self/fd/0 /proc/self/fd/4; \
                      read stat < /proc/self/stat; set -- $stat; test $6 = $$ && echo leader";
        let arguments = ["sh", "-c", script].map(Into::into);
        let pid = spawn(
            shell.as_fd(),
            arguments,
            [],
            Descriptors::Quiet(&[write.as_fd(), other.as_fd()]),
        )
        .unwrap();
        drop(write);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        assert_eq!(said, "/dev/null\n/dev/zero\nleader\n");
        let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
    }

    #[test]
    fn a_spawned_process_gets_streams_and_an_environment() {
        let shell = File::open("/bin/sh").unwrap();
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let null = File::open("/dev/null").unwrap();
        let arguments = ["sh", "-c", "echo $X"].map(Into::into);
        let streams = Descriptors::Streams([null.as_fd(), write.as_fd(), null.as_fd()]);
        let pid = spawn(shell.as_fd(), arguments, ["X=y".into()], streams).unwrap();
        drop(write);
        let mut said = String::new();
        File::from(read).read_to_string(&mut said).unwrap();
        assert_eq!(said, "y\n");
        waitpid(Some(pid), WaitOptions::empty()).unwrap();
    }

    #[test]
    fn what_cannot_be_executed_is_an_error() {
        let null = File::open("/dev/null").unwrap();
        let error = spawn(null.as_fd(), ["x".into()], [], Descriptors::Quiet(&[])).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    }
}
