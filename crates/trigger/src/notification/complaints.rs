//! Messages that cannot be used: counted each, told in the log once a minute.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::counter;

use super::envelope::Unreadable;
use super::message::Message;

/// How often the log is told.
const INTERVAL: Duration = Duration::from_mins(1);

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Silent>);

#[derive(Debug, Default)]
struct Silent {
    told: Option<Instant>,
    untold: u64,
}

impl Complaints {
    pub(super) fn too_large(&self, message: Message<'_>) {
        self.complain("too_large", message, "it is larger than events.max_message_bytes");
    }

    pub(super) fn unreadable(&self, message: Message<'_>, error: &Unreadable) {
        self.complain("unreadable", message, &error.to_string());
    }

    fn complain(&self, outcome: &'static str, message: Message<'_>, reason: &str) {
        counter!("picasso_notification_events_total", "outcome" => outcome).increment(1);
        let untold = {
            let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if silent.told.is_some_and(|told| told.elapsed() < INTERVAL) {
                silent.untold += 1;
                return;
            }
            silent.told = Some(Instant::now());
            std::mem::take(&mut silent.untold)
        };
        // Nothing of its content: contexts of some services hold passwords and tokens.
        tracing::warn!(
            reason,
            exchange = message.exchange,
            routing_key = message.routing_key,
            bytes = message.body.len(),
            more_since_the_last = untold,
            "a notification cannot be used and is left out"
        );
    }
}
