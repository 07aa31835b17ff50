//! What the times of cron text are, found the slow way: by looking at every minute of the clock.
//! Shares nothing with the code under test but the zone's rules.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A field's values.
pub(super) type Values = Vec<i8>;

/// Five fields, as values; `is_interval` when the text has a `*` in minutes or hours.
#[derive(Debug, Clone)]
pub(super) struct Slow {
    pub minutes: Values,
    pub hours: Values,
    pub days: Option<Values>,
    pub weekdays: Option<Values>,
    pub is_interval: bool,
}

impl Slow {
    fn shows(&self, civil: DateTime) -> bool {
        let day = self.days.as_ref().map(|days| days.contains(&civil.day()));
        let weekday = civil.weekday().to_sunday_zero_offset();
        let weekday = self.weekdays.as_ref().map(|days| days.contains(&weekday));
        let is_day = match (day, weekday) {
            (None, None) => true,
            (Some(day), None) | (None, Some(day)) => day,
            (Some(day), Some(weekday)) => day || weekday,
        };
        is_day && self.hours.contains(&civil.hour()) && self.minutes.contains(&civil.minute())
    }

    /// All times in (`from`, `to`], both at full minutes.
    pub(super) fn times(&self, zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let minute = SignedDuration::from_mins(1);
        let mut times = Vec::new();
        // One look before the range: what the clock showed at its last moment.
        let mut shown = zone.to_datetime(from);
        let mut latest = {
            // How far the clock had got at any time before: a repeated hour is no news to times.
            let before = (0..240).map(|back| zone.to_datetime(from - minute * back));
            before.max().unwrap_or(shown)
        };
        let mut moment = from + minute;
        while moment <= to {
            let civil = zone.to_datetime(moment);
            let fires = if self.is_interval {
                self.shows(civil)
            } else {
                // Everything that the clock has got to since the furthest it had been.
                let mut due = false;
                let mut passed = latest;
                while passed < civil {
                    passed = passed.checked_add(minute).unwrap();
                    due |= self.shows(passed);
                }
                due
            };
            if fires {
                times.push(moment);
            }
            shown = shown.max(civil);
            latest = latest.max(civil);
            moment += minute;
        }
        times
    }
}
