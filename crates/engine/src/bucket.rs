//! A token bucket without a lock: the generic cell rate algorithm (ITU-T I.371), which keeps one
//! number, the time at which the bucket will be full again.
//!
//! A crate for this (governor) fixes the rate when a bucket is made; here it may be another with
//! each call, because projects' limits and routes change while calls go on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use picasso_types::RateLimit;

/// The bucket; full at first. Times are nanoseconds since a moment that its user chose.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    full_at: AtomicU64,
}

impl Bucket {
    /// Takes one call out of a bucket of this `rate`, or says when there will be one.
    pub(crate) fn take(&self, rate: &RateLimit, now: u64) -> Result<(), Duration> {
        let interval = u64::try_from(rate.interval().as_nanos()).unwrap_or(u64::MAX);
        let depth = interval.saturating_mul(rate.burst.max(1).into());
        let end = now.saturating_add(depth);
        let mut full_at = self.full_at.load(Relaxed);
        loop {
            // One that was emptied at a slower rate is at most empty at this one, from now on.
            let from = full_at.clamp(now, end);
            let next = from.saturating_add(interval);
            let (after, taken) = if next <= end {
                (next, Ok(()))
            } else {
                (from, Err(Duration::from_nanos(next.saturating_sub(end))))
            };
            match self.full_at.compare_exchange_weak(full_at, after, Relaxed, Relaxed) {
                Ok(_) => return taken,
                Err(other) => full_at = other,
            }
        }
    }

    /// Whether it is as good as new.
    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.full_at.load(Relaxed) <= now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn rate(calls: u32, seconds: u32, burst: u32) -> RateLimit {
        RateLimit::checked(calls, seconds, burst).unwrap()
    }

    fn taken(bucket: &Bucket, rate: &RateLimit, now: u64) -> u32 {
        let mut taken = 0;
        while bucket.take(rate, now).is_ok() {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_burst_goes_through_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), rate(10, 1, 3));
        assert_eq!(taken(&bucket, &rate, SECOND), 3);
        assert_eq!(bucket.take(&rate, SECOND), Err(Duration::from_millis(100)));
        assert_eq!(taken(&bucket, &rate, SECOND + SECOND / 10), 1);
        assert_eq!(taken(&bucket, &rate, SECOND + SECOND / 10 * 2), 1);
        assert!(!bucket.is_full(SECOND + SECOND / 10 * 4));
        assert!(bucket.is_full(SECOND * 2));
        assert_eq!(taken(&bucket, &rate, SECOND * 100), 3, "no more is saved up than the burst");
    }

    #[test]
    fn in_the_long_run_no_more_passes_than_the_rate_and_one_burst() {
        let (bucket, rate) = (Bucket::default(), rate(7, 3, 5));
        let passed: u32 = (0..3000).map(|n| taken(&bucket, &rate, SECOND / 100 * n)).sum();
        assert!((70..=75).contains(&passed), "{passed} in 30 s");
    }

    #[test]
    fn another_rate_counts_at_once() {
        let bucket = Bucket::default();
        assert_eq!(taken(&bucket, &rate(1, 3600, 10), 0), 10);
        assert_eq!(taken(&bucket, &rate(10, 1, 10), 0), 0);
        assert_eq!(taken(&bucket, &rate(10, 1, 10), SECOND), 10, "not what ten hours would have been");
    }

    #[test]
    fn threads_together_take_what_one_could() {
        let bucket = Arc::new(Bucket::default());
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let bucket = bucket.clone();
                std::thread::spawn(move || taken(&bucket, &rate(1, 60, 10_000), 0))
            })
            .collect();
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>(), 10_000);
    }
}
