//! Volumes and plugins, of which this release has none.
//!
//! Asking for them is answered truthfully, not with 501: Docker's client looks for a name among
//! all kinds of things before it says that there is no such object.

use serde::Serialize;

use crate::{call::Call, error::ApiError, reply::Reply};

/// `GET /volumes`.
pub(crate) fn volumes() -> Reply {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Model {
        volumes: [(); 0],
        warnings: Option<()>,
    }

    Reply::json(&Model { volumes: [], warnings: None })
}

/// `GET /volumes/{name}`.
pub(crate) fn volume(call: &Call) -> ApiError {
    let name = &call.name;
    ApiError::Absent { message: format!("get {name}: no such volume") }
}

/// `GET /plugins`.
pub(crate) fn plugins() -> Reply {
    let none: [(); 0] = [];
    Reply::json(&none)
}

/// `GET /plugins/{name}/json`.
pub(crate) fn plugin(call: &Call) -> ApiError {
    ApiError::Absent { message: format!("plugin {:?} not found", call.name) }
}
