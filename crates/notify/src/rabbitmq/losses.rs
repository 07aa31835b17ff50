//! How many notifications went out and how many did not; an outage is told in the log once.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::counter;

/// Why one was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The buffer was full.
    Full,
    /// The connection was lost before the broker's answer.
    Unconfirmed,
    /// It is larger than any of ours should be.
    TooLarge,
}

impl Loss {
    const fn outcome(self) -> &'static str {
        match self {
            Self::Full => "dropped_full",
            Self::Unconfirmed => "dropped_unconfirmed",
            Self::TooLarge => "dropped_too_large",
        }
    }
}

/// The losses since the broker last took a notification.
#[derive(Debug, Default)]
pub(super) struct Losses(AtomicU64);

impl Losses {
    pub(super) fn count(&self, loss: Loss, many: u64) {
        if many == 0 {
            return;
        }
        counter!("picasso_notifications_total", "outcome" => loss.outcome()).increment(many);
        if self.0.fetch_add(many, Ordering::Relaxed) == 0 {
            let why = loss.outcome();
            tracing::warn!(why, "notifications are lost; the next ones that go out tell how many");
        }
    }

    pub(super) fn sent(&self, sent: u64) {
        if sent == 0 {
            return;
        }
        counter!("picasso_notifications_total", "outcome" => "sent").increment(sent);
        let lost = self.0.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(lost, "notifications go out again");
        }
    }
}
