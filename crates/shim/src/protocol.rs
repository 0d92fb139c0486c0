//! What the daemon and a shim say to each other.
//!
//! A connection is a unix stream socket, carrying frames in both directions: a kind (one byte),
//! a length (`u32`, big-endian), and that many bytes. A [`Kind::Control`] frame is one JSON
//! message: a [`Request`] from the daemon, a [`Message`] from the shim. After a successful
//! [`Call::Attach`] the same connection also carries the streams of one process.
//!
//! **Invariant:** the shim of this release is served by the daemon of the next. Fields are only
//! ever added, with a default; what a message does not understand it ignores; [`VERSION`] counts
//! incompatible changes, and there must be none.
//! **Invariant:** nothing here does I/O: encoding and decoding work on buffers.

mod frame;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use self::frame::{Decoder, Frame, FrameError, HEADER, encode, encode_message, header};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest frame that either side accepts, in bytes.
pub const MAX_FRAME: usize = 1 << 20;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A JSON message.
    Control = 0,
    /// Bytes for the process's standard input.
    Stdin = 1,
    /// Bytes of the process's standard output, or of its terminal.
    Stdout = 2,
    /// Bytes of the process's standard error.
    Stderr = 3,
    /// The writer of standard input has finished: the process sees end of file.
    StdinEof = 4,
    /// How many bytes of output this slow connection has lost since the last such frame (`u64`,
    /// big-endian).
    Lost = 5,
    /// Every output stream has ended and all of it was sent.
    OutputEof = 6,
}

impl Kind {
    /// Reads the first byte of a frame.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Control,
            1 => Self::Stdin,
            2 => Self::Stdout,
            3 => Self::Stderr,
            4 => Self::StdinEof,
            5 => Self::Lost,
            6 => Self::OutputEof,
            _ => return None,
        })
    }
}

/// What the daemon asks; answered by a [`Message::Reply`] with the same `id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the daemon, unique on its connection.
    pub id: u64,
    /// What is asked.
    pub call: Call,
}

/// The calls a shim answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Call {
    /// Waits until the container is created (up to its gate); answered by [`Answer::State`].
    Created,
    /// Opens the gate; answered when the executable runs, or with the error of `execve`.
    Start,
    /// Asks for the state.
    State,
    /// From now on, [`Message::Event`]s are sent on this connection; the answer is the state.
    Subscribe,
    /// Sends a signal to the container's init, or to one exec session.
    Signal {
        /// The exec session; the init if absent.
        #[serde(default)]
        exec: Option<String>,
        /// The signal's number.
        signal: i32,
        /// To every process of the container.
        #[serde(default)]
        all: bool,
    },
    /// Sets the terminal's size.
    Resize {
        /// The exec session; the init if absent.
        #[serde(default)]
        exec: Option<String>,
        /// Rows of text.
        rows: u16,
        /// Columns of text.
        columns: u16,
    },
    /// Freezes every process.
    Pause,
    /// Thaws them.
    Resume,
    /// Starts another process in the container; answered when its executable runs.
    Exec(Box<Exec>),
    /// Connects this connection to the streams of a process. Output from now on, in frames.
    ///
    /// After the process's end come its last bytes, [`Kind::OutputEof`], and its exit as an
    /// [`Event`]; then the shim closes its side, unless the connection has subscribed to events.
    /// A connection that is closed detaches, and closes no input: [`Kind::StdinEof`] does.
    Attach {
        /// The exec session; the init if absent.
        #[serde(default)]
        exec: Option<String>,
        /// Whether frames of standard input will come.
        stdin: bool,
        /// Whether standard output is wanted.
        stdout: bool,
        /// Whether standard error is wanted.
        stderr: bool,
    },
    /// Lists the host's process ids of all processes in the container.
    Pids,
    /// Reads the counters of the cgroup.
    Stats,
    /// Changes the live limits.
    Update {
        /// The OCI runtime spec's `linux.resources`.
        resources: serde_json::Value,
    },
    /// The daemon has recorded the exit: the shim removes the cgroup, what is left of the
    /// container, and itself.
    Shutdown,
}

/// A process to start in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exec {
    /// The session's id.
    pub id: String,
    /// The OCI runtime spec's `process`.
    pub process: serde_json::Value,
    /// Whether its standard input is kept open for attachers.
    #[serde(default)]
    pub stdin: bool,
    /// Whether this very connection is attached from before the first byte of output, with the
    /// streams named here.
    #[serde(default)]
    pub attach: Option<Streams>,
    /// Runs without a seccomp filter, as the container does when it is privileged.
    #[serde(default)]
    pub unconfined: bool,
}

/// Which streams of a process are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Streams {
    /// Standard input.
    #[serde(default)]
    pub stdin: bool,
    /// Standard output.
    #[serde(default)]
    pub stdout: bool,
    /// Standard error.
    #[serde(default)]
    pub stderr: bool,
}

/// What a shim says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message {
    /// The answer to the request `id`.
    Reply {
        /// The request's.
        id: u64,
        /// What came of it.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// Something happened.
    Event(Event),
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done.
    Ok(Answer),
    /// It was not.
    Error(Failure),
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// Done, nothing to tell.
    Done,
    /// The container's state.
    State(State),
    /// The host's pid of a process that was started.
    Pid {
        /// As the host sees it.
        pid: i32,
    },
    /// Process ids, as the host sees them.
    Pids {
        /// All of the container's.
        pids: Vec<i32>,
    },
    /// The cgroup's counters: `runtime::cgroup::Stats`.
    Stats {
        /// As the runtime serialises them.
        stats: serde_json::Value,
    },
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What class of failure it is.
    pub class: FailureClass,
    /// A sentence for people, with its causes.
    pub message: String,
}

/// The classes that the daemon must tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The executable does not exist (exit code 127).
    ExecutableNotFound,
    /// The executable cannot be run (exit code 126).
    NotExecutable,
    /// The request itself makes no sense.
    Invalid,
    /// There is no such exec session or process.
    NotFound,
    /// The container is in the wrong state for it.
    WrongState,
    /// Anything else.
    #[serde(other)]
    Internal,
}

/// How far a container has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The protocol's version.
    pub version: u32,
    /// Where it is in its life.
    pub status: Status,
    /// The init process as the host sees it; 0 before it exists.
    pub pid: i32,
    /// Nanoseconds of the UNIX clock when the executable was started; 0 before.
    #[serde(default)]
    pub started_at: u64,
    /// How it ended.
    #[serde(default)]
    pub exit: Option<Exit>,
    /// Exec sessions, running and ended.
    #[serde(default)]
    pub execs: BTreeMap<String, ExecState>,
    /// What the runtime could not do as asked but went on without.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Being made.
    Creating,
    /// Made, waiting at its gate.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Ended.
    Stopped,
}

/// An exec session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecState {
    /// As the host sees it.
    pub pid: i32,
    /// How it ended.
    #[serde(default)]
    pub exit: Option<Exit>,
}

/// How a process ended. Also the contents of the file `exit`, written (atomically) before
/// anyone is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code, or 128 + the signal that killed it.
    pub code: i32,
    /// The signal, if one killed it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of the container for want of memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// Nanoseconds of the UNIX clock.
    pub at: u64,
    /// Why, when the process did not end by itself.
    #[serde(default)]
    pub error: Option<String>,
}

/// What subscribers are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The container's init ended, and all its output has been logged.
    Exited(Exit),
    /// The kernel killed a process for want of memory.
    Oom,
    /// An exec session ended.
    ExecExited {
        /// The session.
        id: String,
        /// How.
        exit: Exit,
    },
    /// From a later release.
    #[serde(other)]
    Unknown,
}

/// What a shim is started with: the file `shim.json` in its run directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// The protocol's version.
    pub version: u32,
    /// The container's id.
    pub id: String,
    /// Where `shim.sock`, `state` and `exit` go; holds `config.json`, the OCI spec.
    pub run_dir: PathBuf,
    /// The root filesystem.
    pub rootfs: Rootfs,
    /// The cgroup's path below each hierarchy's root.
    pub cgroup: String,
    /// Which seccomp filter the container and its exec sessions get.
    pub seccomp: Seccomp,
    /// Whether a reaping pid 1 of ours goes before the executable.
    #[serde(default)]
    pub init: bool,
    /// Whether standard input is kept open.
    #[serde(default)]
    pub stdin: bool,
    /// Whether the first attacher's end of input closes it.
    #[serde(default)]
    pub stdin_once: bool,
    /// Whether the container has a terminal.
    #[serde(default)]
    pub terminal: bool,
    /// The terminal's first size, rows and columns.
    #[serde(default)]
    pub terminal_size: Option<(u16, u16)>,
    /// Where output is logged; nowhere if absent.
    #[serde(default)]
    pub log: Option<Log>,
    /// Another OCI runtime to execute instead of the linked one.
    #[serde(default)]
    pub runtime: Option<PathBuf>,
}

/// What the root filesystem is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Rootfs {
    /// A directory.
    Directory {
        /// Its path.
        path: PathBuf,
    },
    /// An overlay, mounted in the container's own mount namespace.
    Overlay {
        /// The read-only directories, the nearest first.
        lower: Vec<PathBuf>,
        /// Where changes go.
        upper: PathBuf,
        /// The overlay's own scratch directory.
        work: PathBuf,
        /// Whether a crash of the machine may lose the upper directory.
        #[serde(default)]
        volatile: bool,
    },
}

/// A seccomp filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    /// The built-in default profile.
    Default,
    /// As `linux.seccomp` of the spec says.
    Spec,
    /// None.
    Unconfined,
}

/// A log in Docker's `json-file` format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The current file; rotated ones have `.1`, `.2` behind it, the oldest the highest.
    pub path: PathBuf,
    /// A file is rotated before it would grow beyond this many bytes; never if 0.
    pub max_size: u64,
    /// How many files there are at most, with the current one.
    pub max_files: u32,
    /// Written into each entry's `attrs`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Checks that a value is written as it was in the first release, and read back.
    fn check<T>(value: &T, golden: &Expect)
    where
        T: Serialize + for<'a> Deserialize<'a> + PartialEq + std::fmt::Debug,
    {
        let json = serde_json::to_string(value).unwrap();
        golden.assert_eq(&json);
        assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
    }

    fn exit() -> Exit {
        Exit { code: 137, signal: Some(9), oom_killed: true, at: 42, error: None }
    }

    // These texts are what running shims of earlier releases say and understand. A change here
    // that is not the addition of a field with a default breaks their adoption.

    #[test]
    fn requests_are_written_as_in_version_1() {
        let check = |call, golden| check(&Request { id: 7, call }, &golden);
        check(Call::Created, expect![[r#"{"id":7,"call":{"method":"created"}}"#]]);
        check(
            Call::Signal { exec: None, signal: 15, all: false },
            expect![[r#"{"id":7,"call":{"method":"signal","exec":null,"signal":15,"all":false}}"#]],
        );
        check(
            Call::Exec(Box::new(Exec {
                id: "e".into(),
                process: serde_json::json!({"args": ["true"]}),
                stdin: true,
                attach: Some(Streams { stdin: true, stdout: true, stderr: false }),
                unconfined: false,
            })),
            expect![[
                r#"{"id":7,"call":{"method":"exec","id":"e","process":{"args":["true"]},"stdin":true,"attach":{"stdin":true,"stdout":true,"stderr":false},"unconfined":false}}"#
            ]],
        );
        check(
            Call::Attach { exec: Some("e".into()), stdin: true, stdout: true, stderr: true },
            expect![[
                r#"{"id":7,"call":{"method":"attach","exec":"e","stdin":true,"stdout":true,"stderr":true}}"#
            ]],
        );
    }

    #[test]
    fn messages_are_written_as_in_version_1() {
        let state = State {
            version: VERSION,
            status: Status::Running,
            pid: 12,
            started_at: 3,
            exit: None,
            execs: BTreeMap::from([("e".into(), ExecState { pid: 13, exit: Some(exit()) })]),
            warnings: vec!["w".into()],
        };
        check(
            &Message::Reply { id: 7, outcome: Outcome::Ok(Answer::State(state)) },
            &expect![[
                r#"{"type":"reply","id":7,"ok":{"kind":"state","version":1,"status":"running","pid":12,"started_at":3,"exit":null,"execs":{"e":{"pid":13,"exit":{"code":137,"signal":9,"oom_killed":true,"at":42,"error":null}}},"warnings":["w"]}}"#
            ]],
        );
        let failure =
            Failure { class: FailureClass::ExecutableNotFound, message: "no \"x\"".into() };
        check(
            &Message::Reply { id: 8, outcome: Outcome::Error(failure) },
            &expect![[
                r#"{"type":"reply","id":8,"error":{"class":"executable_not_found","message":"no \"x\""}}"#
            ]],
        );
        check(
            &Message::Event(Event::Exited(exit())),
            &expect![[
                r#"{"type":"event","event":"exited","code":137,"signal":9,"oom_killed":true,"at":42,"error":null}"#
            ]],
        );
        check(
            &Message::Event(Event::ExecExited { id: "e".into(), exit: exit() }),
            &expect![[
                r#"{"type":"event","event":"exec_exited","id":"e","exit":{"code":137,"signal":9,"oom_killed":true,"at":42,"error":null}}"#
            ]],
        );
    }

    #[test]
    fn a_launch_is_written_as_in_version_1() {
        let launch = Launch {
            version: VERSION,
            id: "c".into(),
            run_dir: "/run/c".into(),
            rootfs: Rootfs::Directory { path: "/rootfs".into() },
            cgroup: "wadah/c".into(),
            seccomp: Seccomp::Default,
            init: false,
            stdin: true,
            stdin_once: true,
            terminal: true,
            terminal_size: Some((24, 80)),
            log: Some(Log {
                path: "/l".into(),
                max_size: 10,
                max_files: 3,
                attributes: BTreeMap::new(),
            }),
            runtime: None,
        };
        check(
            &launch,
            &expect![[
                r#"{"version":1,"id":"c","run_dir":"/run/c","rootfs":{"kind":"directory","path":"/rootfs"},"cgroup":"wadah/c","seccomp":"default","init":false,"stdin":true,"stdin_once":true,"terminal":true,"terminal_size":[24,80],"log":{"path":"/l","max_size":10,"max_files":3,"attributes":{}},"runtime":null}"#
            ]],
        );
    }

    #[test]
    fn what_a_later_release_adds_is_ignored() {
        let event = r#"{"type":"event","event":"teleported","to":"mars"}"#;
        let read: Message = serde_json::from_str(event).unwrap();
        assert_eq!(read, Message::Event(Event::Unknown));

        let reply =
            r#"{"type":"reply","id":1,"error":{"class":"cosmic","message":"m","hint":"h"}}"#;
        let read: Message = serde_json::from_str(reply).unwrap();
        let failure = Failure { class: FailureClass::Internal, message: "m".into() };
        assert_eq!(read, Message::Reply { id: 1, outcome: Outcome::Error(failure) });

        let state = r#"{"version":1,"status":"running","pid":5,"mood":"good"}"#;
        let read: State = serde_json::from_str(state).unwrap();
        assert_eq!(read.pid, 5);
    }
}
