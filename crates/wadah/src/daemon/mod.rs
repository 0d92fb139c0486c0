//! The daemon: flags, sockets, the engine and its API, until a signal.
//!
//! **Invariant:** crash-only. Stopping is letting go: no container is touched, and what a clean
//! stop does beyond a kill is to be polite to clients and to remove the socket and the pidfile.

mod flags;
mod idle;
mod log;
mod pidfile;
mod socket;

use std::{
    ffi::OsString,
    fs::DirBuilder,
    io::{self, Write},
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::Path,
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context, Result};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use wadah_api::{Listener, Server};
use wadah_engine::{Engine, Settings};
use wadah_runtime::protect;
use wadah_shim::launch::Launcher;

use self::{
    flags::{Flags, Parsed},
    pidfile::PidFile,
    socket::Socket,
};
use crate::hello;

/// Threads that run tasks: what a machine of any size needs for a control plane.
const WORKERS: usize = 2;

/// Threads for files, archives and netlink, at most; they end when idle.
const BLOCKING_THREADS: usize = 32;

/// Enough for the deepest of our futures, and a quarter of the usual.
const STACK: usize = 512 * 1024;

/// Runs the daemon with the arguments behind its role.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let flags = match flags::parse(arguments) {
        Ok(Parsed::Flags(flags)) => flags,
        Ok(Parsed::Help) => return print(flags::HELP),
        Err(error) => {
            drop(writeln!(io::stderr(), "wadah daemon: {error}\nSee 'wadah daemon --help'."));
            return ExitCode::from(125);
        }
    };
    let passed = socket::passed();
    log::init(flags.log_level, flags.log_format);
    match passed.and_then(|passed| run(*flags, passed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    let written = io::stdout().write_all(text.as_bytes());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(flags: Flags, passed: Vec<OwnedFd>) -> Result<()> {
    let began = Instant::now();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    make_root(&flags.data_root)?;
    make_root(&flags.exec_root)?;
    let pidfile = flags.pidfile.as_deref().map(PidFile::write).transpose()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_stack_size(STACK)
        .thread_name("wadah")
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let result = runtime.block_on(serve(&flags, passed, began));
    // A blocked thread (a dead network file system) must not keep the daemon from ending.
    runtime.shutdown_background();
    drop(pidfile);
    result
}

/// The roots may be entered, but not listed, by anyone.
fn make_root(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o711).create(path);
    made.with_context(|| format!("cannot create {}", path.display()))
}

async fn serve(flags: &Flags, passed: Vec<OwnedFd>, began: Instant) -> Result<()> {
    let stop = CancellationToken::new();
    let _signals = stop_on_signals(stop.clone())?;
    let engine = Engine::open(settings(flags)?).await.map_err(reported)?;
    hello::install(&engine).await;
    // Sockets come last: whoever can connect is answered.
    let sockets = socket::bind_all(&flags.hosts, passed, flags.group.as_deref())?;
    let addresses: Vec<_> = sockets.iter().map(Socket::address).collect();
    let milliseconds = began.elapsed().as_millis();
    tracing::info!(milliseconds, "ready: API on {}", addresses.join(", "));
    let (listeners, cleanup): (Vec<Listener>, Vec<_>) =
        sockets.into_iter().map(Socket::into_parts).unzip();
    let server = Server::new(engine.clone());
    let idle = tokio::spawn(idle::trim_when_quiet(server.activity()));
    server.run(listeners, stop).await;
    idle.abort();
    drop(cleanup);
    engine.close().await;
    tracing::info!("stopped; containers run on");
    Ok(())
}

/// What the engine is opened with. Shims are executed from a clone of our executable that cannot
/// be written: a container may come to see it.
fn settings(flags: &Flags) -> Result<Settings> {
    let executable = protect::executable().context("cannot open our own executable")?;
    let launcher = Launcher::new(executable, ["wadah", "shim"]);
    let mut settings = Settings::new(flags.data_root.clone(), flags.exec_root.clone(), launcher);
    if let Some(bridge) = &flags.bridge {
        settings.bridge.clone_from(bridge);
    }
    if let Some(parent) = &flags.cgroup_parent {
        settings.cgroup_parent.clone_from(parent);
    }
    settings.bridge_address = flags.bridge_address;
    settings.init = flags.init;
    Ok(settings)
}

/// The engine's errors tell their causes themselves.
fn reported(error: wadah_engine::EngineError) -> anyhow::Error {
    anyhow::anyhow!("{}", error.report())
}

/// Cancels `stop` at the first SIGTERM or SIGINT. A broken pipe or a closed terminal stops nothing.
fn stop_on_signals(stop: CancellationToken) -> Result<tokio::task::JoinHandle<()>> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hang_up.recv() => continue,
            };
            tracing::info!("stopping on {name}");
            stop.cancel();
        }
    }))
}
