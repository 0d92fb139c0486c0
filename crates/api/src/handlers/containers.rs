//! Operations on containers that answer at once.

use serde::Serialize;
use wadah_engine::containers::{Containers, ListQuery, Remove, Stop};

use crate::{
    call::Call,
    error::ApiError,
    filters,
    query::Query,
    reply::Reply,
    wire::{Inspected, Listed},
};

/// `GET /containers/json`.
pub(crate) async fn list(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let limit = call.query.number("limit")?.and_then(|it| usize::try_from(it).ok());
    let query = ListQuery {
        all: call.query.flag("all"),
        limit: limit.filter(|it| *it > 0),
        size: call.query.flag("size"),
        filters: filters::parse(&call.query)?,
    };
    let found = containers.list(&query).await?;
    let models: Vec<_> = found.iter().map(|it| Listed::new(it, call.version)).collect();
    Ok(Reply::json(&models))
}

/// `GET /containers/{id}/json`.
pub(crate) async fn inspect(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let snapshot = containers.inspect(&call.name, call.query.flag("size")).await?;
    Ok(Reply::json(&Inspected::new(&snapshot, call.version)))
}

/// `GET /containers/{id}/top`.
pub(crate) async fn top(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Model {
        processes: Vec<Vec<String>>,
        titles: Vec<String>,
    }

    let arguments = call.query.get("ps_args").unwrap_or("-ef");
    let top = containers.top(&call.name, arguments).await?;
    Ok(Reply::json(&Model { processes: top.processes, titles: top.titles }))
}

/// `POST /containers/{id}/start`.
pub(crate) async fn start(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.start(&call.name).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/stop`.
pub(crate) async fn stop(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.stop(&call.name, &how_to_stop(call)?).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/restart`.
pub(crate) async fn restart(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.restart(&call.name, &how_to_stop(call)?).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/kill`.
pub(crate) async fn kill(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.kill(&call.name, call.query.get("signal")).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/pause`.
pub(crate) async fn pause(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.pause(&call.name).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/unpause`.
pub(crate) async fn unpause(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    containers.unpause(&call.name).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/rename`.
pub(crate) async fn rename(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let name = call
        .query
        .get("name")
        .ok_or_else(|| ApiError::bad_request("Neither old nor new names may be empty"))?;
    containers.rename(&call.name, name).await?;
    Ok(Reply::no_content())
}

/// `POST /containers/{id}/resize`.
pub(crate) async fn resize(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let (rows, columns) = terminal_size(&call.query)?;
    containers.resize(&call.name, rows, columns).await?;
    Ok(Reply::status(hyper::StatusCode::OK))
}

/// `DELETE /containers/{id}`.
pub(crate) async fn delete(containers: &Containers, call: &Call) -> Result<Reply, ApiError> {
    let remove = Remove {
        force: call.query.flag("force"),
        volumes: call.query.flag("v"),
        link: call.query.flag("link"),
    };
    containers.remove(&call.name, remove).await?;
    Ok(Reply::no_content())
}

/// The size in a resize's query.
pub(crate) fn terminal_size(query: &Query) -> Result<(u16, u16), ApiError> {
    let side = |name| {
        let number = query.number(name)?.unwrap_or_default();
        u16::try_from(number)
            .map_err(|_| ApiError::bad_request(format!("invalid value \"{number}\" for {name}")))
    };
    Ok((side("h")?, side("w")?))
}

fn how_to_stop(call: &Call) -> Result<Stop, ApiError> {
    Ok(Stop {
        signal: call.query.get("signal").map(str::to_owned),
        timeout: call.query.number("t")?,
    })
}
