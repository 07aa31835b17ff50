//! Options of triggers that read a Zaqar queue.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Which queue is read, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawQueue", into = "RawQueue")]
pub struct QueueOptions {
    /// The queue, in the trigger's project.
    pub queue: String,
    /// Most messages of one call.
    pub batch_size: u32,
    /// How long messages are gathered for a call, seconds.
    pub window_s: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawQueue {
    queue: String,
    #[serde(default = "ten")]
    batch_size: u32,
    #[serde(default)]
    window_s: u32,
}

const fn ten() -> u32 {
    10
}

impl TryFrom<RawQueue> for QueueOptions {
    type Error = FieldFault;

    fn try_from(raw: RawQueue) -> Result<Self, FieldFault> {
        let RawQueue { queue, batch_size, window_s } = raw;
        let inside = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=64).contains(&queue.len()) || !queue.bytes().all(inside) {
            return Err(FieldFault::new("queue", "must be 1 to 64 letters, digits, \"-\" or \"_\""));
        }
        // Zaqar's own limit of messages in a page and a claim (max_messages_per_page).
        if !(1..=20).contains(&batch_size) {
            return Err(FieldFault::new("batch_size", "must be from 1 to 20"));
        }
        if window_s > 300 {
            return Err(FieldFault::new("window_s", "must be from 0 to 300 seconds"));
        }
        Ok(Self { queue, batch_size, window_s })
    }
}

impl From<QueueOptions> for RawQueue {
    fn from(options: QueueOptions) -> Self {
        let QueueOptions { queue, batch_size, window_s } = options;
        Self { queue, batch_size, window_s }
    }
}
