//! Networks. For now the three that are always there: `bridge`, `host`, `none`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{EngineError, filters::Filters};

/// Everything about one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSnapshot {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was created.
    pub created: Timestamp,
    /// Its subnet and gateway, if it has them.
    pub subnet: Option<(String, String)>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// The running containers in it.
    pub endpoints: Vec<NetworkEndpoint>,
}

/// A running container in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkEndpoint {
    /// The container's id.
    pub container: String,
    /// The container's name.
    pub name: String,
    /// The endpoint's id.
    pub endpoint_id: String,
    /// Its MAC address.
    pub mac_address: String,
    /// Its address with the prefix's length.
    pub ipv4_address: String,
}

/// All networks.
#[derive(Debug)]
pub struct Networks {}

impl Networks {
    /// Lists networks.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<NetworkSnapshot>, EngineError> {
        filters.check(&[])?;
        Ok(Vec::new())
    }

    /// Tells everything about a network.
    pub async fn inspect(&self, reference: &str) -> Result<NetworkSnapshot, EngineError> {
        Err(EngineError::NoSuchNetwork { reference: reference.to_owned() })
    }
}
