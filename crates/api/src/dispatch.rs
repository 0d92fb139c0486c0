//! From a request to the handler that answers it.
//!
//! **Invariant:** a handler runs to its end even if its client goes away: a container is never
//! left half started because someone closed a window. What waits for a client (a streamed body, a
//! hijacked connection) is not in the handler, and ends with the client.
//! **Invariant:** a handler that panics answers 500 and harms no other request.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use hyper::{Method, Request, Response, StatusCode, body::Incoming};
use tokio_util::task::TaskTracker;
use wadah_engine::Engine;

use crate::{
    call::Call,
    error::ApiError,
    handlers::{
        absent, containers, create, events, exec, images, networks, prune, streams, system,
    },
    query::Query,
    reply::{Reply, ReplyBody, add_common_headers},
    routes::{self, Found, Operation},
    version::Version,
};

/// What answers requests.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    engine: Engine,
    tasks: TaskTracker,
    requests: Arc<AtomicU64>,
}

impl Dispatcher {
    /// Answers for `engine`.
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, tasks: TaskTracker::new(), requests: Arc::default() }
    }

    /// Counts requests.
    pub(crate) fn requests(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.requests)
    }

    /// Waits for handlers that are at work.
    pub(crate) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Answers one request.
    pub(crate) fn serve(
        &self,
        request: Request<Incoming>,
        hides_eof: Arc<AtomicBool>,
    ) -> impl Future<Output = Reply> + Send + 'static {
        let began = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let title = format!("{} {}", request.method(), request.uri().path());
        let work = prepare(request, hides_eof).map(|(operation, call)| {
            let engine = self.engine.clone();
            self.tasks.spawn(async move { run(&engine, operation, call).await })
        });
        async move {
            let reply = match work {
                Err(reply) => *reply,
                Ok(task) => match task.await {
                    Ok(result) => result.unwrap_or_else(Reply::from),
                    Err(_panicked) => ApiError::Died { operation: title.clone() }.into(),
                },
            };
            finish(reply, &title, began)
        }
    }
}

/// Understands a request, or has the answer already.
fn prepare(
    request: Request<Incoming>,
    hides_eof: Arc<AtomicBool>,
) -> Result<(Operation, Call), Box<Reply>> {
    let answer = |it: ApiError| Box::new(Reply::from(it));
    if request.method() == Method::OPTIONS {
        return Err(Box::new(Reply::status(StatusCode::OK)));
    }
    let (head, body) = request.into_parts();
    let (version, path) = Version::split_path(head.uri.path()).map_err(answer)?;
    let Found { route, name } = routes::find(&head.method, path).map_err(answer)?;
    let query = Query::parse(head.uri.query().unwrap_or_default()).map_err(answer)?;
    let operation = route.operation.ok_or_else(|| {
        answer(ApiError::not_implemented(format!("{} {}", route.method, route.pattern)))
    })?;
    let call =
        Call { method: head.method, version, name, query, headers: head.headers, body, hides_eof };
    if matches!(operation, Operation::ContainerAttach | Operation::ExecStart) {
        call.will_hijack();
    }
    Ok((operation, call))
}

/// Every operation and its handler. A handler takes only the parts of the engine it may touch.
async fn run(engine: &Engine, operation: Operation, call: Call) -> Result<Reply, ApiError> {
    use Operation as Op;
    let Engine { containers, execs, images, networks, events, system, .. } = engine;
    match operation {
        Op::Ping => Ok(system::ping(&call)),
        Op::Version => Ok(system::version(system)),
        Op::Info => system::info(system).await,
        Op::Events => events::watch(events, &call),
        Op::ContainerList => containers::list(containers, &call).await,
        Op::ContainerCreate => create::create(containers, call).await,
        Op::ContainerInspect => containers::inspect(containers, &call).await,
        Op::ContainerTop => containers::top(containers, &call).await,
        Op::ContainerStart => containers::start(containers, &call).await,
        Op::ContainerStop => containers::stop(containers, &call).await,
        Op::ContainerRestart => containers::restart(containers, &call).await,
        Op::ContainerKill => containers::kill(containers, &call).await,
        Op::ContainerPause => containers::pause(containers, &call).await,
        Op::ContainerUnpause => containers::unpause(containers, &call).await,
        Op::ContainerRename => containers::rename(containers, &call).await,
        Op::ContainerResize => containers::resize(containers, &call).await,
        Op::ContainerDelete => containers::delete(containers, &call).await,
        Op::ContainerPrune => prune::prune(containers, events, &call).await,
        Op::ContainerWait => streams::wait(containers, &call).await,
        Op::ContainerAttach => streams::attach(containers, call).await,
        Op::ContainerLogs => streams::logs(containers, &call).await,
        Op::ExecCreate => exec::create(execs, call).await,
        Op::ExecStart => exec::start(execs, call).await,
        Op::ExecResize => exec::resize(execs, &call).await,
        Op::ExecInspect => exec::inspect(execs, &call).await,
        Op::NetworkList => networks::list(networks, &call).await,
        Op::NetworkInspect => networks::inspect(networks, &call).await,
        Op::VolumeList => Ok(absent::volumes()),
        Op::VolumeInspect => Err(absent::volume(&call)),
        Op::PluginList => Ok(absent::plugins()),
        Op::PluginInspect => Err(absent::plugin(&call)),
        Op::ImageList => images::list(images, &call),
        Op::ImageInspect => images::inspect(images, &call),
        Op::ImageHistory => images::history(images, &call),
        Op::ImageTag => images::tag(images, call).await,
        Op::ImageDelete => images::delete(images, containers, call).await,
        Op::ImageLoad => Ok(images::load(images, call)),
        Op::ImageCreate => images::create(images, call),
    }
}

/// Puts the common headers on, and says in the log what was answered.
fn finish(mut reply: Reply, title: &str, began: Instant) -> Reply {
    let status = match &mut reply {
        Reply::Http(response) => {
            add_common_headers(response.headers_mut());
            status_of(response)
        }
        Reply::Hijack(_) => 101,
    };
    let microseconds = began.elapsed().as_micros();
    tracing::debug!(status, microseconds, "{title}");
    reply
}

fn status_of(response: &Response<ReplyBody>) -> u16 {
    response.status().as_u16()
}
