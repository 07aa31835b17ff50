//! What a trigger of a queue keeps of its progress: the batch that is under way, so that another
//! process goes on with it.

use std::time::Duration;

use picasso_types::trigger::Trigger;
use picasso_types::{CallId, Timestamp};
use serde::{Deserialize, Serialize};

/// Longest pause between two looks at a queue where nothing was to be had, or nothing could be done.
const MAX_PAUSE: Duration = Duration::from_mins(1);
/// Longest pause of a queue that is merely empty.
const MAX_IDLE: Duration = Duration::from_secs(8);

/// What is written into the trigger's `progress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    pub(super) batch: Option<Batch>,
    /// Since when there are messages that wait for more of them (`window_s`).
    pub(super) waiting_since: Option<Timestamp>,
    /// Looks in a row that found no message.
    pub(super) idle: u32,
    /// Batches in a row that failed, or queues that could not be read.
    pub(super) faults: u32,
}

/// Messages that a call has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) claim: String,
    pub(super) messages: Vec<String>,
    pub(super) call: CallId,
    pub(super) fired_at: Timestamp,
    pub(super) held_at: Timestamp,
}

impl Progress {
    pub(super) fn of(trigger: &Trigger) -> Self {
        let text = trigger.progress.as_deref();
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    pub(super) fn written(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// No message was there; how long to wait.
    pub(super) fn found_none(&mut self) -> Duration {
        let pause = doubled(self.idle, MAX_IDLE);
        *self = Self { idle: self.idle.saturating_add(1), ..Self::default() };
        pause
    }

    /// A batch failed, or nothing could be done; how long to wait.
    pub(super) fn failed(&mut self) -> Duration {
        let pause = doubled(self.faults, MAX_PAUSE);
        *self = Self { faults: self.faults.saturating_add(1), batch: self.batch.take(), ..Self::default() };
        pause
    }
}

fn doubled(times: u32, max: Duration) -> Duration {
    Duration::from_secs(1 << times.min(6)).min(max)
}
