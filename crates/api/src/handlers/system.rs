//! Ping, version, info.

use hyper::Method;
use wadah_engine::system::System;

use crate::{
    call::Call,
    error::ApiError,
    reply::Reply,
    wire::{Facts, VersionFacts},
};

/// `GET /_ping`, and `HEAD`, whose answer has no length. The headers tell what the daemon can:
/// clients decide by them.
pub(crate) fn ping(call: &Call) -> Reply {
    let reply = match call.method {
        Method::HEAD => Reply::text("").with_header("content-length", "0"),
        _ => Reply::text("OK"),
    };
    reply
        // Without a BuildKit of ours, clients build by `POST /build`.
        .with_header("builder-version", "1")
        .with_header("swarm", "inactive")
        .with_header("cache-control", "no-cache, no-store, must-revalidate")
        .with_header("pragma", "no-cache")
}

/// `GET /version`.
pub(crate) fn version(system: &System) -> Reply {
    Reply::json(&VersionFacts::from(&system.version()))
}

/// `GET /info`.
pub(crate) async fn info(system: &System) -> Result<Reply, ApiError> {
    Ok(Reply::json(&Facts::from(&system.info().await?)))
}
