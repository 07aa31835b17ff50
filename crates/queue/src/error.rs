//! What can go wrong in a queue.

use thiserror::Error;

/// Why a queue method did not do what it was asked.
#[derive(Debug, Error)]
pub enum QueueError {
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
