//! A bound on what is told of callers whom Keystone does not know: anybody can make such requests,
//! and the audit of everybody else must not drown in them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many are told of in one [`WINDOW`].
const MOST: u32 = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// How many were told of in the window under way.
#[derive(Debug, Default)]
pub(super) struct Strangers(Mutex<Option<(Instant, u32)>>);

impl Strangers {
    /// Whether one that came `now` is told of; one that is not is counted.
    pub(super) fn admit(&self, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (began, told) =
            window.filter(|(began, _)| now.saturating_duration_since(*began) < WINDOW).unwrap_or((now, 0));
        *window = Some((began, told.saturating_add(1)));
        if told >= MOST {
            metrics::counter!("picasso_audit_suppressed_total").increment(1);
        }
        told < MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_strangers_is_told_of_up_to_a_bound_in_each_second() {
        let (strangers, began) = (Strangers::default(), Instant::now());
        let admitted = (0..1000).filter(|_| strangers.admit(began)).count();
        assert_eq!(admitted, MOST as usize);
        assert!(!strangers.admit(began + WINDOW / 2));
        assert!(strangers.admit(began + WINDOW));
    }
}
