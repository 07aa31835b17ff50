//! `@every 90s`: times at equal distances in real time, whatever clocks show.

use crate::clock::Timestamp;
use crate::fault::FieldFault;

/// Longest text, bytes.
const MAX_TEXT: usize = 64;
/// Longest distance, seconds: a leap year.
const MAX_SECONDS: i64 = 366 * 86_400;
const MICROS: i64 = 1_000_000;

/// A distance between times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Every {
    text: String,
    seconds: i64,
}

impl Every {
    pub(super) fn parse(text: String) -> Result<Self, FieldFault> {
        let written = text.trim().strip_prefix("@every").filter(|rest| rest.starts_with(' ')).map(str::trim);
        let parsed = written
            .filter(|_| text.len() <= MAX_TEXT)
            .and_then(|written| written.parse::<jiff::SignedDuration>().ok());
        let seconds = parsed.filter(|every| every.subsec_nanos() == 0).map(|every| every.as_secs());
        match seconds.filter(|seconds| (1..=MAX_SECONDS).contains(seconds)) {
            Some(seconds) => Ok(Self { text, seconds }),
            None => {
                let limit = "must be @every with hours, minutes and whole seconds, as in @every 90s or @every \
                             1h30m: from 1 second to 8784 hours";
                Err(FieldFault::new("cron", limit))
            }
        }
    }

    pub(super) const fn seconds(&self) -> u64 {
        self.seconds.unsigned_abs()
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The first time later than `after` at whole distances from `origin`; without one the first
    /// distance begins at `after`, at the next full second.
    pub(super) fn next_after(&self, after: Timestamp, origin: Option<Timestamp>) -> Option<Timestamp> {
        let distance = self.seconds.checked_mul(MICROS)?;
        let Some(origin) = origin else {
            let begin = after.0.checked_add(MICROS - 1)?.div_euclid(MICROS).checked_mul(MICROS)?;
            return begin.checked_add(distance).map(Timestamp);
        };
        let passed = after.0.checked_sub(origin.0)?;
        let distances = if passed < 0 { 0 } else { passed.div_euclid(distance).checked_add(1)? };
        origin.0.checked_add(distances.checked_mul(distance)?).map(Timestamp)
    }
}
