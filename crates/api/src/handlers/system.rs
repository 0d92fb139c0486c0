//! Ping, version, info.

use wadah_engine::system::System;

use crate::{
    error::ApiError,
    reply::Reply,
    wire::{Facts, VersionFacts},
};

/// `GET` and `HEAD /_ping`. The headers tell what the daemon can: clients decide by them.
pub(crate) fn ping() -> Reply {
    Reply::text("OK")
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
