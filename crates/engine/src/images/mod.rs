//! Images. (The public face to come; errors first, for the rest of the engine.)

use crate::error::Class;

/// Why something about images failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// There is no such image.
    #[error("No such image: {reference}")]
    NotFound {
        /// What was asked for.
        reference: String,
    },
}

impl ImageError {
    /// Whose fault it is.
    pub fn class(&self) -> Class {
        match self {
            Self::NotFound { .. } => Class::NotFound,
        }
    }
}
