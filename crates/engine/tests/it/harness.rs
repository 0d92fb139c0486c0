//! An engine of a test's own.
//!
//! **Invariant:** when [`with_engine`] returns, nothing is left: no process, control group,
//! interface or file.

use std::{
    env,
    fs::File,
    future::Future,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;
use wadah_engine::{
    Engine, Settings,
    config::{Config, HostConfig, NetworkMode},
    containers::{Create, ListQuery, LogQuery, Remove, WaitCondition, Waited},
    stream::Attached,
};
use wadah_shim::launch::Launcher;

/// How long a test waits for one thing.
const DEADLINE: Duration = Duration::from_secs(30);

/// An engine, and where it keeps things.
pub(crate) struct Sandbox {
    directory: TempDir,
    cgroup_parent: String,
    pub(crate) engine: Engine,
}

/// Runs a test with an engine of its own, that has the image `busybox`.
pub(crate) fn with_engine<F: Future<Output = Sandbox>>(test: impl FnOnce(Sandbox) -> F) {
    enter_network_namespace();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = test(Sandbox::new().await).await;
        sandbox.tear_down().await;
    });
}

fn enter_network_namespace() {
    #[allow(deprecated, reason = "this thread holds nothing that a new namespace would upset")]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET).unwrap();
}

fn shim() -> PathBuf {
    let own = env::current_exe().unwrap();
    let directory = own.parent().and_then(Path::parent).unwrap();
    let path = directory.join("examples/shim");
    assert!(path.exists(), "{path:?} is not built: run `cargo test -p wadah-engine`");
    path
}

fn settings(directory: &Path, cgroup_parent: &str) -> Settings {
    let launcher = Launcher::new(OwnedFd::from(File::open(shim()).unwrap()), ["shim"]);
    let (data, exec) = (directory.join("data"), directory.join("exec"));
    let mut settings = Settings::new(data, exec, launcher);
    settings.cgroup_parent = cgroup_parent.to_owned();
    settings.bridge_address = Some(([10, 99, 0, 1].into(), 16));
    settings
}

impl Sandbox {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = TempDir::with_prefix("wadah-engine-").unwrap();
        let cgroup_parent = format!("wadah-test-{}-{number}", process::id());
        let engine = Engine::open(settings(directory.path(), &cgroup_parent)).await.unwrap();
        let archive = wadah_testkit::busybox(directory.path()).unwrap();
        let images = engine.images.clone();
        let load = move || images.load(File::open(archive).unwrap(), true, &mut |_| {}).unwrap();
        let _ids = tokio::task::spawn_blocking(load).await.unwrap();
        Self { directory, cgroup_parent, engine }
    }

    /// Closes the engine, and opens another.
    pub(crate) async fn reopen(self) -> Self {
        self.reopen_after(|| {}).await
    }

    /// Likewise, doing something while there is none.
    pub(crate) async fn reopen_after(self, meanwhile: impl FnOnce()) -> Self {
        let Self { directory, cgroup_parent, engine } = self;
        engine.close().await;
        meanwhile();
        let engine = Engine::open(settings(directory.path(), &cgroup_parent)).await.unwrap();
        Self { directory, cgroup_parent, engine }
    }

    /// The data root.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where run directories are.
    pub(crate) fn run_directory(&self, id: &str) -> PathBuf {
        self.directory.path().join("exec/containers").join(id)
    }

    async fn tear_down(self) {
        let query = ListQuery { all: true, ..ListQuery::default() };
        for container in self.engine.containers.list(&query).await.unwrap() {
            let remove = Remove { force: true, ..Remove::default() };
            self.engine.containers.remove(container.id.as_str(), remove).await.unwrap();
        }
        self.engine.close().await;
        let left = std::fs::read_dir(self.directory.path().join("exec/containers")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().path()).collect();
        assert!(left.is_empty(), "run directories are left: {left:?}");
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
            let parent = hierarchy.unwrap().path().join(&self.cgroup_parent);
            let children = std::fs::read_dir(&parent).into_iter().flatten().flatten();
            let children = children.filter(|it| it.path().is_dir()).count();
            assert_eq!(children, 0, "cgroups are left in {parent:?}");
            let _absent = std::fs::remove_dir(parent);
        }
    }

    /// Creates a container without a network.
    pub(crate) async fn create(&self, command: &[&str]) -> String {
        self.create_with(command, |_, _| {}).await
    }

    /// Creates a container without a network, changed.
    pub(crate) async fn create_with(
        &self,
        command: &[&str],
        change: impl FnOnce(&mut Config, &mut HostConfig),
    ) -> String {
        let mut create = recipe(command);
        change(&mut create.config, &mut create.host);
        within(self.engine.containers.create(create)).await.unwrap().id.to_string()
    }

    /// Waits until a container does not run.
    pub(crate) async fn wait(&self, id: &str) -> Waited {
        let waited = self.engine.containers.wait(id, WaitCondition::NotRunning).await.unwrap();
        within(waited).await.unwrap()
    }

    /// Creates, starts, waits; gives the exit code and the log.
    pub(crate) async fn run(
        &self,
        command: &[&str],
        change: impl FnOnce(&mut Config, &mut HostConfig),
    ) -> (i32, String) {
        let id = self.create_with(command, change).await;
        within(self.engine.containers.start(&id)).await.unwrap();
        let code = self.wait(&id).await.code;
        (code, self.log(&id).await)
    }

    /// What was logged.
    pub(crate) async fn log(&self, id: &str) -> String {
        let query = LogQuery { stdout: true, stderr: true, ..LogQuery::default() };
        let (mut chunks, _) = self.engine.containers.logs(id, query).await.unwrap();
        let mut text = String::new();
        while let Some(chunk) = within(chunks.recv()).await {
            text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
        }
        text
    }
}

/// A container of busybox without a network.
pub(crate) fn recipe(command: &[&str]) -> Create {
    Create {
        config: Config {
            image: "busybox".to_owned(),
            command: Some(command.iter().map(|it| (*it).to_owned()).collect()),
            ..Config::default()
        },
        host: HostConfig { network_mode: NetworkMode::None, ..HostConfig::default() },
        ..Create::default()
    }
}

/// Everything a process writes until the end.
pub(crate) async fn output(mut attached: Attached) -> String {
    drop(attached.input.take());
    let mut text = String::new();
    while let Some(chunk) = within(attached.output.recv()).await {
        text.push_str(std::str::from_utf8(&chunk.bytes).unwrap());
    }
    text
}

/// Waits for something, not for ever.
#[track_caller]
pub(crate) fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(DEADLINE, future).await;
        waited.unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain at {place}"))
    }
}
