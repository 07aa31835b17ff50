//! Options of schedules: when a trigger fires by the clock, checked when they are saved.
//!
//! A schedule's times are a pure function of its options ([`ScheduleOptions::next_after`]), so that
//! every process and every start of one comes to the same times.

mod cron;
mod every;
#[cfg(test)]
mod oracle;
mod times;
mod zone;

use serde::{Deserialize, Serialize};

use cron::CronText;
use every::Every;
use times::Written;
use zone::Zone;

use crate::clock::Timestamp;
use crate::fault::FieldFault;

/// Longest jitter, seconds.
const MAX_JITTER_S: u32 = 3600;

/// When a schedule fires: `cron` or `at`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawSchedule", into = "RawSchedule")]
pub struct ScheduleOptions {
    times: Times,
    zone: Zone,
    /// A call comes up to this much later than planned, by chance, seconds.
    pub jitter_s: u32,
    first_at: Option<Written>,
    last_at: Option<Written>,
    /// It is finished after it fired this many times.
    pub count: Option<u64>,
    /// What becomes of times that passed while nobody was there.
    pub missed: MissedRuns,
}

/// The text that says when, taken apart.
#[derive(Debug, Clone, PartialEq)]
enum Times {
    Cron(Box<CronText>),
    Every(Every),
    At(Written),
}

/// What becomes of planned times that passed while the service was away or could not fire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissedRuns {
    /// They are passed over.
    #[default]
    Skip,
    /// The last of them is made up for.
    Once,
    /// All of them are, up to the last hundred.
    All,
}

impl ScheduleOptions {
    /// The first planned time of a schedule that begins now; `None` when none lies ahead.
    pub fn first(&self, now: Timestamp) -> Option<Timestamp> {
        self.next(now, None)
    }

    /// The planned time behind `planned`, which is one; `None` when it was the last.
    pub fn next_after(&self, planned: Timestamp) -> Option<Timestamp> {
        self.next(planned, Some(planned))
    }

    /// The first planned time that is later than `moment`, of a schedule that had one at `planned`.
    pub fn next_behind(&self, planned: Timestamp, moment: Timestamp) -> Option<Timestamp> {
        self.next(moment.max(planned), Some(planned))
    }

    /// The zone that cron text is read in: an IANA name.
    pub fn time_zone(&self) -> &str {
        self.zone.name()
    }

    /// A time as a clock in the schedule's zone shows it, RFC 3339.
    pub fn local(&self, time: Timestamp) -> String {
        self.zone.local(time)
    }

    /// The shortest time between two of its times that there can be, seconds; `None` of a one-shot.
    pub fn least_interval_s(&self) -> Option<u64> {
        match &self.times {
            Times::Cron(cron) => Some(cron.least_interval_s()),
            Times::Every(every) => Some(every.seconds()),
            Times::At(_) => None,
        }
    }

    fn next(&self, after: Timestamp, planned: Option<Timestamp>) -> Option<Timestamp> {
        let first = self.first_at.as_ref().map(Written::time);
        let from = first.map_or(after, |first| after.max(first.plus_micros(-1)));
        let next = match &self.times {
            Times::Cron(cron) => cron.next_after(from, self.zone.rules()),
            Times::Every(every) => every.next_after(from, first.or(planned)),
            Times::At(at) => Some(at.time()).filter(|at| *at > after),
        };
        let last = self.last_at.as_ref().map(Written::time);
        next.filter(|next| last.is_none_or(|last| *next <= last))
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchedule {
    #[serde(skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(default = "utc")]
    time_zone: String,
    #[serde(default)]
    jitter_s: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    missed: Option<MissedRuns>,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl TryFrom<RawSchedule> for ScheduleOptions {
    type Error = FieldFault;

    fn try_from(raw: RawSchedule) -> Result<Self, FieldFault> {
        let RawSchedule { cron, at, time_zone, jitter_s, first_at, last_at, count, missed } = raw;
        let times = match (cron, at) {
            (Some(cron), None) if cron.trim_start().starts_with("@every") => {
                Times::Every(Every::parse(cron)?)
            }
            (Some(cron), None) => Times::Cron(Box::new(CronText::parse(cron)?)),
            (None, Some(at)) => {
                let bounds = [
                    ("first_at", first_at.is_some()),
                    ("last_at", last_at.is_some()),
                    ("count", count.is_some()),
                ];
                if let Some((field, _)) = bounds.into_iter().find(|(_, given)| *given) {
                    return Err(FieldFault::new(field, "goes with cron only: at is one time"));
                }
                Times::At(Written::parse("at", at)?)
            }
            _ => return Err(FieldFault::new("options", "must have either cron or at")),
        };
        if jitter_s > MAX_JITTER_S {
            let limit = format!("must be from 0 to {MAX_JITTER_S} seconds");
            return Err(FieldFault::new("jitter_s", limit));
        }
        if count == Some(0) {
            return Err(FieldFault::new("count", "must be at least 1"));
        }
        let first_at = first_at.map(|text| Written::parse("first_at", text)).transpose()?;
        let last_at = last_at.map(|text| Written::parse("last_at", text)).transpose()?;
        if let (Some(first), Some(last)) = (&first_at, &last_at)
            && last.time() < first.time()
        {
            return Err(FieldFault::new("last_at", "must not be earlier than first_at"));
        }
        // Who asks for one time wants it, also when the service was away just then.
        let of_kind = if matches!(times, Times::At(_)) { MissedRuns::Once } else { MissedRuns::Skip };
        let missed = missed.unwrap_or(of_kind);
        Ok(Self { times, zone: Zone::parse(time_zone)?, jitter_s, first_at, last_at, count, missed })
    }
}

impl From<ScheduleOptions> for RawSchedule {
    fn from(options: ScheduleOptions) -> Self {
        let ScheduleOptions { times, zone, jitter_s, first_at, last_at, count, missed } = options;
        let (cron, at) = match times {
            Times::Cron(cron) => (Some(cron.into_text()), None),
            Times::Every(every) => (Some(every.into_text()), None),
            Times::At(at) => (None, Some(at.into_text())),
        };
        let first_at = first_at.map(Written::into_text);
        let last_at = last_at.map(Written::into_text);
        let time_zone = zone.name().to_owned();
        Self { cron, at, time_zone, jitter_s, first_at, last_at, count, missed: Some(missed) }
    }
}

#[cfg(test)]
mod tests;
