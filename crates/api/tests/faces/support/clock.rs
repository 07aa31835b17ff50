//! A clock that a test can move ahead.

use std::sync::atomic::{AtomicI64, Ordering};

use picasso_types::{Clock, SystemClock, Timestamp};

/// The machine's time, and what the test has added to it.
#[derive(Debug, Default)]
pub struct AheadClock(AtomicI64);

impl AheadClock {
    /// Lets so many seconds pass.
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for AheadClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_micros(self.0.load(Ordering::SeqCst))
    }
}
