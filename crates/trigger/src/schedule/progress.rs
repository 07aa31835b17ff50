//! What a schedule keeps of its progress, beside the time of its next look.

use std::time::Duration;

use picasso_types::Timestamp;
use picasso_types::trigger::Trigger;
use serde::{Deserialize, Serialize};

/// Longest time until a planned time that could not fire is tried again.
const MAX_BACK_OFF: Duration = Duration::from_mins(1);

/// What is written into the trigger's `progress`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    /// How many planned times fired.
    pub(super) fired: u64,
    /// The planned time that could not fire and is tried again.
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    planned: Timestamp,
    /// When it is tried again. A trigger that is to be looked at at another time was changed since,
    /// and does not wait.
    again_at: Timestamp,
    tries: u32,
}

impl Progress {
    /// A trigger's, and its planned time; `None` for one without.
    pub(super) fn of(trigger: &Trigger) -> Option<(Self, Timestamp)> {
        let next_at = trigger.next_at?;
        let progress: Self =
            trigger.progress.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let planned = progress.waiting_at(next_at).map_or(next_at, |waiting| waiting.planned);
        Some((progress, planned))
    }

    /// What follows a planned time that fired or was passed over.
    pub(super) fn done(fired: u64) -> Self {
        Self { fired, waiting: None }
    }

    /// What follows a planned time that could not fire, and when it is tried again.
    pub(super) fn retried(
        &self,
        fired: u64,
        trigger: &Trigger,
        planned: Timestamp,
        now: Timestamp,
    ) -> (Self, Timestamp) {
        let before = trigger.next_at.and_then(|at| self.waiting_at(at));
        let tries = before.filter(|before| before.planned == planned).map_or(0, |before| before.tries);
        let pause = Duration::from_secs(1 << tries.min(6)).min(MAX_BACK_OFF);
        let again_at = now.plus(pause);
        let waiting = Waiting { planned, again_at, tries: tries.saturating_add(1) };
        (Self { fired, waiting: Some(waiting) }, again_at)
    }

    fn waiting_at(&self, next_at: Timestamp) -> Option<Waiting> {
        self.waiting.filter(|waiting| waiting.again_at == next_at)
    }

    pub(super) fn written(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}
