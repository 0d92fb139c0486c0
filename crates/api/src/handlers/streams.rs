//! Operations on containers that last: wait, attach, logs.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use wadah_engine::{
    EngineError,
    containers::{Attach, Containers, LogQuery, WaitCondition, Waited},
};

use crate::{
    call::Call,
    detach::DetachKeys,
    error::ApiError,
    hijack::Hijack,
    reply::{Reply, to_json},
    version::Gate,
    wire,
};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WaitAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<WaitError>,
    status_code: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct WaitError {
    message: String,
}

/// `POST /containers/{id}/wait`. The headers go at once: `docker run` starts the container when
/// it has them, and must not miss the end.
pub(crate) async fn wait(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let condition = call.query.get("condition").filter(|_| call.version.has(Gate::WaitCondition));
    let condition = match condition {
        None | Some("not-running") => WaitCondition::NotRunning,
        Some("next-exit") => WaitCondition::NextExit,
        Some("removed") => WaitCondition::Removed,
        Some(other) => {
            return Err(ApiError::bad_request(format!("invalid condition: \"{other}\"")));
        }
    };
    let end = containers.wait(&call.name, condition).await?;
    let (sender, reply) = Reply::stream("application/json");
    Ok(reply.fed_by(async move {
        let mut answer = WaitAnswer::from(end.await);
        if condition == WaitCondition::Removed && answer.status_code >= 0 {
            // A removed container has nothing to complain about any more; the client that started
            // it has its error already.
            answer.error = None;
        }
        let mut line = to_json(&answer);
        line.push(b'\n');
        let _client_gone = sender.send(Bytes::from(line)).await;
    }))
}

impl From<Result<Waited, EngineError>> for WaitAnswer {
    fn from(result: Result<Waited, EngineError>) -> Self {
        let (status_code, error) = match result {
            Ok(it) => (it.code.into(), it.error),
            Err(error) => (-1, Some(error.report())),
        };
        Self { status_code, error: error.map(|message| WaitError { message }) }
    }
}

/// `POST /containers/{id}/attach`.
pub(crate) async fn attach(containers: &Arc<Containers>, call: Call) -> Result<Reply, ApiError> {
    let keys = DetachKeys::parse(call.query.get("detachKeys"))?;
    let attach = Attach {
        logs: call.query.flag("logs"),
        stream: call.query.flag("stream"),
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
    };
    let attached = containers.attach(&call.name, attach).await?;
    let upgrade = call.wants_upgrade();
    let told = Arc::clone(containers);
    Ok(Reply::Hijack(Box::new(Hijack {
        upgrade,
        announces_frames: upgrade && call.version.has(Gate::MultiplexedMediaType),
        framed: !attached.tty,
        detach_keys: Some(keys).filter(|_| attached.tty),
        input: attached.input,
        output: attached.output,
        on_detach: Some(Box::new(move || told.detached(&call.name))),
    })))
}

/// `GET /containers/{id}/logs`.
pub(crate) async fn logs(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let query = &call.query;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    let log_query = LogQuery {
        stdout,
        stderr,
        since: wire::parse_time("since", query.get("since"))?,
        until: wire::parse_time("until", query.get("until"))?,
        // Anything but a number of lines means all of them, as Docker has it.
        tail: query.get("tail").and_then(|it| it.parse().ok()),
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        details: query.flag("details"),
    };
    let (chunks, tty) = containers.logs(&call.name, log_query).await?;
    let announces_frames = call.version.has(Gate::MultiplexedMediaType);
    Ok(Reply::output(chunks, !tty, announces_frames))
}
