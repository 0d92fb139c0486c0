//! Networks.

use wadah_engine::networks::Networks;

use crate::{call::Call, error::ApiError, filters, reply::Reply, wire::Network};

/// `GET /networks`.
pub(crate) async fn list(networks: &Networks, call: &Call) -> Result<Reply, ApiError> {
    let found = networks.list(&filters::parse(&call.query)?).await?;
    Ok(Reply::json(&found.iter().map(Network::listed).collect::<Vec<_>>()))
}

/// `GET /networks/{id}`.
pub(crate) async fn inspect(networks: &Networks, call: &Call) -> Result<Reply, ApiError> {
    Ok(Reply::json(&Network::inspected(&networks.inspect(&call.name).await?)))
}
