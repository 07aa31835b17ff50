//! Which planned times a schedule has to make up for when it is looked at: arithmetic without I/O.

use std::time::Duration;

use picasso_types::Timestamp;
use picasso_types::trigger::schedule::{MissedRuns, ScheduleOptions};

/// Missed times that are made up for, at most.
const MAX_MISSED: usize = 100;
/// No two times of a schedule are closer.
const CLOSEST: i64 = 1_000_000;

/// What is to be done about a schedule now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The first and the last of the planned times that are passed over.
    pub(super) skipped: Option<(Timestamp, Timestamp)>,
    /// The planned times that fire now, in their order.
    pub(super) times: Vec<Timestamp>,
    /// The planned time behind them; `None` when there is none.
    pub(super) next: Option<Timestamp>,
}

/// What is to be done about a schedule whose next planned time is `planned`. Times that are more than
/// `missed_after` late count as missed; what becomes of those, the options say. The others fire.
pub(super) fn due(
    options: &ScheduleOptions,
    planned: Timestamp,
    now: Timestamp,
    missed_after: Duration,
) -> Due {
    let late = i64::try_from(missed_after.as_micros()).unwrap_or(i64::MAX);
    let in_time_from = now.plus_micros(late.saturating_neg());
    let mut due = Due { skipped: None, times: Vec::new(), next: Some(planned) };
    if planned < in_time_from {
        let made_up = match options.missed {
            MissedRuns::Skip => 0,
            MissedRuns::Once => 1,
            MissedRuns::All => MAX_MISSED,
        };
        let mut last = last_before(options, planned, in_time_from, made_up + 1);
        due.next = last.last().and_then(|last| options.next_after(*last));
        if last.len() > made_up {
            let until = last.remove(0);
            due.skipped = Some((planned, until));
        }
        due.times = last;
    }
    while let Some(time) = due.next.filter(|time| *time <= now) {
        due.times.push(time);
        due.next = options.next_after(time);
    }
    due
}

/// The last `n` planned times before `end`, of which `planned` is the first.
///
/// A schedule of seconds may have missed millions, so they are not counted through: the last one is
/// found by halving, then the one before it.
fn last_before(options: &ScheduleOptions, planned: Timestamp, end: Timestamp, n: usize) -> Vec<Timestamp> {
    let mut found = Vec::new();
    let mut end = end;
    while found.len() < n && planned < end {
        // There is a time at `low`, and none from behind `high` to `end`.
        let (mut low, mut high) = (planned, end.plus_micros(-1));
        while high.since(low) >= CLOSEST {
            let middle = low.plus_micros(high.since(low) / 2);
            match options.next_behind(planned, middle).filter(|time| *time < end) {
                Some(time) => low = time,
                None => high = middle,
            }
        }
        found.push(low);
        end = low;
    }
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use picasso_types::trigger::{TriggerKind, TriggerType};
    use serde_json::json;

    use super::*;

    const GRACE: Duration = Duration::from_mins(1);

    fn options(value: serde_json::Value) -> ScheduleOptions {
        match TriggerKind::parse(TriggerType::Schedule, value) {
            Ok(TriggerKind::Schedule(options)) => options,
            other => panic!("{other:?}"),
        }
    }

    fn s(seconds: i64) -> Timestamp {
        Timestamp(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn a_time_that_is_due_fires_and_the_next_one_is_planned() {
        let minutes = options(json!({"cron": "* * * * *"}));
        let looked_at = |now| due(&minutes, s(0), now, GRACE);
        assert_eq!(looked_at(s(-1)), Due { skipped: None, times: vec![], next: Some(s(0)) });
        assert_eq!(looked_at(s(0)), Due { skipped: None, times: vec![s(0)], next: Some(s(60)) });
        assert_eq!(looked_at(s(60)), Due { skipped: None, times: vec![s(0), s(60)], next: Some(s(120)) });
        let once = options(json!({"at": "2027-01-15T08:00:00Z"}));
        assert_eq!(due(&once, s(0), s(1), GRACE), Due { skipped: None, times: vec![s(0)], next: None });
    }

    #[test]
    fn missed_times_are_passed_over_or_made_up_for() {
        let with = |missed: &str| {
            let minutes = options(json!({"cron": "* * * * *", "missed": missed}));
            due(&minutes, s(0), s(3600), GRACE)
        };
        let skipped = Some((s(0), s(3480)));
        let in_time = vec![s(3540), s(3600)];
        assert_eq!(with("skip"), Due { skipped, times: in_time, next: Some(s(3660)) });
        let skipped = Some((s(0), s(3420)));
        let last_and_in_time = vec![s(3480), s(3540), s(3600)];
        assert_eq!(with("once"), Due { skipped, times: last_and_in_time, next: Some(s(3660)) });
        let all: Vec<_> = (0..=60).map(|minute| s(minute * 60)).collect();
        assert_eq!(with("all"), Due { skipped: None, times: all, next: Some(s(3660)) });
    }

    #[test]
    fn of_millions_of_missed_times_the_last_hundred_are_made_up_for() {
        let seconds = options(json!({"cron": "* * * * * *", "missed": "all"}));
        let year = 365 * 86_400;
        let Due { skipped, times, next } = due(&seconds, s(0), s(year), Duration::ZERO);
        assert_eq!(skipped, Some((s(0), s(year - 101))));
        assert_eq!(times, (year - 100..=year).map(s).collect::<Vec<_>>());
        assert_eq!(next, Some(s(year + 1)));
    }

    #[test]
    fn a_schedule_that_missed_its_end_is_over() {
        let days = options(json!({
            "cron": "0 8 * * *", "missed": "once", "last_at": "2027-01-17T08:00:00Z",
        }));
        let late = due(&days, s(0), s(30 * 86_400), GRACE);
        let day = 86_400;
        assert_eq!(late, Due { skipped: Some((s(0), s(day))), times: vec![s(2 * day)], next: None });
        let once = options(json!({"at": "2027-01-15T08:00:00Z"}));
        let late = due(&once, s(0), s(day), GRACE);
        assert_eq!(late, Due { skipped: None, times: vec![s(0)], next: None }, "one time is wanted");
        let once = options(json!({"at": "2027-01-15T08:00:00Z", "missed": "skip"}));
        let late = due(&once, s(0), s(day), GRACE);
        assert_eq!(late, Due { skipped: Some((s(0), s(0))), times: vec![], next: None });
    }
}
