//! The last steps before, and the step to, the executable.

use std::{
    convert::Infallible,
    ffi::CString,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, accessat, fchown, fstat,
        openat2, stat,
    },
    io::{Errno, fcntl_dupfd_cloexec},
    process::{fchdir, umask},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use wadah_sys::{
    fd::{keep_on_exec, set_close_on_exec_from},
    process::{Strings, execve},
    rootfs::Root,
};

use super::{Console, attributes, home, identity, init, label::Labels};
use crate::{
    Launch, Stdio,
    channel::{Channel, Context, Failure, Report},
    plan::ProcessPlan,
};

/// Where the standard streams come from.
pub(crate) enum Streams<'a> {
    /// They are there.
    Inherited,
    /// These.
    Files([BorrowedFd<'a>; 3]),
    /// A terminal.
    Console(Console),
}

impl<'a> Streams<'a> {
    /// What was asked for, with the terminal if one was made.
    pub(crate) fn of(stdio: &'a Stdio, console: Option<Console>) -> Self {
        match (stdio, console) {
            (_, Some(console)) => Self::Console(console),
            (Stdio::Files { stdin, stdout, stderr }, None) => {
                Self::Files([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
            }
            _ => Self::Inherited,
        }
    }
}

/// What the last steps need to know.
pub(super) struct Final<'a> {
    pub(super) process: &'a ProcessPlan,
    pub(super) labels: Labels,
    pub(super) preserve: u32,
    pub(super) init: bool,
    pub(super) terminal: bool,
    pub(super) channel: &'a Channel,
}

/// A process that is the user, in its directory, and has found its executable.
pub(super) struct Ready {
    path: CString,
    environment: Strings,
    confined: bool,
}

impl Ready {
    /// Takes the streams, the directory and the user, and looks for the executable.
    pub(super) fn prepare(process: &ProcessPlan, streams: Streams<'_>) -> Result<Self, Failure> {
        take_streams(streams, process)?;
        umask(process.umask.unwrap_or(rustix::fs::Mode::from_raw_mode(0o022)));
        let environment = environment(process)?;
        // As root first: the user may not be able to reach it from above. Then again as the user,
        // who may be the only one to be let in by a network filesystem.
        let entered = enter(&process.directory);
        identity::become_user(process)?;
        if entered.is_err() {
            enter(&process.directory).map_err(|errno| working_directory(process, errno))?;
        }
        check_directory(process)?;
        let found = find(&process.executable, &process.search_path).map_err(Failure::Launch)?;
        let path = CString::new(found.as_os_str().as_bytes()).map_err(|_nul| Errno::INVAL);
        Ok(Self { path: path.step(|| "name the executable")?, environment, confined: false })
    }

    /// Takes on a notifying filter now, while the parent is there to hand its listener on.
    pub(super) fn confine_if_watched(
        mut self,
        process: &ProcessPlan,
        channel: &Channel,
    ) -> Result<Self, Failure> {
        if process.seccomp.as_ref().is_some_and(|it| it.listener().is_some()) {
            identity::confine(process, channel)?;
            self.confined = true;
        }
        Ok(self)
    }

    /// Becomes the executable.
    pub(super) fn execute(&self, last: &Final<'_>) -> Result<Infallible, Failure> {
        last.labels.write()?;
        attributes::apply_late(last.process)?;
        // Whatever slipped through: nothing above the streams and what is to be preserved reaches
        // the executable.
        let first = last.preserve.saturating_add(3);
        keep_on_exec(3, i32::try_from(first).unwrap_or(3));
        set_close_on_exec_from(first).step(|| "close descriptors")?;
        if !self.confined {
            identity::confine(last.process, last.channel)?;
        }
        if last.init {
            let child = || {
                let failure = self.replace(last);
                drop(last.channel.send(&Report::Failed(failure)));
                127
            };
            init::precede(last.terminal, child).step(|| "start the process below init")?;
        }
        Err(self.replace(last))
    }

    fn replace(&self, last: &Final<'_>) -> Failure {
        let error = execve(&self.path, &last.process.arguments, &self.environment);
        let errno = error.raw_os_error().unwrap_or(0);
        Failure::Launch(launch_failure(&last.process.executable, errno))
    }
}

fn launch_failure(executable: &str, errno: i32) -> Launch {
    let executable = executable.to_owned();
    if errno == Errno::NOENT.raw_os_error() {
        Launch::NotFound { executable }
    } else {
        Launch::NotExecutable { executable, errno }
    }
}

fn take_streams(streams: Streams<'_>, process: &ProcessPlan) -> Result<(), Failure> {
    match streams {
        Streams::Inherited => {}
        Streams::Files(files) => take_files(files)?,
        Streams::Console(console) => {
            let terminal = console.take()?;
            take_files([terminal.as_fd(); 3])?;
        }
    }
    give_to_user(process);
    Ok(())
}

fn take_files(files: [BorrowedFd<'_>; 3]) -> Result<(), Failure> {
    let step = || "take the standard streams";
    // Out of the way first: one of them may have the number of another.
    let mut own = Vec::with_capacity(3);
    for file in files {
        own.push(fcntl_dupfd_cloexec(file, 3).step(step)?);
    }
    dup2_stdin(&own[0]).step(step)?;
    dup2_stdout(&own[1]).step(step)?;
    dup2_stderr(&own[2]).step(step)
}

/// Pipes and terminals become the user's, so that `/dev/stdout` can be opened by name. What
/// belongs to the host, such as its `/dev/null`, does not.
fn give_to_user(process: &ProcessPlan) {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for stream in streams {
        let Ok(stat) = fstat(stream) else { continue };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let ours = matches!(kind, FileType::Fifo | FileType::Socket)
            || kind == FileType::CharacterDevice && rustix::termios::isatty(stream);
        if ours && stat.st_uid != process.uid.as_raw() {
            // Not worth failing for: a pipe may belong to a user that is not mapped here.
            let _ = fchown(stream, Some(process.uid), None);
        }
    }
}

fn environment(process: &ProcessPlan) -> Result<Strings, Failure> {
    let mut all = process.environment.clone();
    let has_home = |it: &String| it.strip_prefix("HOME=").is_some_and(|it| !it.is_empty());
    if !all.iter().any(has_home) {
        let root = Root::open(Path::new("/")).step(|| "open the root")?;
        all.retain(|it| !it.starts_with("HOME="));
        all.push(format!("HOME={}", home::find(&root, process.uid)));
    }
    Strings::new(all).step(|| "set the environment")
}

/// Changes the working directory, but not through the links of procfs that lead to descriptors: what
/// is open in this process is no business of who named the directory (CVE-2024-21626).
fn enter(directory: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_MAGICLINKS;
    fchdir(openat2(CWD, directory, flags, Mode::empty(), resolve)?)
}

fn working_directory(process: &ProcessPlan, errno: Errno) -> Failure {
    let directory = process.directory.clone();
    if errno == Errno::LOOP {
        return Failure::Launch(Launch::OutsideRoot { directory });
    }
    Failure::Launch(Launch::WorkingDirectory { directory, errno: errno.raw_os_error() })
}

/// A descriptor of the host's that was left open, or a link to one, could have led out (CVE-2024-
/// 21626): then the kernel gives the directory no name below our root.
fn check_directory(process: &ProcessPlan) -> Result<(), Failure> {
    let outside = || {
        let directory = process.directory.clone();
        Failure::Launch(Launch::OutsideRoot { directory })
    };
    match rustix::process::getcwd(Vec::new()) {
        Ok(name) if name.to_bytes().first() == Some(&b'/') => Ok(()),
        Ok(_) | Err(Errno::NOENT) => Err(outside()),
        Err(errno) => Err(working_directory(process, errno)),
    }
}

/// Looks for an executable as a shell does, with the rights of the user.
fn find(executable: &str, search_path: &str) -> Result<PathBuf, Launch> {
    let name = || executable.to_owned();
    if executable.contains('/') {
        return match check(Path::new(executable)) {
            Ok(()) => Ok(executable.into()),
            Err(errno) => Err(launch_failure(executable, errno.raw_os_error())),
        };
    }
    let mut forbidden = false;
    for directory in search_path.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let candidate = Path::new(directory).join(executable);
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => forbidden = true,
            Err(_) => {}
        }
    }
    if forbidden {
        let errno = Errno::ACCESS.raw_os_error();
        return Err(Launch::NotExecutable { executable: name(), errno });
    }
    Err(Launch::NotFound { executable: name() })
}

fn check(path: &Path) -> Result<(), Errno> {
    let kind = FileType::from_raw_mode(stat(path)?.st_mode);
    match kind {
        FileType::RegularFile => accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS),
        // A directory too: this is the word by which Docker knows exit code 126.
        _ => Err(Errno::ACCESS),
    }
}
