//! Images.

use crate::{call::Call, error::ApiError, reply::Reply};

/// Not yet.
pub(crate) fn todo(call: &Call) -> Result<Reply, ApiError> {
    Err(ApiError::not_implemented(format!("an operation on image {:?}", call.name)))
}
