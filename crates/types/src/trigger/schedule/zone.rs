//! The time zone of a schedule.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::clock::Timestamp;
use crate::fault::FieldFault;

/// Longest name of a time zone, bytes.
const MAX_NAME: usize = 64;

/// A time zone with the name that it was asked for by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone {
    name: String,
    rules: TimeZone,
}

impl Zone {
    /// Finds a zone of the IANA database: the machine's, which its updates keep fresh, else the one
    /// within this program. So a zone that was saved once is found by every process later, whatever
    /// its machine has.
    pub(super) fn parse(name: String) -> Result<Self, FieldFault> {
        let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'/');
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(inside);
        // What a machine keeps beside the zones: copies with leap seconds, and its own setting.
        let is_beside = ["right/", "posix/"].iter().any(|folder| name.starts_with(folder))
            || ["localtime", "posixrules", "Factory"].contains(&name.as_str());
        let found = if is_name && !is_beside { find(&name) } else { None };
        match found {
            Some(rules) => Ok(Self { name, rules }),
            None => {
                let limit = "must be a time zone of the IANA database: UTC, Europe/Berlin, America/New_York";
                Err(FieldFault::new("time_zone", limit))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn rules(&self) -> &TimeZone {
        &self.rules
    }

    pub(super) fn local(&self, time: Timestamp) -> String {
        let time = jiff::Timestamp::from_microsecond(time.0).unwrap_or_default();
        let offset = self.rules.to_offset(time);
        time.display_with_offset(offset).to_string()
    }
}

fn find(name: &str) -> Option<TimeZone> {
    jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name)).ok()
}
