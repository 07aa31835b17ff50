//! The retry policy: which failed runs of a call are repeated, how often, and how long apart.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bounds::{Bounds, in_range};
use crate::failure::Failure;
use crate::fault::FieldFault;
use crate::text_enum::text_enum;

text_enum!(
    /// A kind of failure that a policy repeats.
    RetryOn, "retry.on" {
        /// The function did not finish within the route's `timeout`.
        Timeout = "timeout",
        /// The function failed: an exit code, a signal, its memory limit, a status of 400 or more, …
        Error = "error",
        /// No place became free within the route's `queue_timeout`.
        Capacity = "capacity",
    }
);

impl RetryOn {
    /// The kind that a failure is of; `None` for those that no policy repeats: a caller who left,
    /// runs that were lost with their process, a call that is too old, an identity that waits for
    /// consent, and faults of ours.
    pub const fn of(failure: &Failure) -> Option<Self> {
        match failure {
            Failure::Timeout { .. } => Some(Self::Timeout),
            Failure::NoCapacity | Failure::OverLimit { .. } => Some(Self::Capacity),
            Failure::Exit { .. }
            | Failure::Signal { .. }
            | Failure::OutOfMemory { .. }
            | Failure::OutputTooLarge { .. }
            | Failure::CannotStart { .. }
            | Failure::InitFailed { .. }
            | Failure::BadAnswer { .. }
            | Failure::FunctionError { .. }
            | Failure::IdentityUnavailable { .. }
            | Failure::Status { .. } => Some(Self::Error),
            Failure::HungUp
            | Failure::NotReady { .. }
            | Failure::Lost { .. }
            | Failure::Expired { .. }
            | Failure::TooDeep { .. }
            | Failure::IdentitySuspended
            | Failure::Internal => None,
        }
    }
}

/// A number with at most three digits behind the point, kept as whole thousandths so that policies
/// compare exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Thousandths(u32);

impl Thousandths {
    /// A whole number.
    pub const fn whole(number: u32) -> Self {
        Self(number.saturating_mul(1000))
    }

    /// Takes a number as clients write it, rounded to thousandths; the fault names `field`.
    pub fn parse(field: &str, number: f64, min: u32, max: u32) -> Result<Self, FieldFault> {
        if !(f64::from(min)..=f64::from(max)).contains(&number) {
            return Err(FieldFault::new(field, format!("must be {min} to {max}, not {number}")));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between min and max, which are whole numbers of 32 bits"
        )]
        let thousandths = (number * 1000.0).round() as u32;
        Ok(Self(thousandths))
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// How long to wait between the runs of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// The wait after the first failed run, seconds.
    pub initial_s: u32,
    /// What each further wait is multiplied by, 1 to 10.
    pub factor: Thousandths,
    /// The longest wait, seconds.
    pub max_s: u32,
    /// The share of each wait that is left to chance, 0 to 1: calls that failed together do not
    /// come back together.
    pub jitter: Thousandths,
}

impl Backoff {
    /// The largest `factor`.
    pub const MAX_FACTOR: u32 = 10;

    /// The wait after `failed_runs` failed runs (1 for the first). `chance` is a number from 0 to 1:
    /// 0 waits longest.
    pub fn wait(&self, failed_runs: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failed_runs.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = f64::from(self.initial_s) * self.factor.get().powi(exponent);
        // `min` also takes what grew out of the numbers there are.
        let wait = grown.min(f64::from(self.max_s));
        Duration::from_secs_f64(wait * (1.0 - self.jitter.get() * chance.clamp(0.0, 1.0)))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial_s: 1, factor: Thousandths::whole(2), max_s: 300, jitter: Thousandths(200) }
    }
}

/// Which failed runs of a call are repeated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Runs in all that may fail in a way that `on` lists, the first one included.
    pub max_attempts: u32,
    /// How long apart they are.
    pub backoff: Backoff,
    /// The failures that are repeated; others end the call at once.
    pub on: Vec<RetryOn>,
}

impl RetryPolicy {
    /// The policy of a route that names only how often: failures and time-outs of the function.
    pub fn new(max_attempts: u32) -> Self {
        Self { max_attempts, backoff: Backoff::default(), on: vec![RetryOn::Timeout, RetryOn::Error] }
    }

    /// Whether a run that ended so is repeated as long as attempts are left.
    pub fn repeats(&self, failure: &Failure) -> bool {
        RetryOn::of(failure).is_some_and(|kind| self.on.contains(&kind))
    }

    /// Checks the numbers against the operator's bounds.
    pub(super) fn check(&self, bounds: &Bounds) -> Result<(), FieldFault> {
        in_range("retry.max_attempts", self.max_attempts, 1, bounds.max_retry_attempts, "runs")?;
        let longest = bounds.max_retry_backoff_s;
        in_range("retry.backoff.initial", self.backoff.initial_s, 0, longest, "seconds")?;
        in_range("retry.backoff.max", self.backoff.max_s, 0, longest, "seconds")?;
        if self.backoff.max_s < self.backoff.initial_s {
            return Err(FieldFault::new("retry.backoff.max", "must not be less than retry.backoff.initial"));
        }
        if self.on.is_empty() {
            return Err(FieldFault::new(
                "retry.on",
                "must name at least one of \"timeout\", \"error\", \"capacity\"",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(initial_s: u32, factor: f64, max_s: u32, jitter: f64) -> Backoff {
        let factor = Thousandths::parse("factor", factor, 1, Backoff::MAX_FACTOR).unwrap();
        Backoff { initial_s, factor, max_s, jitter: Thousandths::parse("jitter", jitter, 0, 1).unwrap() }
    }

    fn seconds(backoff: &Backoff, chance: f64) -> Vec<f64> {
        (1..=5).map(|runs| backoff.wait(runs, chance).as_secs_f64()).collect()
    }

    #[test]
    fn waits_grow_by_the_factor_up_to_the_longest() {
        assert_eq!(seconds(&backoff(1, 2.0, 10, 0.0), 0.7), [1.0, 2.0, 4.0, 8.0, 10.0]);
        assert_eq!(seconds(&backoff(3, 1.0, 10, 0.0), 0.7), [3.0; 5]);
        assert_eq!(seconds(&backoff(2, 1.5, 60, 0.0), 0.7), [2.0, 3.0, 4.5, 6.75, 10.125]);
        assert_eq!(seconds(&backoff(0, 2.0, 60, 0.0), 0.7), [0.0; 5]);
        assert_eq!(backoff(1, 10.0, 86_400, 1.0).wait(u32::MAX, 0.0), Duration::from_hours(24));
    }

    #[test]
    fn chance_shortens_a_wait_by_at_most_the_jitter() {
        let backoff = backoff(8, 2.0, 100, 0.25);
        assert_eq!(backoff.wait(1, 0.0), Duration::from_secs(8));
        assert_eq!(backoff.wait(1, 0.5), Duration::from_secs(7));
        assert_eq!(backoff.wait(2, 1.0), Duration::from_secs(12));
    }

    #[test]
    fn a_number_out_of_range_or_none_at_all_is_refused() {
        for bad in [0.999, 10.001, f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(Thousandths::parse("factor", bad, 1, 10).unwrap_err().field, "factor", "{bad}");
        }
        assert_eq!(Thousandths::parse("factor", 1.2345, 1, 10).unwrap(), Thousandths(1235));
    }

    #[test]
    fn each_limit_of_a_policy_is_refused_by_its_field_name() {
        let bounds = Bounds::default();
        let policy = RetryPolicy::new(3);
        assert!(policy.check(&bounds).is_ok());
        let with = |backoff| RetryPolicy { backoff, ..policy.clone() };
        let long = bounds.max_retry_backoff_s + 1;
        for (policy, field) in [
            (RetryPolicy::new(0), "retry.max_attempts"),
            (RetryPolicy::new(bounds.max_retry_attempts + 1), "retry.max_attempts"),
            (with(backoff(long, 2.0, long, 0.0)), "retry.backoff.initial"),
            (with(backoff(1, 2.0, long, 0.0)), "retry.backoff.max"),
            (with(backoff(5, 2.0, 4, 0.0)), "retry.backoff.max"),
            (RetryPolicy { on: Vec::new(), ..policy.clone() }, "retry.on"),
        ] {
            assert_eq!(policy.check(&bounds).unwrap_err().field, field);
        }
    }

    #[test]
    fn a_policy_repeats_the_kinds_it_lists_and_never_faults_of_ours() {
        let only_timeouts = RetryPolicy { on: vec![RetryOn::Timeout], ..RetryPolicy::new(3) };
        assert!(only_timeouts.repeats(&Failure::Timeout { limit_s: 1 }));
        assert!(!only_timeouts.repeats(&Failure::Exit { code: 1 }));
        let all = RetryPolicy { on: RetryOn::ALL.to_vec(), ..RetryPolicy::new(3) };
        assert!(all.repeats(&Failure::NoCapacity) && all.repeats(&Failure::Status { status: 500 }));
        for never in [Failure::HungUp, Failure::Internal, Failure::Lost { runs: 3 }] {
            assert!(!all.repeats(&never), "{never:?}");
        }
    }
}
