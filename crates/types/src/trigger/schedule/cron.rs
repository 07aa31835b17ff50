//! Cron text and its times in a time zone.
//!
//! Croner reads the text and finds the wall-clock times; which moments those are is said here, as
//! Vixie cron has it. Text without `*` in its hours, minutes and seconds names *times*: one that a
//! change of the clock leaves out comes at the first moment behind the gap, one that comes twice
//! counts the first time. Text with one names an *interval*: it follows what the clock shows at every
//! moment. (Croner itself takes lists such as `30 2,14 * * *` for intervals and would lose a daily
//! run in spring and double it in autumn.)

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::clock::Timestamp;
use crate::fault::FieldFault;

/// Longest text, bytes.
const MAX_TEXT: usize = 256;
/// Changes of the clock that are looked behind for the next time of an interval: two a year over the
/// forty years that "29 February on a Monday" may stay away around a century.
const MAX_CHANGES: usize = 128;
const DAY_S: u32 = 86_400;

/// Checked cron text.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct CronText {
    text: String,
    cron: Cron,
    is_interval: bool,
}

impl std::fmt::Debug for CronText {
    /// The text alone: its parsed form has a place for each year up to 5000.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("CronText").field(&self.text).finish()
    }
}

impl CronText {
    /// Reads 5 fields, or 6 with seconds first, or a nickname. Text that never comes true is refused.
    pub(super) fn parse(text: String) -> Result<Self, FieldFault> {
        let fault = |limit: String| FieldFault::new("cron", limit);
        if text.len() > MAX_TEXT || !text.bytes().all(|b| b == b' ' || b == b'\t' || b.is_ascii_graphic()) {
            return Err(fault(format!("must be cron text of at most {MAX_TEXT} ASCII characters")));
        }
        let fields = spelled_out(text.trim());
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let cron = parser.parse(fields).map_err(|error| {
            fault(format!(
                "must be cron text of 5 fields, or of 6 with seconds first, or @hourly, @daily, @weekly, \
                 @monthly, @yearly or @every 90s: {error}"
            ))
        })?;
        // The first fields are seconds (where there are six), minutes and hours.
        let of_day = fields.split_whitespace().count().saturating_sub(3);
        let is_interval = fields.split_whitespace().take(of_day).any(|field| field.contains('*'));
        let checked = Self { text, cron, is_interval };
        // Any moment will do: croner looks until the year 5000.
        if checked.civil_after(date(2000, 1, 1).at(0, 0, 0, 0), true).is_none() {
            return Err(fault("must come true: there is no such day (30 February, for example)".to_owned()));
        }
        Ok(checked)
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The first time later than `after`.
    pub(super) fn next_after(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let after = jiff::Timestamp::from_microsecond(after.0).ok()?;
        let next = if self.is_interval {
            self.next_of_interval(after, zone)
        } else {
            self.next_of_times(after, zone)
        };
        next.map(|next| Timestamp(next.as_microsecond()))
    }

    /// The shortest time between two of its times, as if all days had them.
    pub(super) fn least_interval_s(&self) -> u64 {
        let pattern = &self.cron.pattern;
        let [hours, minutes, seconds] =
            [&pattern.hours, &pattern.minutes, &pattern.seconds].map(croner::CronComponent::values);
        let mut of_day = hours.iter().flat_map(|hour| {
            let of_hour = minutes.iter().flat_map(|minute| {
                seconds.iter().map(move |second| u32::from(*minute) * 60 + u32::from(*second))
            });
            of_hour.map(move |second| u32::from(*hour) * 3600 + second)
        });
        let Some(first) = of_day.next() else { return DAY_S.into() };
        let (end, least) =
            of_day.fold((first, DAY_S), |(before, least), time| (time, least.min(time - before)));
        least.min(DAY_S + first - end).into()
    }

    /// Wall-clock times become moments one by one.
    fn next_of_times(&self, after: jiff::Timestamp, zone: &TimeZone) -> Option<jiff::Timestamp> {
        let mut civil = self.civil_after(zone.to_datetime(after), false)?;
        loop {
            let moment = moment_of(civil, zone)?;
            // Of a time that comes twice the first may have passed already, and times within a gap
            // are one moment.
            if moment > after {
                return Some(moment);
            }
            civil = self.civil_after(civil, false)?;
        }
    }

    /// Between two changes of the clock, wall-clock times and moments go side by side.
    fn next_of_interval(&self, after: jiff::Timestamp, zone: &TimeZone) -> Option<jiff::Timestamp> {
        let (mut from, mut inclusive) = (after, false);
        for _ in 0..MAX_CHANGES {
            let offset = zone.to_offset(from);
            let civil = self.civil_after(offset.to_datetime(from), inclusive)?;
            let moment = offset.to_timestamp(civil).ok()?;
            match zone.following(from).next().map(|change| change.timestamp()) {
                Some(change) if change <= moment => (from, inclusive) = (change, true),
                _ => return Some(moment),
            }
        }
        None
    }

    fn civil_after(&self, civil: DateTime, inclusive: bool) -> Option<DateTime> {
        self.cron.find_next_occurrence(&civil, inclusive).ok()
    }
}

/// The moment of a wall-clock time: the first of two, and the end of a gap that it falls into.
fn moment_of(civil: DateTime, zone: &TimeZone) -> Option<jiff::Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    match ambiguous.offset() {
        // Read with the offset of before, a time within the gap lies behind the change; it is the last
        // change up to there.
        AmbiguousOffset::Gap { before, .. } => {
            let behind = before.to_timestamp(civil).ok()?;
            let tick = jiff::SignedDuration::from_micros(1);
            zone.preceding(behind.checked_add(tick).ok()?).next().map(|change| change.timestamp())
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => ambiguous.compatible().ok(),
    }
}

fn spelled_out(text: &str) -> &str {
    match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => text,
    }
}
