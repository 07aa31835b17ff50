//! Triggers: what they keep, who holds one, and what is told of them.

use std::collections::HashSet;

use picasso_store::{Changed, StoreError, TriggerPlan};
use picasso_types::trigger::{
    Filter, FiringOutcome, InputTemplate, NewFiring, NewTrigger, Trigger, TriggerChange, TriggerKind,
    TriggerName, TriggerSpec, TriggerState, TriggerType,
};
use picasso_types::{
    App, CallId, FiringId, InstanceId, ProjectId, Route, RouteId, Selector, Timestamp, TriggerId,
};
use serde_json::json;

use super::fixture::{Fixture, MANY, SECOND, demo, project};

fn hourly() -> TriggerKind {
    TriggerKind::parse(TriggerType::Schedule, json!({"cron": "0 * * * *"})).unwrap()
}

fn webhook() -> TriggerKind {
    TriggerKind::parse(TriggerType::Webhook, json!({})).unwrap()
}

fn spec(app: &App, route: &Route, name: &str, kind: TriggerKind) -> TriggerSpec {
    TriggerSpec {
        name: TriggerName::parse(name).unwrap(),
        app_id: app.id.clone(),
        route_id: route.id.clone(),
        selector: None,
        kind,
        filter: Filter::default(),
        input: None,
    }
}

fn new(spec: TriggerSpec, next_at: Option<Timestamp>) -> NewTrigger {
    NewTrigger {
        id: TriggerId::generate(),
        project_id: demo(),
        spec,
        enabled: true,
        next_at,
        hook_hash: None,
        hook_key: None,
        identity: None,
        created_by: "user-a".to_owned(),
    }
}

fn changed(trigger: &Trigger) -> TriggerChange {
    TriggerChange {
        spec: trigger.spec.clone(),
        state: trigger.state,
        next_at: trigger.next_at,
        progress: trigger.progress.clone(),
        hook_key: trigger.hook_key.clone(),
        identity: trigger.identity.clone(),
        updated_by: "user-b".to_owned(),
    }
}

fn node(name: &str) -> InstanceId {
    InstanceId::parse(name).unwrap()
}

impl Fixture {
    async fn app_and_route(&self) -> (App, Route) {
        let app = self.app("hello").await;
        let route = self.route_with_versions(&app.id, "/hello", 1).await;
        (app, route)
    }
}

pub async fn a_trigger_comes_back_as_it_was_made_and_changed(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let wanted = TriggerSpec {
        selector: Selector::parse("live"),
        filter: Filter::parse(json!([{"field": "type", "glob": "x.*"}])).unwrap(),
        input: Some(InputTemplate::parse(json!({"template": {"a": "${data.b}"}})).unwrap()),
        ..spec(&app, &route, "nightly", hourly())
    };
    let now = f.after(0);
    let made = f.store.create_trigger(&new(wanted.clone(), Some(f.after(60 * SECOND))), MANY).await.unwrap();
    assert_eq!(
        (&made.spec, made.state, made.next_at),
        (&wanted, TriggerState::Active, Some(f.after(60 * SECOND)))
    );
    assert_eq!((made.app_name.as_str(), made.route_path.as_str()), (app.full_name.as_str(), "/hello"));
    assert_eq!((made.revision, made.fired, made.created_at, made.updated_at), (1, 0, now, now));
    for name_or_id in ["nightly", made.id.as_str()] {
        assert_eq!(f.store.get_trigger(&demo(), name_or_id).await.unwrap(), made);
    }
    assert_eq!(f.store.get_trigger_by_id(&made.id).await.unwrap(), made);
    let elsewhere = f.store.get_trigger(&project("other"), "nightly").await;
    assert!(matches!(elsewhere, Err(StoreError::NotFound)));

    let later = f.clock.advance(SECOND);
    let change = TriggerChange {
        spec: TriggerSpec { filter: Filter::default(), ..spec(&app, &route, "hourly", hourly()) },
        state: TriggerState::Paused,
        next_at: None,
        progress: Some("{}".to_owned()),
        ..changed(&made)
    };
    let after = f.store.update_trigger(&made.id, made.revision, &change).await.unwrap();
    let expected = Trigger {
        spec: change.spec,
        state: TriggerState::Paused,
        next_at: None,
        progress: Some("{}".to_owned()),
        revision: 2,
        updated_by: "user-b".to_owned(),
        updated_at: later,
        ..made.clone()
    };
    assert_eq!(after, expected);
    assert_eq!(f.store.list_triggers(&demo()).await.unwrap(), [expected]);
    f.store.delete_trigger(&made.id).await.unwrap();
    assert!(matches!(f.store.get_trigger_by_id(&made.id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.delete_trigger(&made.id).await, Err(StoreError::NotFound)));
}

pub async fn names_of_triggers_are_unique_in_a_project_and_limited(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let make = async |name: &str, max| {
        f.store.create_trigger(&new(spec(&app, &route, name, webhook()), None), max).await
    };
    let one = make("one", 2).await.unwrap();
    assert!(matches!(make("one", 2).await, Err(StoreError::TriggerExists)));
    make("two", 2).await.unwrap();
    assert!(
        matches!(make("three", 2).await, Err(StoreError::OverLimit(over)) if over.usage == 2 && over.limit == 2)
    );
    let mut change = changed(&one);
    change.spec.name = TriggerName::parse("two").unwrap();
    let refused = f.store.update_trigger(&one.id, one.revision, &change).await;
    assert!(matches!(refused, Err(StoreError::TriggerExists)));
    assert_eq!(f.store.project_usage(&demo()).await.unwrap().triggers, 2);
    let names: Vec<_> = f.store.list_triggers(&demo()).await.unwrap();
    assert_eq!(names.iter().map(|t| t.spec.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

pub async fn a_change_of_an_older_state_of_a_trigger_is_refused(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let made = f.store.create_trigger(&new(spec(&app, &route, "one", webhook()), None), MANY).await.unwrap();
    f.store.update_trigger(&made.id, 1, &changed(&made)).await.unwrap();
    let again = f.store.update_trigger(&made.id, 1, &changed(&made)).await;
    assert!(matches!(again, Err(StoreError::Changed)));
    f.store.set_trigger_state(&made.id, 1, TriggerState::Stopped, Some("late")).await.unwrap();
    assert_eq!(f.store.get_trigger_by_id(&made.id).await.unwrap().state, TriggerState::Active);
    f.store.set_trigger_state(&made.id, 2, TriggerState::Stopped, Some("too often")).await.unwrap();
    let stopped = f.store.get_trigger_by_id(&made.id).await.unwrap();
    assert_eq!((stopped.state, stopped.state_reason.as_deref()), (TriggerState::Stopped, Some("too often")));
    let gone = f.store.update_trigger(&TriggerId::generate(), 1, &changed(&made)).await;
    assert!(matches!(gone, Err(StoreError::NotFound)));
}

pub async fn a_trigger_needs_a_route_of_its_own_project(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let good = spec(&app, &route, "one", webhook());
    let gone = TriggerSpec { route_id: RouteId::generate(), ..good.clone() };
    assert!(matches!(f.store.create_trigger(&new(gone, None), MANY).await, Err(StoreError::NotFound)));
    let foreign = NewTrigger { project_id: ProjectId::parse("other").unwrap(), ..new(good, None) };
    assert!(matches!(f.store.create_trigger(&foreign, MANY).await, Err(StoreError::NotFound)));
}

pub async fn a_route_takes_its_triggers_with_it(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let other = f.route_with_versions(&app.id, "/other", 1).await;
    let gone = f.store.create_trigger(&new(spec(&app, &route, "gone", webhook()), None), MANY).await.unwrap();
    let stays =
        f.store.create_trigger(&new(spec(&app, &other, "stays", webhook()), None), MANY).await.unwrap();
    f.store.record_firings(&[firing(&gone, 1, FiringOutcome::Accepted, f.after(0))], 10).await.unwrap();
    f.store.delete_route(&route.id).await.unwrap();
    assert!(matches!(f.store.get_trigger_by_id(&gone.id).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.list_triggers_of_app(&app.id).await.unwrap(), [stays]);
    // What comes too late is left out.
    f.store.record_firings(&[firing(&gone, 2, FiringOutcome::Accepted, f.after(0))], 10).await.unwrap();
    assert_eq!(f.store.list_firings(&gone.id, 10).await.unwrap(), []);
}

pub async fn a_webhook_is_found_by_the_hash_of_its_token_until_that_is_changed(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let wanted =
        NewTrigger { hook_hash: Some("aa".repeat(32)), ..new(spec(&app, &route, "hook", webhook()), None) };
    let made = f.store.create_trigger(&wanted, MANY).await.unwrap();
    assert_eq!(f.store.get_trigger_by_hook(&"aa".repeat(32)).await.unwrap(), made);
    let rotated = f.store.rotate_hook(&made.id, 1, &"bb".repeat(32), None, "user-b").await.unwrap();
    assert_eq!((rotated.revision, rotated.updated_by.as_str()), (2, "user-b"));
    assert!(matches!(f.store.get_trigger_by_hook(&"aa".repeat(32)).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_trigger_by_hook(&"bb".repeat(32)).await.unwrap(), rotated);
    let late = f.store.rotate_hook(&made.id, 1, &"cc".repeat(32), None, "user-b").await;
    assert!(matches!(late, Err(StoreError::Changed)));
}

pub async fn due_triggers_are_taken_once_and_planned_by_who_holds_them(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let (a, b) = (node("node-a"), node("node-b"));
    let due = f
        .store
        .create_trigger(&new(spec(&app, &route, "due", hourly()), Some(f.after(SECOND))), MANY)
        .await
        .unwrap();
    f.store
        .create_trigger(&new(spec(&app, &route, "later", hourly()), Some(f.after(90 * SECOND))), MANY)
        .await
        .unwrap();
    f.store.create_trigger(&new(spec(&app, &route, "never", webhook()), None), MANY).await.unwrap();
    let take = async |by: &InstanceId| {
        f.store.take_due_triggers(TriggerType::Schedule, by, f.after(30 * SECOND), 10).await.unwrap()
    };
    assert_eq!(f.store.next_due_trigger(TriggerType::Schedule).await.unwrap(), Some(f.after(SECOND)));
    assert_eq!(take(&a).await, []);
    f.clock.advance(SECOND);
    let taken = take(&a).await;
    assert_eq!(taken.iter().map(|t| &t.id).collect::<Vec<_>>(), [&due.id]);
    assert_eq!(take(&b).await, [], "it is held");
    assert_eq!(f.store.next_due_trigger(TriggerType::Schedule).await.unwrap(), Some(f.after(30 * SECOND)));

    // Held longer by its holder alone; when the lease ended, another may have it.
    assert!(!f.store.hold_trigger(&due, &b, f.after(60 * SECOND)).await.unwrap());
    assert!(f.store.hold_trigger(&due, &a, f.after(40 * SECOND)).await.unwrap());
    f.clock.advance(41 * SECOND);
    assert_eq!(take(&b).await.len(), 1);
    let plan =
        TriggerPlan { next_at: Some(f.after(100 * SECOND)), progress: Some("7".to_owned()), state: None };
    assert!(!f.store.plan_trigger(&due, &a, &plan).await.unwrap(), "it lost it");
    assert!(f.store.plan_trigger(&due, &b, &plan).await.unwrap());
    let planned = f.store.get_trigger_by_id(&due.id).await.unwrap();
    assert_eq!((planned.next_at, planned.progress.as_deref()), (Some(f.after(100 * SECOND)), Some("7")));
    assert!(!f.store.plan_trigger(&due, &b, &plan).await.unwrap(), "it gave it back");

    // Who changes a trigger takes it out of its holder's hands.
    f.clock.advance(100 * SECOND);
    let held = take(&a).await.into_iter().find(|t| t.id == due.id).unwrap();
    f.store.update_trigger(&due.id, held.revision, &changed(&held)).await.unwrap();
    let end = TriggerPlan { next_at: None, progress: None, state: Some((TriggerState::Finished, None)) };
    assert!(!f.store.plan_trigger(&held, &a, &end).await.unwrap());
    let held = take(&a).await.into_iter().find(|t| t.id == due.id).unwrap();
    assert!(f.store.plan_trigger(&held, &a, &end).await.unwrap());
    assert_eq!(f.store.get_trigger_by_id(&due.id).await.unwrap().state, TriggerState::Finished);
}

pub async fn of_ten_takers_of_twenty_due_triggers_each_trigger_has_one(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    for number in 0..20 {
        let wanted = new(spec(&app, &route, &format!("t{number}"), hourly()), Some(f.after(0)));
        f.store.create_trigger(&wanted, MANY).await.unwrap();
    }
    let mut takers = Vec::new();
    for number in 0..10 {
        let (store, until) = (f.store.clone(), f.after(30 * SECOND));
        takers.push(tokio::spawn(async move {
            store
                .take_due_triggers(TriggerType::Schedule, &node(&format!("node-{number}")), until, 20)
                .await
                .unwrap()
        }));
    }
    let mut all = Vec::new();
    for taker in takers {
        all.extend(taker.await.unwrap().into_iter().map(|trigger| trigger.id.to_string()));
    }
    let different: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (20, 20));
}

pub async fn due_triggers_that_cannot_be_read_are_put_off_and_hold_up_no_others(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    for (place, name) in ["torn", "later", "filter", "selector", "identity", "one", "two"].iter().enumerate()
    {
        let at = f.after(i64::try_from(place).unwrap() - 10);
        f.store.create_trigger(&new(spec(&app, &route, name, hourly()), Some(at)), MANY).await.unwrap();
    }
    f.damage("UPDATE triggers SET options = '{\"cron\":' WHERE name = 'torn'").await;
    f.damage("UPDATE triggers SET options = '{\"cron\":\"0 * * * *\",\"moon\":1}' WHERE name = 'later'")
        .await;
    f.damage("UPDATE triggers SET filter = '7' WHERE name = 'filter'").await;
    f.damage("UPDATE triggers SET selector = '@@' WHERE name = 'selector'").await;
    f.damage("UPDATE triggers SET identity = '{}' WHERE name = 'identity'").await;
    let take = async || {
        let until = f.after(30 * SECOND);
        let taken =
            f.store.take_due_triggers(TriggerType::Schedule, &node("node-a"), until, 5).await.unwrap();
        taken.iter().map(|trigger| trigger.spec.name.to_string()).collect::<Vec<_>>()
    };
    // They were due longest, and as many as were asked for.
    assert_eq!(take().await, [""; 0]);
    assert_eq!(take().await, ["one", "two"]);
    assert_eq!(take().await, [""; 0]);
    f.clock.advance(31 * SECOND);
    assert_eq!(take().await, ["one", "two"], "nobody looks at the others all the time");
    assert_eq!(f.store.next_due_trigger(TriggerType::Schedule).await.unwrap(), Some(f.after(30 * SECOND)));
    f.damage("UPDATE triggers SET filter = '[]' WHERE name = 'filter'").await;
    f.clock.advance(270 * SECOND);
    assert_eq!(take().await, ["filter"], "what was mended goes on by itself");
}

pub async fn what_cannot_be_read_is_left_out_of_lists_and_told_to_who_asks_for_it(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let mut made = Vec::new();
    for (number, name) in ["a", "b", "bad", "c", "d", "worse"].iter().enumerate() {
        let hook_hash = Some(format!("{number}{number}").repeat(32));
        let wanted = NewTrigger { hook_hash, ..new(spec(&app, &route, name, webhook()), None) };
        made.push(f.store.create_trigger(&wanted, MANY).await.unwrap());
    }
    f.damage("UPDATE triggers SET options = '{\"moon\":1}' WHERE name = 'bad'").await;
    f.damage("UPDATE triggers SET hook_key = '{}' WHERE name = 'worse'").await;
    let good: Vec<_> = [0, 1, 3, 4].map(|number: usize| made[number].clone()).into();
    assert_eq!(f.store.list_triggers(&demo()).await.unwrap(), good);
    assert_eq!(f.store.list_triggers_of_app(&app.id).await.unwrap(), good);
    let page = async |after: Option<&Trigger>, limit| {
        let after = after.map(|trigger| &trigger.id);
        f.store.list_triggers_of_kind(TriggerType::Webhook, after, limit).await.unwrap()
    };
    assert_eq!(page(None, 3).await, good[..3], "a page is full while there are more");
    assert_eq!(page(Some(&good[2]), 3).await, good[3..]);
    assert_eq!(page(Some(&good[3]), 3).await, []);
    for bad in [&made[2], &made[5]] {
        let hook = bad.hook_hash.as_deref().unwrap();
        for asked in [
            f.store.get_trigger(&demo(), bad.spec.name.as_str()).await,
            f.store.get_trigger_by_id(&bad.id).await,
            f.store.get_trigger_by_hook(hook).await,
        ] {
            assert!(matches!(asked, Err(StoreError::Damaged { .. })), "{asked:?}");
        }
    }
    assert_eq!(f.store.project_usage(&demo()).await.unwrap().triggers, 6);
}

/// They are written together: each has an answer of its own.
pub async fn of_plans_at_one_time_those_of_holders_are_written(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    for number in 0..40 {
        let wanted = new(spec(&app, &route, &format!("t{number}"), hourly()), Some(f.after(0)));
        f.store.create_trigger(&wanted, MANY).await.unwrap();
    }
    let (a, b, kind) = (node("node-a"), node("node-b"), TriggerType::Schedule);
    let held = f.store.take_due_triggers(kind, &a, f.after(30 * SECOND), 40).await.unwrap();
    assert_eq!(held.len(), 40);
    let changed_one = &held[7];
    f.store.update_trigger(&changed_one.id, changed_one.revision, &changed(changed_one)).await.unwrap();
    let next_at = Some(f.after(90 * SECOND));
    let plan = TriggerPlan { next_at, progress: Some("1".to_owned()), state: None };
    let (store, plan) = (&f.store, &plan);
    let plans = held.iter().enumerate().map(|(number, trigger)| {
        let by = if number % 5 == 0 { &b } else { &a };
        async move { store.plan_trigger(trigger, by, plan).await.unwrap() }
    });
    let planned = futures_util::future::join_all(plans).await;
    for (number, (trigger, is_planned)) in held.iter().zip(planned).enumerate() {
        let is_holders = number % 5 != 0 && number != 7;
        assert_eq!(is_planned, is_holders, "t{number}");
        let read = f.store.get_trigger_by_id(&trigger.id).await.unwrap();
        assert_eq!(read.progress.as_deref() == Some("1"), is_holders, "t{number}");
    }
}

fn firing(trigger: &Trigger, number: u32, outcome: FiringOutcome, at: Timestamp) -> NewFiring {
    NewFiring {
        id: FiringId::generate(),
        trigger_id: trigger.id.clone(),
        event_id: format!("event-{number}"),
        outcome,
        reason: (outcome == FiringOutcome::Refused).then(|| "x".repeat(600)),
        call_id: (outcome == FiringOutcome::Accepted).then(CallId::generate),
        at,
    }
}

pub async fn the_last_firings_are_kept_and_accepted_ones_count(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let one = f.store.create_trigger(&new(spec(&app, &route, "one", webhook()), None), MANY).await.unwrap();
    let two = f.store.create_trigger(&new(spec(&app, &route, "two", webhook()), None), MANY).await.unwrap();
    let outcome = |number| if number % 2 == 0 { FiringOutcome::Accepted } else { FiringOutcome::Refused };
    let all: Vec<_> = (0..7)
        .map(|number| firing(&one, number, outcome(number), f.after(i64::from(number) * SECOND)))
        .collect();
    f.store.record_firings(&all[..4], 5).await.unwrap();
    let mut rest = all[4..].to_vec();
    rest.push(firing(&two, 9, FiringOutcome::Skipped, f.after(0)));
    f.store.record_firings(&rest, 5).await.unwrap();
    let kept = f.store.list_firings(&one.id, 10).await.unwrap();
    let ids: Vec<_> = kept.iter().map(|firing| firing.event_id.as_str()).collect();
    assert_eq!(ids, ["event-6", "event-5", "event-4", "event-3", "event-2"]);
    assert_eq!((&kept[0].call_id, kept[0].at), (&all[6].call_id, f.after(6 * SECOND)));
    assert_eq!(kept[1].reason.as_ref().map(String::len), Some(500));
    assert_eq!(f.store.list_firings(&one.id, 2).await.unwrap(), kept[..2]);
    let (one, two) = (
        f.store.get_trigger_by_id(&one.id).await.unwrap(),
        f.store.get_trigger_by_id(&two.id).await.unwrap(),
    );
    assert_eq!((one.fired, one.last_fired_at), (4, Some(f.after(6 * SECOND))));
    assert_eq!((two.fired, two.last_fired_at), (0, None));
}

pub async fn every_change_of_a_trigger_is_told_as_one_of_its_app(f: Fixture) {
    let (app, route) = f.app_and_route().await;
    let mut mark = Some(f.store.list_changes(None).await.unwrap().upto);
    let mut told = async || {
        let changes = f.store.list_changes(mark).await.unwrap();
        mark = Some(changes.upto);
        changes.changed == Changed::Apps(HashSet::from([app.id.clone()]))
    };
    let made = f
        .store
        .create_trigger(&new(spec(&app, &route, "one", hourly()), Some(f.after(0))), MANY)
        .await
        .unwrap();
    assert!(told().await);
    f.store.update_trigger(&made.id, 1, &changed(&made)).await.unwrap();
    assert!(told().await);
    f.store.set_trigger_state(&made.id, 2, TriggerState::Stopped, None).await.unwrap();
    assert!(told().await);
    f.store.delete_trigger(&made.id).await.unwrap();
    assert!(told().await);
}
