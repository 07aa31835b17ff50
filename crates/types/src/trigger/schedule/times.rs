//! Times as people write them.

use crate::clock::Timestamp;
use crate::fault::FieldFault;

/// Longest text of a time, bytes.
const MAX_TEXT: usize = 64;

/// A time with the text that it was written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    text: String,
    time: Timestamp,
}

impl Written {
    /// Reads RFC 3339; the fault names `field`.
    pub(super) fn parse(field: &str, text: String) -> Result<Self, FieldFault> {
        let parsed = Some(&text).filter(|text| text.len() <= MAX_TEXT).and_then(|text| text.parse().ok());
        let time = parsed.map(|time: jiff::Timestamp| Timestamp(time.as_microsecond()));
        // Before 1970 there is nothing to plan, and arithmetic stays far from its ends.
        match time.filter(|time| time.0 >= 0) {
            Some(time) => Ok(Self { text, time }),
            None => {
                let limit = "must be a time with its offset as RFC 3339 has it: 2026-03-01T07:30:00Z or \
                             2026-03-01T08:30:00+01:00";
                Err(FieldFault::new(field, limit))
            }
        }
    }

    pub(super) const fn time(&self) -> Timestamp {
        self.time
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
