//! Errors as clients see them: a status and `{"message":…}`.
//!
//! **Invariant:** [`status`] is the only place where a class of errors becomes an HTTP status.

use hyper::StatusCode;
use wadah_engine::{Class, EngineError, images::ImageError};

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// The engine said no.
    #[error("{}", .0.report())]
    Engine(#[from] EngineError),
    /// The request cannot be understood.
    #[error("{message}")]
    BadRequest {
        /// A sentence naming the parameter or field.
        message: String,
    },
    /// The body is longer than any sensible one.
    #[error("request body is larger than {limit} bytes")]
    TooLarge {
        /// What is allowed.
        limit: usize,
    },
    /// The body was not sent within the time allowed.
    #[error("request body did not arrive within {seconds} s")]
    TooSlow {
        /// What is allowed.
        seconds: u64,
    },
    /// No operation has this path and method.
    #[error("page not found")]
    NoSuchPage,
    /// There is no such thing, of a kind of which there are none.
    #[error("{message}")]
    Absent {
        /// A sentence naming it.
        message: String,
    },
    /// A documented operation that this release does not serve.
    #[error("{operation} is not implemented yet")]
    NotImplemented {
        /// Its method and path, or the option.
        operation: String,
    },
    /// A handler died.
    #[error("internal error while serving {operation}")]
    Died {
        /// Its method and path.
        operation: String,
    },
}

impl From<ImageError> for ApiError {
    fn from(error: ImageError) -> Self {
        Self::Engine(error.into())
    }
}

impl ApiError {
    /// A request that cannot be understood, for the reason given.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest { message: message.into() }
    }

    /// Something that is not served yet.
    pub(crate) fn not_implemented(operation: impl Into<String>) -> Self {
        Self::NotImplemented { operation: operation.into() }
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Engine(error) => status(error.class()),
            Self::BadRequest { .. } => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::NoSuchPage | Self::Absent { .. } => StatusCode::NOT_FOUND,
            Self::NotImplemented { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Died { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The HTTP status of a class of errors.
fn status(class: Class) -> StatusCode {
    match class {
        Class::InvalidArgument => StatusCode::BAD_REQUEST,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::NotModified => StatusCode::NOT_MODIFIED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::NotImplemented => StatusCode::NOT_IMPLEMENTED,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
