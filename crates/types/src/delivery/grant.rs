//! Leave to post into queues of Zaqar, as a route keeps it: sealed, with what may be shown of it.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Leave to post messages into one queue, given by who saved the route. It is good for the app that
/// it was sealed for, and never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueGrant {
    /// The queue.
    pub queue: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// The Keystone user whose token it was asked for with.
    pub granted_by: String,
    /// The key that it is sealed under.
    pub key_id: String,
    /// The leave itself, encrypted, in base64.
    pub sealed: String,
}
