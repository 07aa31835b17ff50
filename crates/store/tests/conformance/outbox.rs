//! The outbox and the sweep: no accepted call is forgotten, and none is multiplied.

use picasso_types::{CallOutput, Clock as _, InstanceId};

use super::fixture::{Fixture, SECOND, succeeded};

pub async fn every_accepted_call_has_one_entry_in_order(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut accepted = Vec::new();
    for priority in [2, 0, 1] {
        let mut call = f.new_call(&app, &route);
        call.priority = priority;
        f.store.accept_call(&call).await.unwrap();
        accepted.push((call.id, call.not_before, call.priority));
    }
    let entries = f.store.list_outbox(10).await.unwrap();
    assert!(entries.is_sorted_by_key(|entry| entry.number));
    let listed: Vec<_> = entries.into_iter().map(|e| (e.call_id, e.not_before, e.priority)).collect();
    assert_eq!(listed, accepted);
    assert_eq!(f.store.list_outbox(2).await.unwrap().len(), 2);
}

pub async fn deleting_entries_leaves_the_others(f: Fixture) {
    let (first, second, third) = (f.accepted().await, f.accepted().await, f.accepted().await);
    let entries = f.store.list_outbox(10).await.unwrap();
    f.store.delete_outbox(&[entries[0].number, entries[2].number, i64::MAX]).await.unwrap();
    f.store.delete_outbox(&[]).await.unwrap();
    assert_eq!(f.drain_outbox().await, [second.id]);
    for gone in [first, third] {
        assert!(f.store.get_call(&gone.id).await.is_ok());
    }
}

pub async fn a_release_brings_a_new_entry_that_a_late_deletion_does_not_hit(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    let before = f.store.list_outbox(10).await.unwrap();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    let due = f.clock.now().plus_micros(SECOND);
    f.store.release_call(&new.id, &owner, due).await.unwrap();
    f.store.delete_outbox(&[before[0].number]).await.unwrap();
    assert_eq!(f.store.list_outbox(10).await.unwrap(), [], "it is not due");
    f.clock.advance(SECOND);
    let after = f.store.list_outbox(10).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!((&after[0].call_id, after[0].not_before), (&new.id, due));
    assert!(after[0].number > before[0].number);
}

pub async fn a_sweep_puts_back_calls_whose_lease_ended(f: Fixture) {
    let (lost, held, done) = (f.accepted().await, f.accepted().await, f.accepted().await);
    f.drain_outbox().await;
    let (dead, alive) = (InstanceId::generate(), InstanceId::generate());
    f.store.claim_call(&lost.id, &dead, f.lease()).await.unwrap().unwrap();
    f.store.claim_call(&done.id, &dead, f.lease()).await.unwrap().unwrap();
    f.store.finish_call(&done.id, &dead, &succeeded(), &CallOutput::default(), &[]).await.unwrap();
    f.store.claim_call(&held.id, &alive, f.lease()).await.unwrap().unwrap();
    let long_ago = f.clock.now().plus_micros(-SECOND);
    assert_eq!(f.store.sweep_calls(long_ago).await.unwrap(), 0);

    f.clock.advance(60 * SECOND);
    f.store.extend_lease(&held.id, &alive, f.lease()).await.unwrap();
    assert_eq!(f.store.sweep_calls(long_ago).await.unwrap(), 1);
    assert_eq!(f.drain_outbox().await, [lost.id]);
}

pub async fn a_sweep_puts_back_due_calls_that_were_lost_and_no_others(f: Fixture) {
    let lost = f.accepted().await;
    f.drain_outbox().await;
    let kept = f.accepted().await;
    let app = f.app("later").await;
    let route = f.ready_route(&app, "/later").await;
    let mut later = f.new_call(&app, &route);
    later.not_before = f.clock.now().plus_micros(1000 * SECOND);
    f.store.accept_call(&later).await.unwrap();

    assert_eq!(f.store.sweep_calls(f.clock.now()).await.unwrap(), 0, "nothing is lost yet");
    let now = f.clock.advance(30 * SECOND);
    assert_eq!(f.store.sweep_calls(now).await.unwrap(), 1);
    let drained = f.drain_outbox().await;
    assert!(drained.len() == 2 && drained.contains(&kept.id) && drained.contains(&lost.id), "{drained:?}");
    f.clock.advance(1000 * SECOND);
    assert_eq!(f.drain_outbox().await, [later.id.clone()]);
    let now = f.clock.advance(SECOND);
    assert_eq!(f.store.sweep_calls(now).await.unwrap(), 3);
    assert!(f.drain_outbox().await.contains(&later.id));
}

pub async fn only_due_calls_are_listed_the_longest_due_first(f: Fixture) {
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
    assert_eq!(f.store.list_outbox(10).await.unwrap(), []);
    f.clock.advance(1);
    assert_eq!(f.drain_outbox().await, [accepted[1].clone()]);
    f.clock.advance(2 * SECOND);
    assert_eq!(f.drain_outbox().await, [accepted[2].clone(), accepted[0].clone()]);
}

pub async fn sweeps_do_not_multiply_a_waiting_call(f: Fixture) {
    let (waiting, running) = (f.accepted().await, f.accepted().await);
    f.drain_outbox().await;
    let owner = InstanceId::generate();
    f.store.claim_call(&running.id, &owner, f.lease()).await.unwrap().unwrap();
    f.clock.advance(100 * SECOND);
    let lost_before = || f.clock.now().plus_micros(-50 * SECOND);
    assert_eq!(f.store.sweep_calls(lost_before()).await.unwrap(), 2);
    assert_eq!(f.store.sweep_calls(lost_before()).await.unwrap(), 0, "both have an entry");
    assert_eq!(f.drain_outbox().await.len(), 2);
    f.clock.advance(10 * SECOND);
    assert_eq!(f.store.sweep_calls(lost_before()).await.unwrap(), 0, "both were just dispatched");
    f.clock.advance(60 * SECOND);
    assert_eq!(f.store.sweep_calls(lost_before()).await.unwrap(), 2);
    assert_eq!(f.drain_outbox().await, [waiting.id, running.id]);
}
