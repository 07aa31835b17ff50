//! How often something may happen: so many calls in so many seconds, and how many at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// Most calls, and most calls at once.
const MAX_CALLS: u32 = 1_000_000;
/// Longest time that calls are counted over, seconds.
const MAX_SECONDS: u32 = 86_400;

/// At most `calls` in `seconds` in the long run, `burst` of them at once after a pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// How many calls.
    pub calls: u32,
    /// In how many seconds.
    pub seconds: u32,
    /// How many at once.
    pub burst: u32,
}

impl RateLimit {
    /// Checks what a client sent; the fault names the field.
    pub fn checked(calls: u32, seconds: u32, burst: u32) -> Result<Self, FieldFault> {
        let check = |field: &str, value: u32, max: u32| {
            if (1..=max).contains(&value) {
                return Ok(());
            }
            Err(FieldFault::new(format!("rate_limit.{field}"), format!("must be 1 to {max}")))
        };
        check("calls", calls, MAX_CALLS)?;
        check("seconds", seconds, MAX_SECONDS)?;
        check("burst", burst, MAX_CALLS)?;
        Ok(Self { calls, seconds, burst })
    }

    /// The time from one call to the next in the long run.
    pub fn interval(&self) -> Duration {
        let nanos = u64::from(self.seconds) * 1_000_000_000 / u64::from(self.calls.max(1));
        Duration::from_nanos(nanos.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_bounds_and_a_fault_names_it() {
        assert!(RateLimit::checked(1, 1, 1).is_ok());
        assert!(RateLimit::checked(MAX_CALLS, MAX_SECONDS, MAX_CALLS).is_ok());
        let faults = [
            (RateLimit::checked(0, 1, 1), "rate_limit.calls"),
            (RateLimit::checked(MAX_CALLS + 1, 1, 1), "rate_limit.calls"),
            (RateLimit::checked(1, 0, 1), "rate_limit.seconds"),
            (RateLimit::checked(1, MAX_SECONDS + 1, 1), "rate_limit.seconds"),
            (RateLimit::checked(1, 1, 0), "rate_limit.burst"),
            (RateLimit::checked(1, 1, u32::MAX), "rate_limit.burst"),
        ];
        for (checked, field) in faults {
            assert_eq!(checked.unwrap_err().field, field);
        }
    }

    #[test]
    fn calls_are_spread_over_their_seconds() {
        let interval = |calls, seconds| RateLimit::checked(calls, seconds, 1).unwrap().interval();
        assert_eq!(interval(10, 1), Duration::from_millis(100));
        assert_eq!(interval(1, 60), Duration::from_mins(1));
        assert_eq!(interval(MAX_CALLS, 1), Duration::from_micros(1));
    }
}
