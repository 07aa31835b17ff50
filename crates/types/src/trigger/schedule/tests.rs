//! Times of schedules, above all around changes of the clock.

use proptest::prelude::*;
use serde_json::json;

use super::oracle::Slow;
use super::*;
use crate::trigger::{TriggerKind, TriggerType};

fn options(value: serde_json::Value) -> ScheduleOptions {
    match TriggerKind::parse(TriggerType::Schedule, value) {
        Ok(TriggerKind::Schedule(options)) => options,
        other => panic!("{other:?}"),
    }
}

fn refused(value: serde_json::Value) -> FieldFault {
    TriggerKind::parse(TriggerType::Schedule, value).unwrap_err()
}

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

/// The first `n` times behind `from`, as the zone's clocks show them.
fn shown(cron: &str, zone: &str, from: &str, n: usize) -> Vec<String> {
    let schedule = options(json!({"cron": cron, "time_zone": zone}));
    let times = std::iter::successors(schedule.first(at(from)), |time| schedule.next_after(*time));
    times.take(n).map(|time| schedule.local(time)).collect()
}

#[test]
fn options_come_back_as_they_were_written() {
    for (written, shown) in [
        (
            json!({"cron": "*/5 * * * *"}),
            json!({"cron": "*/5 * * * *", "time_zone": "UTC", "jitter_s": 0, "missed": "skip"}),
        ),
        (
            json!({"at": "2030-01-01T00:00:00+01:00", "jitter_s": 5}),
            json!({"at": "2030-01-01T00:00:00+01:00", "time_zone": "UTC", "jitter_s": 5, "missed": "once"}),
        ),
        (
            json!({"cron": "@every 90s", "first_at": "2030-01-01T00:00:00Z", "last_at": "2031-01-01T00:00:00Z", "count": 3, "missed": "all"}),
            json!({"cron": "@every 90s", "time_zone": "UTC", "jitter_s": 0, "first_at": "2030-01-01T00:00:00Z", "last_at": "2031-01-01T00:00:00Z", "count": 3, "missed": "all"}),
        ),
    ] {
        let parsed = TriggerKind::parse(TriggerType::Schedule, written).unwrap();
        assert_eq!(parsed.options(), shown);
        assert_eq!(TriggerKind::parse(TriggerType::Schedule, parsed.options()).unwrap(), parsed);
    }
}

#[test]
fn refused_options_name_their_field() {
    let long = format!("0 0 * * {}", "1,".repeat(200));
    for (cron, field) in [
        ("", "options.cron"),
        ("* * * *", "options.cron"),
        ("* * * * * * 2030", "options.cron"),
        ("60 * * * *", "options.cron"),
        ("0 24 * * *", "options.cron"),
        ("0 0 30 2 *", "options.cron"),
        ("0 0 31 4,6,9,11 *", "options.cron"),
        ("@reboot", "options.cron"),
        ("@every", "options.cron"),
        ("@every 0s", "options.cron"),
        ("@every -5s", "options.cron"),
        ("@every 1500ms", "options.cron"),
        ("@every 9000h", "options.cron"),
        ("@everyone", "options.cron"),
        ("0 0 * * é", "options.cron"),
        (&long, "options.cron"),
    ] {
        assert_eq!(refused(json!({"cron": cron})).field, field, "{cron}");
    }
    for (wrong, field) in [
        (json!({}), "options"),
        (json!({"cron": "* * * * *", "at": "2030-01-01T00:00:00Z"}), "options"),
        (json!({"cron": "* * * * *", "time_zone": "Mars/Olympus"}), "options.time_zone"),
        (json!({"cron": "* * * * *", "time_zone": "../../etc/passwd"}), "options.time_zone"),
        (json!({"cron": "* * * * *", "time_zone": "right/UTC"}), "options.time_zone"),
        (json!({"cron": "* * * * *", "time_zone": ""}), "options.time_zone"),
        (json!({"cron": "* * * * *", "jitter_s": 3601}), "options.jitter_s"),
        (json!({"cron": "* * * * *", "count": 0}), "options.count"),
        (json!({"cron": "* * * * *", "first_at": "tomorrow"}), "options.first_at"),
        (
            json!({"cron": "* * * * *", "first_at": "2030-01-02T00:00:00Z", "last_at": "2030-01-01T00:00:00Z"}),
            "options.last_at",
        ),
        (json!({"at": "2030-01-01T00:00:00"}), "options.at"),
        (json!({"at": "1969-12-31T00:00:00Z"}), "options.at"),
        (json!({"at": "2030-01-01T00:00:00Z", "count": 2}), "options.count"),
        (json!({"at": "2030-01-01T00:00:00Z", "first_at": "2030-01-01T00:00:00Z"}), "options.first_at"),
        (json!({"cron": "* * * * *", "missed": "never"}), "options.missed"),
        (json!({"cron": "* * * * *", "timezone": "UTC"}), "options.timezone"),
    ] {
        assert_eq!(refused(wrong.clone()).field, field, "{wrong}");
    }
    assert!(refused(json!({"cron": "0 0 30 2 *"})).message.contains("30 February"));
}

#[test]
fn a_time_that_the_clock_leaves_out_comes_at_the_first_moment_behind_the_gap() {
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    );
    // A list names times, too, and two of them in the gap are one moment.
    assert_eq!(
        shown("0,30 2,14 * * *", "America/New_York", "2026-03-08T05:00:00Z", 3),
        ["2026-03-08T03:00:00-04:00", "2026-03-08T14:00:00-04:00", "2026-03-08T14:30:00-04:00"]
    );
    // What is planned for the gap's end and what falls into it are one moment.
    assert_eq!(
        shown("0 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", 2),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]
    );
    // Lord Howe's clocks go from 02:00 to 02:30.
    assert_eq!(
        shown("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T20:00:00Z", 2),
        ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    );
    // Samoa had no 30 December 2011.
    assert_eq!(
        shown("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 2),
        ["2011-12-31T00:00:00+14:00", "2012-12-30T12:00:00+14:00"]
    );
}

#[test]
fn a_time_that_comes_twice_counts_once() {
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    );
    assert_eq!(
        shown("15,45 1 * * *", "America/New_York", "2026-11-01T00:00:00Z", 3),
        ["2026-11-01T01:15:00-04:00", "2026-11-01T01:45:00-04:00", "2026-11-02T01:15:00-05:00"]
    );
    // Lord Howe's go back from 02:00 to 01:30.
    assert_eq!(
        shown("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", 2),
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"]
    );
    // Who begins between the two does not get the second.
    assert_eq!(
        shown("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", 1),
        ["2026-10-26T02:30:00+01:00"]
    );
}

#[test]
fn an_interval_follows_what_the_clock_shows_at_every_moment() {
    assert_eq!(
        shown("*/20 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", 3),
        ["2026-03-29T01:40:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:20:00+02:00"]
    );
    assert_eq!(
        shown("0 * * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", 4),
        [
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:00:00+01:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T04:00:00+01:00",
        ]
    );
    // Half an hour is left out, not a whole one.
    assert_eq!(
        shown("*/15 1,2 * * *", "Australia/Lord_Howe", "2026-10-03T15:10:00Z", 4),
        [
            "2026-10-04T01:45:00+10:30",
            "2026-10-04T02:30:00+11:00",
            "2026-10-04T02:45:00+11:00",
            "2026-10-05T01:00:00+11:00",
        ]
    );
}

#[test]
fn every_counts_real_time_from_the_first_time() {
    let from_first = options(json!({
        "cron": "@every 90s", "time_zone": "Europe/Berlin", "first_at": "2026-03-29T00:59:00Z",
    }));
    let first = from_first.first(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(first, at("2026-03-29T00:59:00Z"));
    assert_eq!(from_first.next_after(first), Some(at("2026-03-29T01:00:30Z")));
    assert_eq!(from_first.first(at("2026-03-29T01:00:30Z")), Some(at("2026-03-29T01:02:00Z")));
    let from_now = options(json!({"cron": "@every 1h30m"}));
    let first = from_now.first(Timestamp(1_500_000)).unwrap();
    assert_eq!(first, Timestamp(5_402_000_000), "a whole distance from the next full second");
    assert_eq!(from_now.next_after(first), Some(Timestamp(10_802_000_000)));
    assert_eq!(
        from_now.next_behind(first, Timestamp(10_802_000_000)),
        Some(Timestamp(16_202_000_000)),
        "times that passed keep their distances"
    );
}

#[test]
fn times_lie_between_the_first_and_the_last() {
    let schedule = options(json!({
        "cron": "0 12 * * *", "first_at": "2030-01-02T12:00:00Z", "last_at": "2030-01-03T12:00:00Z",
    }));
    let first = schedule.first(at("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(first, at("2030-01-02T12:00:00Z"), "the first moment itself is one of them");
    let last = schedule.next_after(first).unwrap();
    assert_eq!(last, at("2030-01-03T12:00:00Z"), "and so is the last");
    assert_eq!(schedule.next_after(last), None);
    let once = options(json!({"at": "2030-01-01T00:00:00Z"}));
    let time = at("2030-01-01T00:00:00Z");
    assert_eq!(once.first(time.plus_micros(-1)), Some(time));
    assert_eq!((once.first(time), once.next_after(time)), (None, None));
}

#[test]
fn the_least_interval_is_that_of_the_busiest_moment() {
    for (cron, seconds) in [
        ("* * * * * *", 1),
        ("* * * * *", 60),
        ("59,0 * * * * *", 1),
        ("0,10 0 3 1 1 *", 10),
        ("0 0,23 * * *", 3600),
        ("0 3 * * *", 86_400),
        ("*/7 * * * *", 240),
        ("@every 90s", 90),
    ] {
        assert_eq!(options(json!({"cron": cron})).least_interval_s(), Some(seconds), "{cron}");
    }
    assert_eq!(options(json!({"at": "2030-01-01T00:00:00Z"})).least_interval_s(), None);
}

#[test]
fn rare_days_are_found() {
    assert_eq!(shown("0 0 29 2 +MON", "UTC", "2026-01-01T00:00:00Z", 1), ["2044-02-29T00:00:00+00:00"]);
    // No leap day in 2100, and twenty-eight years are not enough around it.
    assert_eq!(shown("* 0 29 2 +SUN", "Europe/Berlin", "2077-01-01T00:00:00Z", 1).len(), 1);
    assert_eq!(shown("0 9 L * *", "UTC", "2026-02-01T00:00:00Z", 1), ["2026-02-28T09:00:00+00:00"]);
    assert_eq!(shown("0 9 * * MON#1", "UTC", "2026-11-02T10:00:00Z", 1), ["2026-12-07T09:00:00+00:00"]);
}

/// A field as text and as values.
fn field(range: std::ops::Range<i8>) -> impl Strategy<Value = (String, Vec<i8>)> {
    let (low, high) = (range.start, range.end);
    prop_oneof![
        range.clone().prop_map(|value| (value.to_string(), vec![value])),
        prop::collection::btree_set(range.clone(), 2..4).prop_map(|values| {
            let text: Vec<_> = values.iter().map(ToString::to_string).collect();
            (text.join(","), values.into_iter().collect())
        }),
        (range, 1..20_i8).prop_map(move |(from, step)| {
            let to = high - 1;
            let stepped = (from..=to).step_by(usize::try_from(step).unwrap_or(1));
            (format!("{from}-{to}/{step}"), stepped.collect())
        }),
        (1..30_i8).prop_map(move |step| {
            (format!("*/{step}"), (low..high).step_by(usize::try_from(step).unwrap_or(1)).collect())
        }),
        Just(("*".to_owned(), (low..high).collect())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn times_are_those_that_a_look_at_every_minute_finds(
        minutes in field(0..60),
        hours in field(0..24),
        days in prop::option::weighted(0.3, 1..31_i8),
        weekdays in prop::option::weighted(0.3, 0..7_i8),
        // Two days around changes of the clock, and elsewhere.
        (zone, from) in prop::sample::select(vec![
            ("Europe/Berlin", "2026-03-28T12:00:00Z"),
            ("Europe/Berlin", "2026-10-24T12:00:00Z"),
            ("America/New_York", "2026-03-07T20:00:00Z"),
            ("America/New_York", "2026-10-31T20:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T03:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T03:00:00Z"),
            ("Africa/Casablanca", "2026-02-14T12:00:00Z"),
            ("America/Santiago", "2026-09-05T12:00:00Z"),
            ("Asia/Kolkata", "2026-03-28T12:00:00Z"),
            ("UTC", "2026-12-31T12:00:00Z"),
        ]),
        offset in 0..1440_i64,
    ) {
        let text = format!(
            "{} {} {} * {}",
            minutes.0,
            hours.0,
            days.map_or("*".to_owned(), |day| day.to_string()),
            weekdays.map_or("*".to_owned(), |day| day.to_string()),
        );
        let slow = Slow {
            is_interval: minutes.0.contains('*') || hours.0.contains('*'),
            minutes: minutes.1,
            hours: hours.1,
            days: days.map(|day| vec![day]),
            weekdays: weekdays.map(|day| vec![day]),
        };
        let from: jiff::Timestamp = from.parse().unwrap();
        let from = from + jiff::SignedDuration::from_mins(offset);
        let to = from + jiff::SignedDuration::from_hours(36);
        let rules = jiff::tz::TimeZone::get(zone).unwrap();
        let expected = slow.times(&rules, from, to);
        let schedule = options(json!({"cron": text, "time_zone": zone}));
        let start = Timestamp(from.as_microsecond());
        let found: Vec<jiff::Timestamp> =
            std::iter::successors(schedule.first(start), |time| schedule.next_after(*time))
                .map(|time| jiff::Timestamp::from_microsecond(time.0).unwrap())
                .take_while(|time| *time <= to)
                .collect();
        prop_assert_eq!(found, expected, "{} in {}", text, zone);
    }

    #[test]
    fn no_text_makes_it_fall(text in "[ -~]{0,40}|[0-9*,/#LW+?@A-Z -]{0,60}") {
        let parsed = TriggerKind::parse(TriggerType::Schedule, json!({"cron": text}));
        if let Ok(TriggerKind::Schedule(schedule)) = parsed {
            let first = schedule.first(Timestamp(1_800_000_000_000_000));
            prop_assert!(first.is_some(), "accepted text has a time");
            prop_assert!(schedule.least_interval_s() >= Some(1));
        }
    }
}
