//! Starting a container.
//!
//! What has to be done in order is: a namespace and reservations, the files, the shim. Then the
//! shim makes the container up to its gate while the network is being connected, and clients that
//! attached before get their connections; then the gate is opened.
//!
//! **Invariant:** a start that fails leaves nothing: no process, no directory, no address. One
//! that is cut off with the daemon is undone by the next daemon, from the run directory.

use std::{os::fd::OwnedFd, path::PathBuf, sync::Arc, time::Instant};

use jiff::Timestamp;
use tokio::{net::UnixStream, sync::oneshot};
use tokio_util::sync::CancellationToken;
use wadah_net::Namespace as NetNamespace;
use wadah_shim::{
    launch::{NETWORK_NAMESPACE, Shim},
    protocol::{Answer, Call, Exit, FailureClass},
};

use super::{
    ask::Waited,
    container::{Container, Operation},
    launch::{NetworkNamespace, Plan},
    shared::Shared,
    view::{Exited, Running, State},
};
use crate::{
    EngineError,
    config::{NetworkMode, PidMode},
    networks::Attachment,
    record::Definition,
    spec::{self, Namespace},
    supervisor::{CallError, Connection, Deadline, Run, RunDirectory, reap},
};

impl Shared {
    /// Starts a container, if it does not run.
    pub(super) async fn start(
        self: Arc<Self>,
        container: Arc<Container>,
    ) -> Result<(), EngineError> {
        let operation = container.operate("start").await?;
        self.start_held(&container, &operation).await
    }

    /// Likewise, for one who already holds the right to.
    pub(super) async fn start_held(
        self: &Arc<Self>,
        container: &Arc<Container>,
        _operation: &Operation,
    ) -> Result<(), EngineError> {
        check_startable(container)?;
        self.wait_until_cleared(container).await?;
        container.now().stopped = false;
        let (attachment, started) = match self.plan(container) {
            Ok(plan) => (plan.attachment.clone(), self.launch(container, plan).await),
            Err(error) => (None, Err(error)),
        };
        if let Err(error) = &started {
            self.undo_start(container, attachment, error).await;
        }
        started
    }

    /// Takes namespaces and reservations.
    fn plan(&self, container: &Container) -> Result<Plan, EngineError> {
        let definition = &container.definition;
        let own = self.store.containers.directories(container.id()).root;
        let mut plan = Plan {
            network: None,
            network_in_spec: Namespace::Path(PathBuf::from(NETWORK_NAMESPACE)),
            attachment: None,
            pid: self.pid_namespace(definition)?,
            files: own,
            hostname: hostname(definition),
        };
        match &definition.host.network_mode {
            NetworkMode::Host => plan.network_in_spec = Namespace::Host,
            NetworkMode::Container(id) => {
                let other = self.registry.find(id)?;
                plan.network = Some(NetworkNamespace::Joined(network_of(&other)?));
                plan.files = self.store.containers.directories(other.id()).root;
                plan.hostname = hostname(&other.definition);
            }
            // None of the built-in networks; there are no others yet.
            NetworkMode::Named(network) => {
                return Err(EngineError::NoSuchNetwork { reference: network.clone() });
            }
            mode => {
                plan.network = Some(NetworkNamespace::New(self.networks.namespace()?));
                let is_connected = *mode == NetworkMode::Default;
                if is_connected && !definition.config.network_disabled {
                    plan.attachment = Some(Arc::new(self.networks.reserve(definition)?));
                }
            }
        }
        Ok(plan)
    }

    fn pid_namespace(&self, definition: &Definition) -> Result<Namespace, EngineError> {
        match &definition.host.pid_mode {
            PidMode::Container(id) => {
                let pid = running_pid(&*self.registry.find(id)?)?;
                Ok(Namespace::Path(PathBuf::from(format!("/proc/{pid}/ns/pid"))))
            }
            mode => Ok(spec::pid_namespace(mode).unwrap_or(Namespace::New)),
        }
    }

    async fn launch(
        self: &Arc<Self>,
        container: &Arc<Container>,
        plan: Plan,
    ) -> Result<(), EngineError> {
        let directory = self.run_directory(container.id());
        let attachment = plan.attachment.clone();
        let (shared, for_shim) = (Arc::clone(self), Arc::clone(container));
        let begin = Instant::now();
        let launched = move || shared.launch_shim(&for_shim, plan);
        let (shim, network) = self.tasks.block(launched).await?;
        tracing::debug!(id = %container.id(), launched = ?begin.elapsed(), "a shim is launched");
        let (run, exit) = self.connect(container, directory, shim, attachment)?;
        let started = self.bring_up(container, &run, network).await;
        if let Err(error) = started {
            self.abandon(&run).await;
            return Err(error);
        }
        let running = started?;
        self.publish_running(container, &run, running);
        self.write_down_lazily(container);
        let supervised = Arc::clone(self).supervise(Arc::clone(container), run, exit);
        let _task = self.tasks.spawn(supervised);
        Ok(())
    }

    /// Takes over the connection to a shim.
    fn connect(
        self: &Arc<Self>,
        container: &Arc<Container>,
        directory: RunDirectory,
        shim: Shim,
        attachment: Option<Arc<Attachment>>,
    ) -> Result<(Arc<Run>, oneshot::Receiver<Exit>), EngineError> {
        let operation = || format!("cannot connect to the supervisor of {}", container.id());
        let Shim { connection, process } = shim;
        reap(process, &self.tasks).map_err(|it| EngineError::io(operation(), it))?;
        connection.set_nonblocking(true).map_err(|it| EngineError::io(operation(), it))?;
        let stream =
            UnixStream::from_std(connection).map_err(|it| EngineError::io(operation(), it))?;
        Ok(self.watch(container, directory, stream, attachment, CancellationToken::new()))
    }

    /// Watches a stream to a shim: events become changes of the container.
    pub(super) fn watch(
        self: &Arc<Self>,
        container: &Arc<Container>,
        directory: RunDirectory,
        stream: UnixStream,
        attachment: Option<Arc<Attachment>>,
        cleared: CancellationToken,
    ) -> (Arc<Run>, oneshot::Receiver<Exit>) {
        let (told, exit) = oneshot::channel();
        let on_event = self.on_event(container, told);
        let connection = Connection::open(stream, &self.tasks, on_event);
        (Arc::new(Run { directory, connection, attachment, cleared }), exit)
    }

    /// Connects the network while the shim makes the container; then opens the gate.
    async fn bring_up(
        self: &Arc<Self>,
        container: &Arc<Container>,
        run: &Arc<Run>,
        network: Option<NetNamespace>,
    ) -> Result<Running, EngineError> {
        let id = container.id().as_str();
        let created = async {
            let created = run.connection.call(Call::Created, Deadline::Long).await;
            match created.map_err(|it| start_error(id, it))? {
                Answer::State(state) => Ok(state.pid),
                answer => Err(start_error(id, CallError::unexpected("created", &answer))),
            }
        };
        let connected = async {
            let (Some(namespace), Some(attachment)) = (network, run.attachment.clone()) else {
                return Ok(());
            };
            let networks = Arc::clone(&self.networks);
            self.tasks.block(move || networks.connect(&attachment, &namespace)).await
        };
        let subscribed = async {
            let subscribed = run.connection.call(Call::Subscribe, Deadline::Long).await;
            subscribed.map_err(|it| start_error(id, it)).map(drop)
        };
        let begin = Instant::now();
        // All to their ends, also if one fails: what is being connected must not be given back.
        let (created, connected, subscribed) = tokio::join!(created, connected, subscribed);
        let pid = created.and_then(|pid| connected.map(|()| pid))?;
        subscribed?;
        let made = begin.elapsed();
        self.attach_waiting(container, run).await;
        let attached = begin.elapsed();
        let started = run.connection.call(Call::Start, Deadline::Long).await;
        tracing::debug!(id, ?made, ?attached, started = ?begin.elapsed(), "the shim has started it");
        let _done = started.map_err(|it| start_error(id, it))?;
        Ok(Running { pid, started_at: Timestamp::now(), paused: false })
    }

    fn publish_running(&self, container: &Container, run: &Arc<Run>, running: Running) {
        let mut now = container.now();
        now.state = State::Running(running);
        now.run = Some(Arc::clone(run));
        drop(now);
        container.tell_running();
        self.tell(container, "start", &[]);
    }

    /// Takes down a run that never began.
    async fn abandon(self: &Arc<Self>, run: &Run) {
        if run.connection.call(Call::Shutdown, Deadline::Short).await.is_ok() {
            run.closed().await;
        }
        let directory = run.directory.clone();
        let buried = self.tasks.block(move || directory.bury()).await;
        if let Err(error) = buried {
            tracing::warn!(
                error = error.report(),
                "a container that did not start is not all gone"
            );
        }
    }

    /// Gives back what a failed start has reserved, and notes how it failed.
    async fn undo_start(
        self: &Arc<Self>,
        container: &Arc<Container>,
        attachment: Option<Arc<Attachment>>,
        error: &EngineError,
    ) {
        self.give_back(container, attachment).await;
        let code = match error {
            EngineError::Start { exit_code, .. } => *exit_code,
            _ => 128,
        };
        let exited = Exited {
            code,
            oom_killed: false,
            error: error.report(),
            started_at: None,
            finished_at: Timestamp::now(),
        };
        {
            let mut now = container.now();
            now.state = State::Failed(exited);
            now.run = None;
            now.waiting.clear();
        }
        // The client that started it has the error; one that waits gets the code, as from Docker.
        container.tell_ended(Waited { code, error: None });
        if container.definition.host.auto_remove {
            self.remove_ended(container).await;
        } else if let Err(error) = self.write_down(container).await {
            tracing::warn!(error = error.report(), "a failed start is not written down");
        }
    }

    async fn give_back(
        self: &Arc<Self>,
        container: &Container,
        attachment: Option<Arc<Attachment>>,
    ) {
        let directory = self.run_directory(container.id());
        let networks = Arc::clone(&self.networks);
        let cleared = self.tasks.block(move || {
            if let Some(attachment) = attachment {
                networks.release(&attachment);
            }
            directory.clear()
        });
        if let Err(error) = cleared.await {
            tracing::warn!(error = error.report(), "a run directory stays");
        }
    }

    /// Waits until what is left of the last run is cleared away.
    pub(super) async fn wait_until_cleared(
        &self,
        container: &Container,
    ) -> Result<(), EngineError> {
        let Some(run) = container.now().run.clone() else { return Ok(()) };
        let limit = super::ask::PATIENCE;
        let late = |_| EngineError::Deadline {
            operation: "clearing up after the last run",
            id: container.id().to_string(),
            seconds: limit.as_secs(),
        };
        tokio::time::timeout(limit, run.cleared.cancelled()).await.map_err(late)
    }
}

fn check_startable(container: &Container) -> Result<(), EngineError> {
    let id = container.id().to_string();
    match container.state() {
        State::Running(Running { paused: false, .. }) => Err(EngineError::AlreadyRunning { id }),
        State::Running(Running { paused: true, .. }) => Err(EngineError::CannotStartPaused),
        State::Removing(_) => Err(EngineError::MarkedForRemoval { id, operation: "started" }),
        State::Created
        | State::Failed(_)
        | State::Restarting(_)
        | State::Exited(_)
        | State::Dead(_) => Ok(()),
    }
}

/// The host name a container has.
pub(crate) fn hostname(definition: &Definition) -> String {
    if !definition.config.hostname.is_empty() {
        return definition.config.hostname.clone();
    }
    let is_host = definition.host.network_mode == NetworkMode::Host;
    let of_host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    if is_host { of_host() } else { definition.id.short().to_owned() }
}

fn running_pid(container: &Container) -> Result<i32, EngineError> {
    match container.state() {
        State::Running(running) => Ok(running.pid),
        _ => Err(EngineError::JoinNotRunning { id: container.id().to_string() }),
    }
}

/// The network namespace of a container that runs.
fn network_of(container: &Container) -> Result<OwnedFd, EngineError> {
    let path = format!("/proc/{}/ns/net", running_pid(container)?);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let opened = rustix::fs::open(path.as_str(), flags, rustix::fs::Mode::empty());
    opened.map_err(|it| EngineError::io(format!("cannot open {path}"), it.into()))
}

/// What the shim says about a start that failed, with the exit code that tells.
fn start_error(id: &str, error: CallError) -> EngineError {
    let exit_code = match error.failure() {
        Some(FailureClass::ExecutableNotFound) => 127,
        Some(FailureClass::NotExecutable) => 126,
        Some(FailureClass::Invalid) => {
            return EngineError::invalid(format!("failed to start container {id}: {error}"));
        }
        _ => 128,
    };
    let mut message = error.to_string();
    if let Some(source) = std::error::Error::source(&error) {
        message = format!("{message}: {source}");
    }
    EngineError::Start { id: id.to_owned(), message, exit_code }
}
