//! One connection, from its first request to its end.
//!
//! hyper speaks HTTP. A request that takes the connection over (attach, exec) makes hyper stop
//! without an answer, and gets the socket and what hyper had read ahead: so a client that offers
//! no upgrade, which hyper could not serve, takes the same road as one that does.
//!
//! **Invariant:** when this returns, nothing of the connection is left but what a handler has
//! handed to the engine.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper::{Request, Response, body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use crate::{
    dispatch::Dispatcher,
    hijack::Hijack,
    reply::{Reply, ReplyBody},
    transport::{Gate, Transport},
};

/// How long a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(300);

/// Serves a connection until its client, or the daemon, has enough.
pub(crate) async fn serve(
    transport: Box<dyn Transport>,
    dispatcher: Arc<Dispatcher>,
    stop: CancellationToken,
) {
    let hides_eof = Arc::new(AtomicBool::new(false));
    let gate = Gate::new(transport, Arc::clone(&hides_eof));
    let hijack = Arc::new(Mutex::new(None));
    let service = Requests { dispatcher, hides_eof, hijack: Arc::clone(&hijack) };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        // As Go writes them: not every client of a raw socket ignores case.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(gate), service);
    let mut stopped = pin!(stop.cancelled());
    let mut is_stopping = false;
    let ended = poll_fn(|cx| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(cx)
    })
    .await;
    let parts = connection.into_parts();
    let taken = hijack.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (taken, ended) {
        (Some(hijack), _) => hijack.run(parts.io.into_inner().into_inner(), parts.read_buf).await,
        (None, Err(error)) => tracing::debug!(%error, "connection ended early"),
        (None, Ok(())) => {}
    }
}

/// The requests of one connection.
struct Requests {
    dispatcher: Arc<Dispatcher>,
    hides_eof: Arc<AtomicBool>,
    hijack: Arc<Mutex<Option<Box<Hijack>>>>,
}

/// What hyper is told when a request takes the connection over.
#[derive(Debug)]
struct TakenOver;

impl fmt::Display for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was taken over")
    }
}

impl std::error::Error for TakenOver {}

impl Service<Request<Incoming>> for Requests {
    type Response = Response<ReplyBody>;
    type Error = TakenOver;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, TakenOver>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let reply = self.dispatcher.serve(request, Arc::clone(&self.hides_eof));
        let slot = Arc::clone(&self.hijack);
        let hides_eof = Arc::clone(&self.hides_eof);
        Box::pin(async move {
            match reply.await {
                Reply::Http(response) => {
                    hides_eof.store(false, Ordering::Relaxed);
                    Ok(response)
                }
                Reply::Hijack(hijack) => {
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(hijack);
                    Err(TakenOver)
                }
            }
        })
    }
}
