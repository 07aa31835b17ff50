//! How many events each trigger took within the last minute: what stops an upload loop.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use picasso_types::Timestamp;

/// The window, microseconds.
const WINDOW: i64 = 60_000_000;
/// Triggers that are counted at one time; beyond it those without recent events are dropped.
const MAX_COUNTED: usize = 100_000;

/// Counts of this process.
#[derive(Debug, Default)]
pub(super) struct Caps(Mutex<HashMap<String, Count>>);

#[derive(Debug)]
struct Count {
    since: Timestamp,
    events: u32,
}

impl Caps {
    /// Whether `max` events were counted within this minute.
    pub(super) fn is_reached(&self, of: &str, max: u32, now: Timestamp) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(of).is_some_and(|count| count.events >= max && now.since(count.since) < WINDOW)
    }

    /// Counts one event more.
    pub(super) fn count(&self, of: &str, now: Timestamp) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MAX_COUNTED {
            counts.retain(|_, count| now.since(count.since) < WINDOW);
        }
        let count = counts.entry(of.to_owned()).or_insert(Count { since: now, events: 0 });
        if now.since(count.since) >= WINDOW {
            *count = Count { since: now, events: 0 };
        }
        count.events = count.events.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_limit_within_a_minute_is_refused_and_the_next_minute_is_a_new_one() {
        let caps = Caps::default();
        let take = |of, seconds: i64| {
            let now = Timestamp(seconds * 1_000_000);
            let may = !caps.is_reached(of, 2, now);
            if may {
                caps.count(of, now);
            }
            may
        };
        assert!(take("a", 0) && take("a", 1) && !take("a", 2) && !take("a", 59));
        assert!(take("b", 2), "others count for themselves");
        assert!(take("a", 60) && take("a", 61) && !take("a", 62));
    }
}
