//! Exec sessions: further processes in running containers.
//!
//! **Invariant:** a session is started once. Its exit code is known before a client sees the end
//! of its streams, and for some minutes after.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;
use wadah_oci::{ContainerId, ExecId};
use wadah_shim::protocol::{self, Answer, Call, FailureClass};

use crate::{
    EngineError,
    containers::{Container, Running, Shared, State, hostname},
    record::Definition,
    spec::{security::Security, user::Root},
    stream::{Attached, Input, QUEUE},
    supervisor::{
        CallError, Deadline,
        streams::{Client, Streams},
    },
};

/// How long an ended session is remembered: Docker's number.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Sessions that one container may have at a time.
const SESSIONS: usize = 4096;

/// Exit codes by custom.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;
const NOT_STARTED: i32 = 128;
const KILLED: i32 = 137;

/// What a session is to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// The executable and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, beyond the container's.
    pub env: Vec<String>,
    /// As in [`crate::config::Config::user`]; the container's if empty.
    pub user: String,
    /// The container's if empty.
    pub working_dir: String,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether clients may write its standard input.
    pub attach_stdin: bool,
    /// Whether clients see its standard output.
    pub attach_stdout: bool,
    /// Whether clients see its standard error.
    pub attach_stderr: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// The keys that detach; remembered.
    pub detach_keys: String,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// How to start a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExecStart {
    /// Without connecting to its streams.
    pub detach: bool,
    /// The terminal's first size, if the session was not created with one: rows, columns.
    pub console_size: Option<(u16, u16)>,
}

/// Everything about one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSnapshot {
    /// Its id.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What it runs.
    pub config: ExecConfig,
    /// Whether it runs now.
    pub running: bool,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// Its process, as the host sees it; 0 before it is started.
    pub pid: i32,
}

/// All exec sessions.
#[derive(Debug)]
pub struct Execs {
    shared: Arc<Shared>,
}

/// The sessions, as the parts share them.
#[derive(Debug, Default)]
pub(crate) struct ExecTable {
    sessions: RwLock<BTreeMap<ExecId, Arc<Exec>>>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Exec {
    id: ExecId,
    container: ContainerId,
    config: ExecConfig,
    state: Mutex<ExecState>,
}

/// Where a session is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExecState {
    Created,
    Starting,
    Running { pid: i32 },
    Ended { pid: i32, code: i32, at: Instant },
}

impl ExecTable {
    fn find(&self, id: &str) -> Result<Arc<Exec>, EngineError> {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        let found = id.parse().ok().and_then(|it: ExecId| sessions.get(&it).cloned());
        found.ok_or_else(|| EngineError::NoSuchExec { id: id.to_owned() })
    }

    /// Adds a session, and forgets those that ended long ago.
    fn add(&self, exec: Arc<Exec>) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, it| !it.is_old());
        sessions.insert(exec.id.clone(), exec);
    }

    /// Forgets all sessions of a container.
    fn forget(&self, container: &ContainerId) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|_, it| it.container != *container);
    }

    fn of(&self, container: &ContainerId) -> Vec<Arc<Exec>> {
        let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
        sessions.values().filter(|it| it.container == *container).cloned().collect()
    }
}

impl Exec {
    fn state(&self) -> MutexGuard<'_, ExecState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_old(&self) -> bool {
        matches!(*self.state(), ExecState::Ended { at, .. } if at.elapsed() > REMEMBERED)
    }

    /// Notes the end, once; whether this was the first to say so.
    fn end(&self, code: i32) -> bool {
        let mut state = self.state();
        let pid = match *state {
            ExecState::Ended { .. } => return false,
            ExecState::Running { pid } => pid,
            ExecState::Created | ExecState::Starting => 0,
        };
        *state = ExecState::Ended { pid, code, at: Instant::now() };
        true
    }

    fn command(&self) -> String {
        self.config.command.join(" ")
    }
}

impl Shared {
    /// Notes the end of a session.
    pub(crate) fn exec_ended(&self, container: &Container, id: &str, exit: &protocol::Exit) {
        let Ok(exec) = self.execs.find(id) else { return };
        if exec.end(exit.code) {
            container.now().execs.retain(|it| *it != exec.id);
            let facts = [("execID", id.to_owned()), ("exitCode", exit.code.to_string())];
            self.tell(container, "exec_die", &facts);
        }
    }

    /// Notes that all sessions of a container have ended with it.
    pub(crate) fn execs_ended(&self, container: &Container) {
        container.now().execs.clear();
        for exec in self.execs.of(container.id()) {
            let has_run = !matches!(*exec.state(), ExecState::Created);
            if has_run {
                exec.end(KILLED);
            }
        }
    }

    /// Forgets the sessions of a container that is removed.
    pub(crate) fn forget_execs(&self, container: &Container) {
        self.execs.forget(container.id());
    }

    /// Remembers the sessions that a shim knows of.
    pub(crate) fn adopt_execs(&self, container: &Container, state: &protocol::State) {
        for (id, known) in &state.execs {
            let Ok(id) = id.parse::<ExecId>() else { continue };
            let pid = known.pid;
            let state = match &known.exit {
                None => ExecState::Running { pid },
                Some(exit) => ExecState::Ended { pid, code: exit.code, at: Instant::now() },
            };
            if known.exit.is_none() {
                container.now().execs.push(id.clone());
            }
            self.execs.add(Arc::new(Exec {
                id,
                container: container.id().clone(),
                config: ExecConfig::default(),
                state: Mutex::new(state),
            }));
        }
    }

    async fn start_exec(
        self: Arc<Self>,
        exec: Arc<Exec>,
        start: ExecStart,
    ) -> Result<Option<Attached>, EngineError> {
        let container = self.registry.get(&exec.container).ok_or_else(|| {
            EngineError::NoSuchContainer { reference: exec.container.to_string() }
        })?;
        let pid = check_running(&container)?;
        {
            let mut state = exec.state();
            if *state != ExecState::Created {
                return Err(EngineError::ExecUsed { id: exec.id.to_string() });
            }
            *state = ExecState::Starting;
        }
        let started = self.spawn_exec(&container, &exec, start, pid).await;
        if let Err(error) = &started {
            let code = match error {
                EngineError::ExecStart { exit_code, .. } => *exit_code,
                _ => NOT_EXECUTABLE,
            };
            exec.end(code);
            container.now().execs.retain(|it| *it != exec.id);
        }
        started
    }

    async fn spawn_exec(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        start: ExecStart,
        pid: i32,
    ) -> Result<Option<Attached>, EngineError> {
        let run = container.run()?;
        let call = self.exec_call(container, exec, start, pid).await?;
        self.tell(container, &format!("exec_start: {}", exec.command()), &exec_facts(exec));
        if start.detach {
            let answer = run.connection.call(call, Deadline::Long).await;
            note_pid(exec, &answer.map_err(exec_error)?);
            return Ok(None);
        }
        let streams = Streams::open(&run.directory, call).await.map_err(exec_error)?;
        note_pid(exec, &streams.answer);
        let (to_client, output) = mpsc::channel(QUEUE);
        let (input, from_client) = if exec.config.attach_stdin {
            let (sender, receiver) = mpsc::channel(QUEUE);
            (Some(Input { sender }), Some(receiver))
        } else {
            (None, None)
        };
        let client = Client { input: from_client, output: to_client };
        let (shared, of) = (Arc::clone(self), Arc::clone(container));
        streams.carry(client, &self.tasks, move |event| {
            if let protocol::Event::ExecExited { id, exit } = event {
                shared.exec_ended(&of, &id, &exit);
            }
        });
        Ok(Some(Attached { input, output, tty: exec.config.tty }))
    }

    async fn exec_call(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exec: &Arc<Exec>,
        start: ExecStart,
        pid: i32,
    ) -> Result<Call, EngineError> {
        let definition = Arc::clone(&container.definition);
        let mut config = exec.config.clone();
        config.console_size = config.console_size.or(start.console_size);
        let attach = (!start.detach).then_some(protocol::Streams {
            stdin: config.attach_stdin,
            stdout: config.attach_stdout,
            stderr: config.attach_stderr,
        });
        let id = exec.id.to_string();
        self.tasks
            .block(move || {
                let security = Security::of(&definition.host)?;
                let process = exec_process(&definition, &config, &security, pid)?;
                Ok(Call::Exec(Box::new(protocol::Exec {
                    id,
                    process,
                    stdin: config.attach_stdin,
                    attach,
                    unconfined: security.seccomp() == protocol::Seccomp::Unconfined,
                })))
            })
            .await
    }
}

/// The process of a session, its user looked up in the running container's root. Blocks.
fn exec_process(
    definition: &Definition,
    config: &ExecConfig,
    security: &Security,
    pid: i32,
) -> Result<serde_json::Value, EngineError> {
    let user = match config.user.as_str() {
        "" => definition.config.user.as_str(),
        given => given,
    };
    let path = format!("/proc/{pid}/root");
    let root = Root::of_directory(path.as_ref())
        .map_err(|it| EngineError::io(format!("cannot open {path}"), it.into()))?;
    let user = crate::spec::user::resolve(&root, user, &definition.host.group_add)?;
    crate::spec::process::exec(
        &definition.config,
        &definition.host,
        config,
        &user,
        &hostname(definition),
        security.no_new_privileges,
    )
}

impl Execs {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Prepares a session in a running container.
    pub async fn create(&self, reference: &str, config: ExecConfig) -> Result<ExecId, EngineError> {
        let container = self.shared.registry.find(reference)?;
        check_running(&container)?;
        if config.command.first().is_none_or(String::is_empty) {
            return Err(EngineError::invalid("No exec command specified"));
        }
        if config.command.iter().chain(&config.env).any(|it| it.contains('\0')) {
            return Err(EngineError::invalid("an argument or a variable contains a NUL"));
        }
        let id = ExecId::from_bytes(crate::containers::random()?);
        let exec = Arc::new(Exec {
            id: id.clone(),
            container: container.id().clone(),
            config,
            state: Mutex::new(ExecState::Created),
        });
        {
            let mut now = container.now();
            if now.execs.len() >= SESSIONS {
                let id = container.id().to_string();
                return Err(EngineError::TooManyExecs { id, limit: SESSIONS });
            }
            now.execs.push(id.clone());
        }
        self.shared.execs.add(Arc::clone(&exec));
        let action = format!("exec_create: {}", exec.command());
        self.shared.tell(&container, &action, &exec_facts(&exec));
        Ok(id)
    }

    /// Starts it, once; returns when its executable runs, with its streams unless detached.
    pub async fn start(&self, id: &str, start: ExecStart) -> Result<Option<Attached>, EngineError> {
        let exec = self.shared.execs.find(id)?;
        self.shared.finish(|shared| shared.start_exec(exec, start)).await
    }

    /// Sets the terminal's size.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), EngineError> {
        let exec = self.shared.execs.find(id)?;
        let container = self.shared.registry.find(exec.container.as_str())?;
        if !matches!(*exec.state(), ExecState::Running { .. }) {
            return Err(EngineError::ExecNotRunning { id: exec.id.to_string() });
        }
        let call = Call::Resize { exec: Some(exec.id.to_string()), rows, columns };
        let resized = container.run()?.connection.call(call, Deadline::Short).await;
        let _done =
            resized.map_err(|it| it.about("resize a session in", exec.container.as_str()))?;
        Ok(())
    }

    /// Tells everything about a session.
    pub async fn inspect(&self, id: &str) -> Result<ExecSnapshot, EngineError> {
        let exec = self.shared.execs.find(id)?;
        let (running, exit_code, pid) = match *exec.state() {
            ExecState::Created => (false, None, 0),
            ExecState::Starting => (true, None, 0),
            ExecState::Running { pid } => (true, None, pid),
            ExecState::Ended { pid, code, .. } => (false, Some(code), pid),
        };
        Ok(ExecSnapshot {
            id: exec.id.clone(),
            container: exec.container.clone(),
            config: exec.config.clone(),
            running,
            exit_code,
            pid,
        })
    }
}

/// The pid of a container that runs and is not frozen.
fn check_running(container: &Container) -> Result<i32, EngineError> {
    let id = container.id().to_string();
    match container.state() {
        State::Running(Running { paused: true, .. }) => {
            Err(EngineError::Paused { id, operation: "exec" })
        }
        State::Running(Running { pid, .. }) => Ok(pid),
        _ => Err(EngineError::NotRunning { id }),
    }
}

fn exec_facts(exec: &Exec) -> [(&'static str, String); 1] {
    [("execID", exec.id.to_string())]
}

fn note_pid(exec: &Exec, answer: &Answer) {
    let mut state = exec.state();
    if let Answer::Pid { pid } = answer
        && *state == ExecState::Starting
    {
        *state = ExecState::Running { pid: *pid };
    }
}

/// What the shim says about a session that did not start, with the exit code that tells.
fn exec_error(error: CallError) -> EngineError {
    let exit_code = match error.failure() {
        Some(FailureClass::ExecutableNotFound) => NOT_FOUND,
        Some(FailureClass::NotExecutable) => NOT_EXECUTABLE,
        _ => NOT_STARTED,
    };
    EngineError::ExecStart { message: error.to_string(), exit_code }
}
