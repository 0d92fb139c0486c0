//! Recovery: what a daemon does first.
//!
//! The database says which containers there are; run directories say which of them ran, and hold
//! the records of those that are removed when they end. A shim that answers is taken over; the end
//! that one wrote down is noted; one that died without a word has its container's processes
//! killed. Whatever belongs to no container is swept.
//!
//! **Invariant:** one container that cannot be recovered is an error in the log, and no other's
//! misfortune. **Invariant:** a shim that does not answer delays nothing: the daemon is ready
//! after [`PATIENCE`], and goes on to wait for it beside its work.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio::{sync::oneshot, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wadah_oci::ContainerId;
use wadah_shim::{
    launch::remains,
    protocol::{self, Answer, Call, Exit, Status},
};

use super::{
    container::Container,
    names,
    shared::Shared,
    supervise::Ended,
    view::{Exited, Running, State},
};
use crate::{
    EngineError,
    config::RestartPolicy,
    networks::{Attachment, AttachmentForm},
    record::{Record, RecordForm},
    supervisor::{CallError, Connection, Deadline, Run, RunDirectory},
};

/// How long all shims together have to answer before the daemon is ready without them.
const PATIENCE: Duration = Duration::from_millis(300);

/// The exit code of a container of which nothing is known: Docker's.
const LOST: i32 = 255;

/// What is on disk.
struct Found {
    records: Vec<Record>,
    /// Run directories of containers that were started.
    launched: BTreeMap<ContainerId, RunDirectory>,
    /// Run directories that belong to no container.
    strays: Vec<RunDirectory>,
}

impl Shared {
    /// Takes over everything that an earlier daemon left.
    pub(crate) async fn recover(self: &Arc<Self>) -> Result<(), EngineError> {
        let shared = Arc::clone(self);
        let found = self.tasks.block(move || shared.find_all()).await?;
        let Found { records, launched, strays } = found;
        let mut adopting = JoinSet::new();
        let mut ended = Vec::new();
        for record in records {
            let container = self.add_recovered(record)?;
            match launched.get(container.id()) {
                Some(directory) => {
                    let shared = Arc::clone(self);
                    let run = shared.prepare_adoption(&container, directory.clone());
                    adopting.spawn(shared.adopt(container, run));
                }
                None => {
                    mark_lost(&container);
                    ended.push(container);
                }
            }
        }
        self.reconcile_network().await?;
        self.wait_for_adoptions(adopting).await;
        let shared = Arc::clone(self);
        let _task = self.tasks.spawn(async move {
            shared.sweep(strays).await;
            shared.settle(ended).await;
        });
        Ok(())
    }

    /// Reads records and run directories. Blocks.
    fn find_all(&self) -> Result<Found, EngineError> {
        let rows = self.store.database.table::<RecordForm>().iter();
        let rows = rows.map_err(|it| EngineError::mechanism("cannot read the containers", it))?;
        for damage in &rows.damaged {
            tracing::error!("{damage}");
        }
        let mut records = Vec::new();
        for (id, form) in rows.good {
            match Record::from_form(form) {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!(
                        id,
                        error = error.report(),
                        "a container's record is unreadable"
                    );
                }
            }
        }
        let mut known: BTreeSet<_> = records.iter().map(|it| it.definition.id.clone()).collect();
        let (mut launched, mut strays) = (BTreeMap::new(), Vec::new());
        for id in self.run_directories() {
            let directory = self.run_directory(&id);
            if !known.contains(&id) && self.read_record(&directory, &id, &mut records) {
                known.insert(id.clone());
            }
            if !known.contains(&id) {
                strays.push(directory);
            } else if directory.was_launched() {
                launched.insert(id, directory);
            } else if !directory.record().exists() {
                // Of a start that was cut off early. At once: soon there may be another.
                directory.remove()?;
            }
        }
        Ok(Found { records, launched, strays })
    }

    /// Reads the record of a container that is removed when it ends. It counts only while the
    /// container's directory is there: removal takes that first.
    fn read_record(
        &self,
        directory: &RunDirectory,
        id: &ContainerId,
        records: &mut Vec<Record>,
    ) -> bool {
        if !self.store.containers.directories(id).root.exists() {
            return false;
        }
        match Record::read(&directory.record()) {
            Ok(record) if record.definition.id == *id => {
                records.push(record);
                true
            }
            Ok(_) => false,
            Err(error) => {
                tracing::error!(%id, error = error.report(), "a container's record is unreadable");
                false
            }
        }
    }

    fn run_directories(&self) -> Vec<ContainerId> {
        let entries = fs::read_dir(self.settings.exec_root.join("containers"));
        let names = entries.into_iter().flatten().flatten().map(|it| it.file_name());
        names.filter_map(|it| it.to_str()?.parse().ok()).collect()
    }

    fn add_recovered(&self, mut record: Record) -> Result<Arc<Container>, EngineError> {
        let id = record.definition.id.clone();
        let mut attempt = 2;
        let hold = loop {
            match self.registry.hold(record.name.clone(), &id) {
                Ok(hold) => break hold,
                // Two records with one name: neither container is given up for that.
                Err(error) if attempt < 100 => {
                    tracing::error!(%id, error = error.report(), "a container gets another name");
                    record.name = names::made_up(attempt)?;
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        };
        let layers = self.images.hold(&record.definition.layers);
        let container = Arc::new(Container::new(record, layers));
        self.registry.add(Arc::clone(&container), hold);
        Ok(container)
    }

    /// Shows a container as the run directory has it, until its shim has answered.
    fn prepare_adoption(
        &self,
        container: &Arc<Container>,
        directory: RunDirectory,
    ) -> Option<Arc<Run>> {
        let attachment = self.read_attachment(container.id(), &directory);
        let state = remains(directory.path()).state?;
        if matches!(state.status, Status::Creating | Status::Created) {
            return None;
        }
        let run = Arc::new(Run {
            directory,
            connection: Connection::broken(),
            attachment,
            cleared: CancellationToken::new(),
        });
        show_running(container, &run, &state);
        Some(run)
    }

    fn read_attachment(
        &self,
        id: &ContainerId,
        directory: &RunDirectory,
    ) -> Option<Arc<Attachment>> {
        match directory.read::<AttachmentForm>(&directory.network()) {
            Ok(form) => self.networks.adopt(id.as_str(), form?).map(Arc::new),
            Err(error) => {
                tracing::error!(%id, error = error.report(), "a container's network is unknown");
                None
            }
        }
    }

    async fn reconcile_network(self: &Arc<Self>) -> Result<(), EngineError> {
        let shared = Arc::clone(self);
        let reconciled = self.tasks.block(move || {
            let runs: Vec<_> =
                shared.registry.all().iter().filter_map(|it| it.now().run.clone()).collect();
            let attachments = runs.iter().filter_map(|it| it.attachment.as_deref());
            shared.networks.reconcile(attachments)
        });
        reconciled.await
    }

    async fn wait_for_adoptions(&self, mut adopting: JoinSet<()>) {
        let all = async { while adopting.join_next().await.is_some() {} };
        if timeout(PATIENCE, all).await.is_err() {
            tracing::warn!(left = adopting.len(), "some supervisors have not answered yet");
        }
        adopting.detach_all();
    }

    /// Takes a container over whose run directory was found.
    ///
    /// It changes nothing that an operation under way would not expect: what runs still runs, and
    /// what has ended is told to those who wait for that.
    pub(super) fn adopt(
        self: Arc<Self>,
        container: Arc<Container>,
        shown: Option<Arc<Run>>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        // Boxed, since supervision comes back here when a connection breaks.
        Box::pin(self.adopt_again(container, shown))
    }

    async fn adopt_again(self: Arc<Self>, container: Arc<Container>, shown: Option<Arc<Run>>) {
        let directory = self.run_directory(container.id());
        let reached = loop {
            match self.reach(&container, directory.clone(), shown.as_deref()).await {
                // It is there, and does not answer: stopped, perhaps. It is waited for.
                Err(CallError::Late { .. }) => {}
                other => break other,
            }
        };
        let (run, exit, state) = match reached {
            Ok(reached) => reached,
            Err(error) => {
                tracing::debug!(id = %container.id(), %error, "no supervisor answers");
                self.settle_lost(&container, shown).await;
                return;
            }
        };
        match (state.status, state.exit.clone()) {
            (Status::Creating | Status::Created, _) => self.cut_off(&container, &run).await,
            (Status::Stopped, Some(exit)) => {
                show_running(&container, &run, &state);
                self.ended(&container, &run, Ended::Told(exit)).await;
            }
            _ => {
                show_running(&container, &run, &state);
                self.adopt_execs(&container, &state);
                container.tell_running();
                let shared = Arc::clone(&self);
                let _task = self.tasks.spawn(shared.supervise(container.clone(), run, exit));
            }
        }
    }

    /// Connects to a shim and asks how its container is.
    async fn reach(
        self: &Arc<Self>,
        container: &Arc<Container>,
        directory: RunDirectory,
        shown: Option<&Run>,
    ) -> Result<(Arc<Run>, oneshot::Receiver<Exit>, protocol::State), CallError> {
        let stream = directory.connect().await?;
        let (attachment, cleared) = match shown {
            Some(run) => (run.attachment.clone(), run.cleared.clone()),
            None => (None, CancellationToken::new()),
        };
        let (run, exit) = self.watch(container, directory, stream, attachment, cleared);
        match run.connection.call(Call::Subscribe, Deadline::Long).await? {
            Answer::State(state) => Ok((run, exit, state)),
            answer => Err(CallError::unexpected("subscribe", &answer)),
        }
    }

    /// A run whose shim is gone: its end was written down, or it died, or it never began.
    async fn settle_lost(self: &Arc<Self>, container: &Arc<Container>, shown: Option<Arc<Run>>) {
        let directory = self.run_directory(container.id());
        let exit = remains(directory.path()).exit;
        let unknown = |_: &Exit| {
            // The state is lost, the end is not.
            let (connection, cleared) = (Connection::broken(), CancellationToken::new());
            Arc::new(Run { directory, connection, attachment: None, cleared })
        };
        let run = shown.or_else(|| exit.as_ref().map(unknown));
        match (run, exit) {
            (Some(run), Some(exit)) => self.ended(container, &run, Ended::Told(exit)).await,
            (Some(run), None) => self.ended(container, &run, Ended::Dead).await,
            (None, _) => self.clear_cut_off(container).await,
        }
    }

    /// A start that was cut off: nobody was told that it had happened.
    async fn cut_off(self: &Arc<Self>, container: &Arc<Container>, run: &Run) {
        if run.connection.call(Call::Shutdown, Deadline::Short).await.is_ok() {
            run.closed().await;
        }
        self.clear_cut_off(container).await;
    }

    async fn clear_cut_off(self: &Arc<Self>, container: &Arc<Container>) {
        let Ok(_operation) = container.operate("clear up").await else { return };
        if container.now().run.is_some() {
            return;
        }
        let directory = self.run_directory(container.id());
        let cleared = self.tasks.block(move || {
            directory.bury()?;
            directory.clear()
        });
        if let Err(error) = cleared.await {
            tracing::error!(error = error.report(), "something of a start that was cut off stays");
        }
        mark_lost(container);
    }

    /// Sweeps what belongs to no container.
    async fn sweep(self: &Arc<Self>, strays: Vec<RunDirectory>) {
        let shared = Arc::clone(self);
        let swept = self.tasks.block(move || {
            RunDirectory::sweep(&shared.settings.exec_root);
            for directory in strays {
                let removed = directory.bury().and_then(|()| directory.remove());
                if let Err(error) = removed {
                    tracing::error!(error = error.report(), "a stray run directory stays");
                }
            }
            let ids = shared.store.containers.list();
            let ids = ids.map_err(|it| EngineError::mechanism("cannot list the containers", it))?;
            for id in ids.into_iter().filter(|it| shared.registry.get(it).is_none()) {
                // A creation that has begun meanwhile holds no record yet: its directory is young.
                if let Err(error) = shared.remove_stray(&id) {
                    tracing::error!(%id, error = error.report(), "a stray directory stays");
                }
            }
            shared.images.sweep().map_err(EngineError::from)
        });
        if let Err(error) = swept.await {
            tracing::error!(error = error.report(), "not everything is swept");
        }
    }

    fn remove_stray(&self, id: &ContainerId) -> Result<(), EngineError> {
        let root = self.store.containers.directories(id).root;
        let modified = fs::metadata(&root).and_then(|it| it.created());
        let is_ours = modified.is_ok_and(|it| it > self.opened);
        if is_ours {
            return Ok(());
        }
        let removed = self.store.containers.remove(id);
        removed
            .map_err(|it| EngineError::mechanism(format!("cannot remove {}", root.display()), it))
    }

    /// Removes containers that should have been, and starts those that should run.
    async fn settle(self: &Arc<Self>, ended: Vec<Arc<Container>>) {
        for container in ended {
            let has_ended = container.state().exited().is_some();
            if container.definition.host.auto_remove && has_ended {
                self.remove_ended(&container).await;
                continue;
            }
            let policy = container.definition.host.restart_policy;
            let is_stopped = container.now().stopped;
            let wanted = match policy {
                RestartPolicy::Always => has_ended,
                RestartPolicy::UnlessStopped => has_ended && !is_stopped,
                RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
            };
            if wanted {
                let shared = Arc::clone(self);
                let _task = self.tasks.spawn(async move {
                    let id = container.id().clone();
                    if let Err(error) = shared.start(container).await {
                        tracing::error!(%id, error = error.report(), "a container was not started");
                    }
                });
            }
        }
    }
}

/// Notes the end of a container that ran when the machine went down: nothing tells how it ended.
fn mark_lost(container: &Container) {
    let mut now = container.now();
    if let State::Running(running) = &now.state {
        now.state = State::Exited(Exited {
            code: LOST,
            oom_killed: false,
            error: "the machine, or its run directory, went away while the container ran".into(),
            started_at: Some(running.started_at),
            finished_at: Timestamp::now(),
        });
    }
}

/// Shows a container as running.
fn show_running(container: &Container, run: &Arc<Run>, state: &protocol::State) {
    let started_at = Timestamp::from_nanosecond(i128::from(state.started_at));
    let mut now = container.now();
    now.run = Some(Arc::clone(run));
    now.state = State::Running(Running {
        pid: state.pid,
        started_at: started_at.unwrap_or_else(|_| Timestamp::now()),
        paused: state.status == Status::Paused,
    });
    drop(now);
    container.tell_running();
}
