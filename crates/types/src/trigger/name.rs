//! Names of triggers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// The name of a trigger: a lower-case letter, then lower-case letters, digits, `-` or `_`, 63 in all.
/// No id looks like it: those are UUIDs of version 7, which begin with a digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TriggerName(String);

impl TriggerName {
    /// Parses a name; the fault names the field `name`.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let begins_well = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
        if begins_well && text.len() <= 63 && text.bytes().all(inside) {
            return Ok(Self(text.to_owned()));
        }
        let limit =
            "must be a lower-case letter and then up to 62 lower-case letters, digits, \"-\" or \"_\"";
        Err(FieldFault::new("name", limit))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TriggerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
