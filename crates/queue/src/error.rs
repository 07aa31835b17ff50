//! What can go wrong in a queue.

use thiserror::Error;

/// Why a queue method did not do what it was asked.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The queue's database is older or newer than this binary.
    #[error("the queue's schema is {found}, this binary needs {needed}: run `picasso db upgrade`")]
    SchemaMismatch {
        /// What the database says.
        found: String,
        /// What the binary needs.
        needed: String,
    },
    /// The broker or database failed.
    #[error("queue: {context}")]
    Broker {
        /// What was being done.
        context: &'static str,
        /// The driver's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl QueueError {
    pub(crate) fn broker(
        context: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Broker { context, source: source.into() }
    }
}
