//! Several processes on one database, with a clock in the test's hand: each planned time makes one call.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use picasso_types::Clock;
use picasso_types::trigger::{FiringOutcome, Trigger, TriggerChange, TriggerState, TriggerType};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Schedules;
use super::fires::Fires;
use super::serve::{LEASE, Server};
use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired};
use crate::rounds::News;
use crate::testing::{Process, SECOND, World};

const PATIENCE: Duration = Duration::from_mins(1);

/// What became of the planned times of triggers, in their order.
type Book = Arc<Mutex<BTreeMap<(String, String), Vec<&'static str>>>>;

/// A process's way to calls, with a fault in it.
#[derive(Debug)]
struct Faulty {
    firer: crate::firing::Firer,
    book: Book,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    None,
    /// The process ends when the call is made, before it can plan.
    EndsAfterFiring(Arc<Notify>),
    /// So many events find no place.
    NoPlace(Mutex<u32>),
    /// Somebody changes the trigger just before.
    ChangedBefore(Arc<dyn picasso_store::Store>),
}

#[async_trait]
impl Fires for Faulty {
    async fn fire(&self, trigger: &Trigger, event: &Event, options: FireOptions) -> Result<Fired, FireError> {
        if let Fault::NoPlace(left) = &self.fault {
            let mut left = left.lock().unwrap();
            if *left > 0 {
                *left -= 1;
                return Err(FireError::Later("no place".to_owned()));
            }
        }
        if let Fault::ChangedBefore(store) = &self.fault {
            store.update_trigger(&trigger.id, trigger.revision, &paused(trigger)).await.unwrap();
        }
        let fired = self.firer.fire(trigger, event, options).await;
        let outcome = match &fired {
            Ok(Fired::Accepted(_)) => "accepted",
            Ok(Fired::Duplicate(_)) => "duplicate",
            Ok(Fired::Filtered) => "filtered",
            Err(_) => "refused",
        };
        let key = (trigger.spec.name.to_string(), event.id.clone());
        self.book.lock().unwrap().entry(key).or_default().push(outcome);
        if let Fault::EndsAfterFiring(fired) = &self.fault {
            fired.notify_one();
            std::future::pending::<()>().await;
        }
        fired
    }

    fn note_skipped(&self, trigger: &Trigger, event: &Event, reason: String) {
        Fires::note_skipped(&self.firer, trigger, event, reason);
    }
}

fn paused(trigger: &Trigger) -> TriggerChange {
    TriggerChange {
        spec: trigger.spec.clone(),
        state: TriggerState::Paused,
        next_at: None,
        progress: None,
        hook_key: None,
        identity: None,
        updated_by: "user-b".to_owned(),
    }
}

fn start(world: &World, process: Process, book: &Book, fault: Fault) -> JoinHandle<()> {
    let fires = Arc::new(Faulty { firer: process.firer, book: book.clone(), fault });
    let server = Server {
        fires,
        store: process.store,
        instance: process.instance,
        clock: world.clock.clone(),
        missed_after: Duration::from_mins(1),
    };
    let poll = Duration::from_millis(20);
    tokio::spawn(Schedules::of(server, News(None), poll).run(CancellationToken::new()))
}

/// Waits until a schedule's next planned time lies ahead, or it is over.
async fn until_planned(world: &World, trigger: &Trigger) -> Trigger {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let read = world.read(trigger).await;
        let is_ahead = read.next_at.is_some_and(|next| next > world.clock.now());
        if is_ahead || read.state != TriggerState::Active {
            return read;
        }
        assert!(tokio::time::Instant::now() < deadline, "not planned: {read:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn schedule(world: &World, name: &str, options: serde_json::Value) -> Trigger {
    let now = world.clock.now();
    world.trigger(name, TriggerType::Schedule, options, now.plus_micros(SECOND)).await
}

async fn two_processes_make_one_call_of_each_time(world: World) {
    let book = Book::default();
    let mut triggers = Vec::new();
    for name in ["a", "b", "c"] {
        triggers.push(schedule(&world, name, json!({"cron": "* * * * * *", "jitter_s": 3})).await);
    }
    let running: Vec<_> = [world.process(0).await, world.process(1).await]
        .into_iter()
        .map(|process| start(&world, process, &book, Fault::None))
        .collect();
    for step in [1, 1, 1, 7, 2, 20, 1, 1, 5, 1] {
        world.clock.pass(step);
        for trigger in &triggers {
            until_planned(&world, trigger).await;
        }
    }
    for process in running {
        process.abort();
        let _ = process.await;
    }
    let fired = book.lock().unwrap().clone();
    assert_eq!(fired.len(), 3 * 40, "a call for each second");
    for (time, outcomes) in &fired {
        let accepted = outcomes.iter().filter(|outcome| **outcome == "accepted").count();
        assert_eq!(accepted, 1, "{time:?}: {outcomes:?}");
    }
    assert_eq!(world.calls().await.len(), 3 * 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_sqlite_make_one_call_of_each_planned_time() {
    two_processes_make_one_call_of_each_time(World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_on_postgresql_make_one_call_of_each_planned_time() {
    if let Some(world) = World::postgres().await {
        two_processes_make_one_call_of_each_time(world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_ends_between_call_and_plan_leaves_one_call_of_the_time() {
    let world = World::sqlite().await;
    let book = Book::default();
    let trigger = schedule(&world, "a", json!({"cron": "* * * * *", "jitter_s": 600})).await;
    let fired = Arc::new(Notify::new());
    let ending = start(&world, world.process(0).await, &book, Fault::EndsAfterFiring(fired.clone()));
    world.clock.pass(1);
    tokio::time::timeout(PATIENCE, fired.notified()).await.unwrap();
    ending.abort();
    let _ = ending.await;
    assert_eq!(world.read(&trigger).await.next_at, trigger.next_at, "nothing is planned");
    let due_at = world.calls().await[0].not_before;
    let next = start(&world, world.process(1).await, &book, Fault::None);
    world.clock.pass(i64::try_from(LEASE.as_secs()).unwrap());
    let planned = until_planned(&world, &trigger).await;
    assert_eq!(planned.next_at, Some(trigger.next_at.unwrap().plus_micros(59 * SECOND)));
    next.abort();
    let outcomes: Vec<_> = book.lock().unwrap().values().cloned().collect();
    assert_eq!(outcomes, [["accepted", "duplicate"]]);
    let calls = world.calls().await;
    assert_eq!((calls.len(), calls[0].not_before), (1, due_at));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_without_a_place_in_the_queue_is_tried_again_and_fires_as_planned() {
    let world = World::sqlite().await;
    let book = Book::default();
    let trigger = schedule(&world, "a", json!({"cron": "* * * * *", "count": 2})).await;
    let running = start(&world, world.process(0).await, &book, Fault::NoPlace(Mutex::new(3)));
    // Its tries come after 1, 2 and 4 seconds.
    for pass in [1, 1, 2, 4] {
        assert!(book.lock().unwrap().is_empty());
        world.clock.pass(pass);
        until_planned(&world, &trigger).await;
    }
    let id = "2027-01-15T08:00:01Z";
    let fired: Vec<_> = book.lock().unwrap().keys().cloned().collect();
    assert_eq!(fired, [("a".to_owned(), id.to_owned())]);
    world.clock.pass(60);
    let over = until_planned(&world, &trigger).await;
    assert_eq!((over.state, over.next_at), (TriggerState::Finished, None));
    assert_eq!(over.state_reason.as_deref(), Some("it fired 2 times, as count says"));
    running.abort();
    assert_eq!(world.calls().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn missed_times_are_passed_over_with_a_note_and_the_last_time_ends_a_schedule() {
    let world = World::sqlite().await;
    let book = Book::default();
    let last = "2027-01-15T09:00:00Z";
    let trigger = schedule(&world, "a", json!({"cron": "* * * * *", "last_at": last})).await;
    world.clock.pass(3600);
    let running = start(&world, world.process(0).await, &book, Fault::None);
    let over = until_planned(&world, &trigger).await;
    assert_eq!(over.state, TriggerState::Finished);
    assert_eq!(over.state_reason.as_deref(), Some("no planned time lies ahead"));
    running.abort();
    let fired: Vec<_> = book.lock().unwrap().keys().map(|(_, id)| id.clone()).collect();
    assert_eq!(fired, ["2027-01-15T08:59:00Z", last], "those of the last minute are not missed");
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let skipped = loop {
        let firings = world.stores[0].list_firings(&trigger.id, 10).await.unwrap();
        if let Some(skipped) = firings.iter().find(|firing| firing.outcome == FiringOutcome::Skipped) {
            break skipped.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "{firings:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let reason = "the planned times from 2027-01-15T08:00:01Z to 2027-01-15T08:58:00Z were missed";
    assert_eq!(skipped.reason.as_deref(), Some(reason));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_changed_while_it_fires_keeps_the_change() {
    let world = World::sqlite().await;
    let book = Book::default();
    let trigger = schedule(&world, "a", json!({"cron": "* * * * * *"})).await;
    let fault = Fault::ChangedBefore(world.stores[1].clone());
    let running = start(&world, world.process(0).await, &book, fault);
    world.clock.pass(1);
    let changed = until_planned(&world, &trigger).await;
    running.abort();
    assert_eq!((changed.state, changed.next_at), (TriggerState::Paused, None));
}
