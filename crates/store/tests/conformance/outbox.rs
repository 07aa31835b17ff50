//! The outbox and the sweep: no accepted call is forgotten, none is multiplied, and no project waits
//! behind another's long queue.

use std::collections::{BTreeMap, HashSet};

use picasso_store::{OutboxTake, ProjectUsage};
use picasso_types::{CallId, CallOutput, Clock as _, InstanceId, NewCall, ProjectId};

use super::fixture::{Fixture, MANY, SECOND, new_app, new_route, project, succeeded, take};

/// Calls of one project, each accepted later than the one before.
async fn queue_of(f: &Fixture, owner: &ProjectId, calls: usize) -> Vec<CallId> {
    let app = f.store.create_app(&new_app(owner, "queue"), MANY).await.unwrap();
    let digest = super::fixture::digest("one");
    let route = f.store.create_route(&app.id, &new_route("/queue"), Some(&digest), MANY).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..calls {
        let new = NewCall { not_before: f.clock.advance(1), ..f.new_call(&app, &route) };
        f.store.accept_call(&new).await.unwrap();
        ids.push(new.id);
    }
    ids
}

fn projects<const N: usize>() -> [ProjectId; N] {
    std::array::from_fn(|n| project(&format!("{n:032x}")))
}

/// How many of each project a take brings, and where it ended.
async fn counts(f: &Fixture, take: &OutboxTake) -> (BTreeMap<ProjectId, usize>, Option<ProjectId>, bool) {
    let batch = f.store.take_outbox(take).await.unwrap();
    let mut counts = BTreeMap::new();
    for entry in batch.entries {
        *counts.entry(entry.project_id).or_default() += 1;
    }
    (counts, batch.after, batch.more)
}

pub async fn entries_are_taken_by_priority_and_then_by_due_time(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut accepted = Vec::new();
    for (priority, late) in [(1, 0), (0, -5), (2, 0), (1, -3), (1, 0)] {
        let mut call = f.new_call(&app, &route);
        (call.priority, call.not_before) = (priority, call.not_before.plus_micros(late));
        f.store.accept_call(&call).await.unwrap();
        accepted.push(call.id);
    }
    let order: Vec<_> = [2, 3, 0, 4, 1].map(|n: usize| accepted[n].clone()).into();
    let first = f.store.take_outbox(&take(2)).await.unwrap();
    assert!(first.more, "more of the project waits");
    assert!(first.entries.iter().all(|entry| entry.project_id == app.project_id));
    assert_eq!(first.entries.iter().map(|entry| entry.priority).collect::<Vec<_>>(), [2, 1]);
    let first: Vec<_> = first.entries.into_iter().map(|entry| entry.call_id).collect();
    assert_eq!(first, order[..2]);
    assert_eq!(f.drain_outbox().await, order[2..]);
    assert_eq!(f.drain_outbox().await, []);
}

pub async fn projects_are_served_in_turn_however_long_their_queues_are(f: Fixture) {
    let [long, short, middle] = projects();
    let queue = queue_of(&f, &long, 40).await;
    queue_of(&f, &short, 1).await;
    queue_of(&f, &middle, 10).await;
    let (first, ..) = counts(&f, &take(9)).await;
    assert_eq!(first, [(long.clone(), 3), (short, 1), (middle.clone(), 3)].into());
    let (second, ..) = counts(&f, &take(10)).await;
    assert_eq!(second, [(long, 5), (middle, 5)].into());
    assert_eq!(f.drain_outbox().await.iter().filter(|id| queue.contains(id)).count(), 32);
}

pub async fn a_take_goes_on_behind_the_project_where_the_last_one_ended(f: Fixture) {
    let all: [ProjectId; 3] = projects();
    for project in &all {
        queue_of(&f, project, 3).await;
    }
    let mut next = take(1);
    for turn in 0..6 {
        let (taken, after, more) = counts(&f, &next).await;
        assert_eq!(taken, [(all[turn % 3].clone(), 1)].into());
        assert!(more);
        next.after = after;
    }
}

pub async fn a_project_gets_its_window_and_what_the_process_wants(f: Fixture) {
    let [one, two] = projects();
    let ids = queue_of(&f, &one, 10).await;
    queue_of(&f, &two, 10).await;
    let mut narrow = OutboxTake { window: 3, ..take(MANY) };
    narrow.wanted.insert(two.clone(), 0);
    let (taken, _, more) = counts(&f, &narrow).await;
    assert_eq!(taken, [(one.clone(), 3)].into());
    assert!(!more, "there is no room for more");
    let owner = InstanceId::generate();
    f.store.claim_call(&ids[0], &owner, f.lease()).await.unwrap().unwrap();
    narrow.wanted.insert(two.clone(), 2);
    assert_eq!(counts(&f, &narrow).await.0, [(one, 1), (two, 2)].into());
}

pub async fn what_was_taken_in_vain_waits_again_after_its_time_or_when_it_is_returned(f: Fixture) {
    let (late, returned, claimed) = (f.accepted().await, f.accepted().await, f.accepted().await);
    let until = f.clock.now().plus_micros(10 * SECOND);
    let taken = f.store.take_outbox(&OutboxTake { until, ..take(MANY) }).await.unwrap().entries;
    assert_eq!(taken.len(), 3);
    f.store.claim_call(&claimed.id, &InstanceId::generate(), f.lease()).await.unwrap().unwrap();
    f.store.return_outbox(&[returned.id.clone(), claimed.id, CallId::generate()]).await.unwrap();
    f.store.return_outbox(&[]).await.unwrap();
    assert_eq!(f.drain_outbox().await, [returned.id]);
    f.clock.advance(10 * SECOND - 1);
    assert_eq!(f.drain_outbox().await, []);
    f.clock.advance(1);
    assert_eq!(f.drain_outbox().await, [late.id]);
}

pub async fn what_an_earlier_process_took_waits_again_when_it_is_abandoned(f: Fixture) {
    let mine = f.accepted().await;
    let me = InstanceId::generate();
    f.store.take_outbox(&OutboxTake { taken_by: me.clone(), ..take(MANY) }).await.unwrap();
    f.accepted().await;
    f.store.take_outbox(&take(MANY)).await.unwrap();
    f.store.abandon_leases(&me).await.unwrap();
    assert_eq!(f.drain_outbox().await, [mine.id]);
}

pub async fn several_takers_share_no_entry_and_leave_none(f: Fixture) {
    let all: [ProjectId; 3] = projects();
    let mut expected = HashSet::new();
    for project in &all {
        expected.extend(queue_of(&f, project, 60).await);
    }
    let takers: Vec<_> = (0..6)
        .map(|_| {
            let store = f.store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let batch = store.take_outbox(&take(7)).await.unwrap();
                    if batch.entries.is_empty() && !batch.more {
                        return mine;
                    }
                    mine.extend(batch.entries.into_iter().map(|entry| entry.call_id));
                }
            })
        })
        .collect();
    let mut taken = Vec::new();
    for taker in takers {
        taken.extend(taker.await.unwrap());
    }
    // Entries that a taker skipped because another one held them at that moment.
    taken.extend(f.drain_outbox().await);
    assert_eq!(taken.len(), expected.len(), "an entry was shared");
    assert_eq!(taken.into_iter().collect::<HashSet<_>>(), expected);
}

pub async fn only_due_calls_are_taken_the_longest_due_first(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut accepted = Vec::new();
    for seconds in [3, 1, 2] {
        let mut call = f.new_call(&app, &route);
        call.not_before = f.clock.now().plus_micros(seconds * SECOND);
        f.store.accept_call(&call).await.unwrap();
        accepted.push(call.id);
    }
    f.clock.advance(SECOND - 1);
    assert_eq!(f.drain_outbox().await, []);
    f.clock.advance(1);
    assert_eq!(f.drain_outbox().await, [accepted[1].clone()]);
    f.clock.advance(2 * SECOND);
    assert_eq!(f.drain_outbox().await, [accepted[2].clone(), accepted[0].clone()]);
}

pub async fn queued_calls_are_counted_by_project_until_they_are_claimed(f: Fixture) {
    assert_eq!(f.store.count_queued().await.unwrap(), []);
    let [one, two] = projects();
    let began = f.clock.now();
    let ids = queue_of(&f, &one, 3).await;
    queue_of(&f, &two, 2).await;
    f.store.take_outbox(&take(1)).await.unwrap();
    let owner = InstanceId::generate();
    f.store.claim_call(&ids[0], &owner, f.lease()).await.unwrap().unwrap();
    let counted = f.store.count_queued().await.unwrap();
    let counted: Vec<_> = counted.into_iter().map(|q| (q.project_id, q.calls, q.due_since)).collect();
    let at = |micros| Some(began.plus_micros(micros));
    assert_eq!(counted, [(one.clone(), 2, at(2)), (two.clone(), 2, at(4))]);
    // A call that is given back waits until it is due, and counts.
    f.store.release_call(&ids[0], &owner, f.clock.now().plus_micros(SECOND)).await.unwrap();
    assert_eq!(f.store.count_queued().await.unwrap()[0].calls, 3);
    let usage = f.store.project_usage(&one).await.unwrap();
    assert_eq!(usage, ProjectUsage { apps: 1, routes: 1, triggers: 0, queued_calls: 3, output_bytes: 0 });
    let nobody = f.store.project_usage(&project("nobody")).await.unwrap();
    assert_eq!(nobody, ProjectUsage { apps: 0, routes: 0, triggers: 0, queued_calls: 0, output_bytes: 0 });
}

pub async fn a_released_call_is_taken_again_when_it_is_due(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    f.drain_outbox().await;
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    f.store.release_call(&new.id, &owner, f.clock.now().plus_micros(SECOND)).await.unwrap();
    assert_eq!(f.drain_outbox().await, [], "it is not due");
    f.clock.advance(SECOND);
    assert_eq!(f.drain_outbox().await, [new.id]);
}

pub async fn a_sweep_puts_back_calls_whose_lease_ended_once(f: Fixture) {
    let (lost, held, done) = (f.accepted().await, f.accepted().await, f.accepted().await);
    let (dead, alive) = (InstanceId::generate(), InstanceId::generate());
    f.store.claim_call(&lost.id, &dead, f.lease()).await.unwrap().unwrap();
    f.store.claim_call(&done.id, &dead, f.lease()).await.unwrap().unwrap();
    f.store.finish_call(&done.id, &dead, &succeeded(), &CallOutput::default(), &[]).await.unwrap();
    f.store.claim_call(&held.id, &alive, f.lease()).await.unwrap().unwrap();
    let waiting = f.accepted().await;
    assert_eq!(f.store.sweep_calls().await.unwrap(), 0);

    f.clock.advance(60 * SECOND);
    f.store.extend_lease(&held.id, &alive, f.lease()).await.unwrap();
    assert_eq!(f.store.sweep_calls().await.unwrap(), 1);
    assert_eq!(f.store.sweep_calls().await.unwrap(), 0, "it has an entry");
    assert_eq!(HashSet::from_iter(f.drain_outbox().await), HashSet::from([lost.id.clone(), waiting.id]));
    assert_eq!(f.store.sweep_calls().await.unwrap(), 0, "it still has its entry");
    f.store.claim_call(&lost.id, &alive, f.lease()).await.unwrap().unwrap();
    f.clock.advance(60 * SECOND);
    assert_eq!(f.store.sweep_calls().await.unwrap(), 2);
}
