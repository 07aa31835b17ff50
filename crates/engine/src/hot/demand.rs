//! When to start another sandbox and when to wait for one: pure arithmetic over what is known.

use std::time::Duration;

use tokio::time::Instant;

/// A moving average that follows changes within a few samples.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Average {
    seconds: f64,
    samples: u32,
}

/// Weight of a new sample.
const NEW: f64 = 0.2;

impl Average {
    /// Takes in a measurement.
    pub(super) fn add(&mut self, sample: Duration) {
        let sample = sample.as_secs_f64();
        let weight = if self.samples == 0 { 1.0 } else { NEW };
        self.seconds += weight * (sample - self.seconds);
        self.samples = self.samples.saturating_add(1);
    }

    /// The average; `None` before `least` measurements, so that a single odd one decides nothing.
    pub(super) fn of_at_least(self, least: u32) -> Option<Duration> {
        (self.samples >= least).then(|| Duration::from_secs_f64(self.seconds))
    }
}

/// A sandbox is not frozen where continuing one takes longer.
const MAX_THAW: Duration = Duration::from_micros(200);
/// When that is found out anew: the machine may only have been busy.
const DOUBT: Duration = Duration::from_mins(1);

/// What continuing frozen sandboxes costs their next callers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Thaws {
    average: Average,
    costly_until: Option<Instant>,
}

impl Thaws {
    /// Takes in a measurement.
    pub(super) fn add(&mut self, took: Duration, now: Instant) {
        self.average.add(took);
        if self.average.of_at_least(3).is_some_and(|average| average > MAX_THAW) {
            *self = Self { average: Average::default(), costly_until: Some(now + DOUBT) };
        }
    }

    /// Whether idle sandboxes are to be frozen.
    pub(super) fn are_cheap(&self, now: Instant) -> bool {
        self.costly_until.is_none_or(|time| now >= time)
    }
}

/// What is known of one pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Situation {
    /// Sandboxes that take calls.
    pub(super) live: usize,
    /// Sandboxes on their way.
    pub(super) starting: usize,
    /// Calls that one sandbox serves at one time.
    pub(super) concurrency: usize,
    /// Calls that run.
    pub(super) running: usize,
    /// Calls that wait for a sandbox.
    pub(super) waiting: usize,
    /// Of those, the ones that have waited longer than a start takes.
    pub(super) overdue: usize,
    /// How long a call takes, where that is known.
    pub(super) service: Option<Duration>,
    /// How long a start takes.
    pub(super) cold_start: Duration,
}

impl Situation {
    /// How many sandboxes to start now.
    ///
    /// Each that is on its way will take `concurrency` of the waiting calls. For the others one
    /// more is started where the last of them is expected to wait longer than the start takes -
    /// or where calls have in fact waited that long, whatever the estimates say. There are never
    /// more sandboxes than calls.
    pub(super) fn starts(&self) -> usize {
        let present = self.live + self.starting;
        let most = self.running + self.waiting;
        let mut wanted = present;
        while wanted < most {
            let covered = (wanted - self.live) * self.concurrency;
            let left = self.waiting.saturating_sub(covered);
            if left == 0 || !(wanted == 0 || self.overdue > covered || self.is_long(left, wanted)) {
                break;
            }
            wanted += 1;
        }
        wanted - present
    }

    /// Whether `left` calls are expected to occupy `sandboxes` longer than a start takes.
    #[expect(clippy::cast_precision_loss, reason = "counts of calls; an estimate")]
    fn is_long(&self, left: usize, sandboxes: usize) -> bool {
        let turns = left as f64 / (sandboxes * self.concurrency) as f64;
        self.service.is_some_and(|service| service.as_secs_f64() * turns > self.cold_start.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn situation() -> Situation {
        Situation {
            live: 0,
            starting: 0,
            concurrency: 1,
            running: 0,
            waiting: 0,
            overdue: 0,
            service: None,
            cold_start: 20 * MS,
        }
    }

    #[test]
    fn nothing_is_started_for_nobody() {
        assert_eq!(situation().starts(), 0);
        assert_eq!(Situation { live: 1, running: 1, ..situation() }.starts(), 0);
    }

    #[test]
    fn the_first_callers_of_an_unknown_function_start_one_sandbox() {
        assert_eq!(Situation { waiting: 50, ..situation() }.starts(), 1);
        assert_eq!(Situation { waiting: 50, starting: 1, ..situation() }.starts(), 0);
    }

    #[test]
    fn quick_calls_wait_for_the_sandbox_that_is_there() {
        let quick = Situation { live: 1, running: 1, waiting: 30, service: Some(MS / 10), ..situation() };
        assert_eq!(quick.starts(), 0);
    }

    #[test]
    fn slow_calls_get_sandboxes_of_their_own() {
        let slow = Situation { live: 1, running: 1, waiting: 9, service: Some(1000 * MS), ..situation() };
        assert_eq!(slow.starts(), 9);
    }

    #[test]
    fn only_as_many_are_started_as_bring_the_wait_below_a_start() {
        let some = Situation { live: 1, running: 1, waiting: 9, service: Some(10 * MS), ..situation() };
        let started = some.starts();
        assert!((1..9).contains(&started), "{started}");
    }

    #[test]
    fn a_stale_estimate_does_not_keep_a_call_waiting() {
        let stale = Situation { live: 1, running: 1, waiting: 2, service: Some(MS), ..situation() };
        assert_eq!(stale.starts(), 0);
        assert_eq!(Situation { overdue: 2, ..stale }.starts(), 2);
        assert_eq!(Situation { overdue: 2, starting: 2, ..stale }.starts(), 0);
    }

    #[test]
    fn a_concurrent_sandbox_covers_several_calls() {
        let many = Situation { waiting: 80, concurrency: 80, ..situation() };
        assert_eq!(many.starts(), 1);
        assert_eq!(Situation { starting: 1, overdue: 80, ..many }.starts(), 0);
        assert_eq!(Situation { waiting: 200, starting: 1, overdue: 200, ..many }.starts(), 2);
    }

    #[test]
    fn an_average_follows_a_change() {
        let mut average = Average::default();
        average.add(MS);
        for _ in 0..20 {
            average.add(100 * MS);
        }
        assert!(average.of_at_least(1).unwrap() > 95 * MS);
    }

    #[test]
    fn sandboxes_are_not_frozen_where_that_costs_the_next_call_much() {
        let (mut thaws, now) = (Thaws::default(), Instant::now());
        for _ in 0..10 {
            thaws.add(Duration::from_micros(20), now);
        }
        assert!(thaws.are_cheap(now));
        for _ in 0..3 {
            thaws.add(MS, now);
        }
        assert!(!thaws.are_cheap(now));
        assert!(thaws.are_cheap(now + DOUBT));
    }

    proptest! {
        #[test]
        fn there_are_never_more_sandboxes_than_calls(
            live in 0usize..50, starting in 0usize..50, concurrency in 1usize..100,
            running in 0usize..500, waiting in 0usize..500, overdue in 0usize..500,
            service_us in proptest::option::of(0u64..10_000_000), cold_us in 0u64..10_000_000,
        ) {
            let situation = Situation {
                live, starting, concurrency, running, waiting, overdue: overdue.min(waiting),
                service: service_us.map(Duration::from_micros),
                cold_start: Duration::from_micros(cold_us),
            };
            let starts = situation.starts();
            prop_assert!(starts == 0 || live + starting + starts <= running + waiting);
            prop_assert!(starts * concurrency < waiting + concurrency, "more than could all serve");
            // Somebody waits and nothing is there or on its way: that must not last.
            prop_assert!(waiting == 0 || live + starting > 0 || starts > 0);
        }
    }
}
