//! Options of schedules.

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;

/// When a schedule fires: `cron` or `at`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSchedule", into = "RawSchedule")]
pub struct ScheduleOptions {
    /// Cron text of 5 fields, or of 6 with seconds first; `@hourly` and its like; `@every 90s`.
    pub cron: Option<String>,
    /// The one time of a one-shot, RFC 3339.
    pub at: Option<String>,
    /// The IANA time zone that cron text is read in.
    pub time_zone: String,
    /// A call comes up to this much later than planned, by chance, seconds.
    pub jitter_s: u32,
    /// No time before this one is planned, RFC 3339.
    pub first_at: Option<String>,
    /// No time after this one is planned, RFC 3339.
    pub last_at: Option<String>,
    /// It is finished after this many planned times.
    pub count: Option<u64>,
    /// What becomes of times that passed while nobody was there.
    pub missed: MissedRuns,
}

/// What becomes of planned times that passed while the service was away or the schedule was late.
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

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSchedule {
    cron: Option<String>,
    at: Option<String>,
    #[serde(default = "utc")]
    time_zone: String,
    #[serde(default)]
    jitter_s: u32,
    first_at: Option<String>,
    last_at: Option<String>,
    count: Option<u64>,
    #[serde(default)]
    missed: MissedRuns,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl TryFrom<RawSchedule> for ScheduleOptions {
    type Error = FieldFault;

    fn try_from(raw: RawSchedule) -> Result<Self, FieldFault> {
        if raw.cron.is_some() == raw.at.is_some() {
            return Err(FieldFault::new("options", "must have either cron or at"));
        }
        let RawSchedule { cron, at, time_zone, jitter_s, first_at, last_at, count, missed } = raw;
        Ok(Self { cron, at, time_zone, jitter_s, first_at, last_at, count, missed })
    }
}

impl From<ScheduleOptions> for RawSchedule {
    fn from(options: ScheduleOptions) -> Self {
        let ScheduleOptions { cron, at, time_zone, jitter_s, first_at, last_at, count, missed } = options;
        Self { cron, at, time_zone, jitter_s, first_at, last_at, count, missed }
    }
}
