//! What can go wrong with an object store, as far as who uses it must tell apart.

/// Why a part was not stored, read or deleted. No text holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no part of this name.
    #[error("there is no such object")]
    Missing,
    /// The store cannot be reached or does not work; it may later.
    #[error("{context}: {reason}")]
    Unavailable {
        /// What was tried.
        context: &'static str,
        /// What happened.
        reason: String,
    },
    /// A part is larger than any that was stored.
    #[error("an object is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The settings of the store cannot be used.
    #[error("{0}")]
    Settings(String),
}

impl ObjectError {
    pub(crate) fn unavailable(context: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::Unavailable { context, reason: reason.to_string() }
    }
}
