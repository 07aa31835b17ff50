//! Calls as their owners see them: lists, outputs, cancel, retry, records, retention.

use std::time::Duration;

use picasso_store::{Lease, StoreError};
use picasso_types::{
    App, Call, CallFilter, CallId, CallOutcome, CallOutput, CallState, Cancelled, Clock as _, Failure,
    InstanceId, KeptObject, NewCall, NewObject, ObjectId, ProjectId, RemovableObject, Retried, Route,
    RouteType, Timestamp,
};

use super::fixture::{Fixture, SECOND, demo, project, succeeded};

fn all_of(project: ProjectId) -> CallFilter {
    CallFilter {
        project_id: project,
        app_name: None,
        route_path: None,
        state: None,
        since: None,
        after: None,
        limit: 1000,
    }
}

fn failed() -> CallOutcome {
    CallOutcome {
        state: CallState::Failed,
        failure: Some(Failure::Exit { code: 3 }),
        exit_code: Some(3),
        ..succeeded()
    }
}

async fn ids(f: &Fixture, filter: &CallFilter) -> Vec<CallId> {
    f.store.list_calls(filter).await.unwrap().into_iter().map(|call| call.id).collect()
}

/// Accepts a call of the route.
async fn accept(f: &Fixture, app: &App, route: &Route) -> CallId {
    let call = f.new_call(app, route);
    f.store.accept_call(&call).await.unwrap();
    call.id
}

/// Claims and ends a call.
async fn end(f: &Fixture, id: &CallId, outcome: &CallOutcome, output: &CallOutput) {
    let owner = InstanceId::generate();
    f.store.claim_call(id, &owner, f.lease()).await.unwrap().unwrap();
    assert!(f.store.finish_call(id, &owner, outcome, output, &[]).await.unwrap());
}

/// A call that ended without ever being accepted, as synchronous ones do.
async fn ended(f: &Fixture, of: &NewCall) -> Call {
    let now = f.clock.now();
    Call {
        id: CallId::generate(),
        call_type: RouteType::Sync,
        state: CallState::TimedOut,
        attempt: 1,
        node: Some("node-1".to_owned()),
        started_at: Some(now.plus_micros(-SECOND)),
        finished_at: Some(now),
        failure: Some(Failure::Timeout { limit_s: 1 }),
        exit_code: Some(-1),
        http_status: Some(200),
        cold_start: Some(true),
        memory_peak_bytes: Some(77),
        ..f.store.get_call(&of.id).await.unwrap()
    }
}

pub async fn calls_are_listed_newest_first_in_pages_and_only_of_the_project(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut made = Vec::new();
    for number in 0..7 {
        made.push(accept(&f, &app, &route).await);
        // Some of the same microsecond, told apart by their ids.
        if number % 3 == 0 {
            f.clock.advance(SECOND);
        }
    }
    made.reverse();
    assert_eq!(ids(&f, &all_of(demo())).await, made);
    assert_eq!(ids(&f, &all_of(project("other"))).await, []);
    let mut filter = CallFilter { limit: 3, ..all_of(demo()) };
    let mut seen = Vec::new();
    loop {
        let page = f.store.list_calls(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some((last.created_at, last.id.clone()));
        seen.extend(page.into_iter().map(|call| call.id));
    }
    assert_eq!(seen, made, "every call once, in order");
}

pub async fn a_list_is_filtered_by_each_field(f: Fixture) {
    let (one, two) = (f.app("one").await, f.app("two").await);
    let (a, b) = (f.ready_route(&one, "/a").await, f.ready_route(&one, "/b").await);
    let c = f.ready_route(&two, "/a").await;
    let first = accept(&f, &one, &a).await;
    end(&f, &first, &failed(), &CallOutput::default()).await;
    let later = f.clock.advance(SECOND);
    let second = accept(&f, &one, &b).await;
    f.clock.advance(SECOND);
    let third = accept(&f, &two, &c).await;
    let all = all_of(demo());
    let named = CallFilter { app_name: Some(one.full_name.to_string()), ..all.clone() };
    assert_eq!(ids(&f, &named).await, [second.clone(), first.clone()]);
    let routed = CallFilter { route_path: Some("/a".to_owned()), ..all.clone() };
    assert_eq!(ids(&f, &routed).await, [third.clone(), first.clone()]);
    let both = CallFilter { route_path: Some("/a".to_owned()), ..named };
    assert_eq!(ids(&f, &both).await, std::slice::from_ref(&first));
    let state = CallFilter { state: Some(CallState::Failed), ..all.clone() };
    assert_eq!(ids(&f, &state).await, [first]);
    let since = CallFilter { since: Some(later), ..all };
    assert_eq!(ids(&f, &since).await, [third, second]);
}

pub async fn a_queued_call_is_cancelled_at_once_and_never_runs(f: Fixture) {
    let new = f.accepted().await;
    let now = f.clock.advance(SECOND);
    assert_eq!(f.store.cancel_call(&demo(), &new.id).await.unwrap(), Cancelled::Queued);
    let call = f.store.get_call(&new.id).await.unwrap();
    assert_eq!((call.state, call.finished_at), (CallState::Cancelled, Some(now)));
    assert!(!f.drain_outbox().await.contains(&new.id));
    let owner = InstanceId::generate();
    assert_eq!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap(), None);
    f.clock.advance(1000 * SECOND);
    assert_eq!(f.store.sweep_calls().await.unwrap(), 0);
}

pub async fn whoever_runs_a_cancelled_call_is_told_with_its_lease(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    assert_eq!(f.store.extend_lease(&new.id, &owner, f.lease()).await.unwrap(), Lease::Held);
    assert_eq!(f.store.cancel_call(&demo(), &new.id).await.unwrap(), Cancelled::Running);
    assert_eq!(f.store.cancel_call(&demo(), &new.id).await.unwrap(), Cancelled::Running);
    let call = f.store.get_call(&new.id).await.unwrap();
    assert_eq!((call.state, call.cancel_requested, call.finished_at), (CallState::Running, true, None));
    let later = f.lease().plus_micros(SECOND);
    assert_eq!(f.store.extend_lease(&new.id, &owner, later).await.unwrap(), Lease::CancelRequested);
    assert_eq!(f.store.get_call(&new.id).await.unwrap().lease_until, Some(later));
    // The wish outlives the process that should have heard it.
    f.clock.advance(100 * SECOND);
    let again = f.store.claim_call(&new.id, &InstanceId::generate(), f.lease()).await.unwrap().unwrap();
    assert!(again.call.cancel_requested);
}

pub async fn an_ended_call_is_not_cancelled(f: Fixture) {
    let new = f.accepted().await;
    end(&f, &new.id, &succeeded(), &CallOutput::default()).await;
    let before = f.store.get_call(&new.id).await.unwrap();
    let refused = f.store.cancel_call(&demo(), &new.id).await.unwrap();
    assert_eq!(refused, Cancelled::Finished(CallState::Succeeded));
    assert_eq!(f.store.get_call(&new.id).await.unwrap(), before);
}

pub async fn another_projects_call_is_neither_cancelled_nor_retried(f: Fixture) {
    let (waiting, ended) = (f.accepted().await, f.accepted().await);
    end(&f, &ended.id, &failed(), &CallOutput::default()).await;
    for id in [&waiting.id, &ended.id, &CallId::generate()] {
        let other = project("other");
        assert!(matches!(f.store.cancel_call(&other, id).await, Err(StoreError::NotFound)));
        assert!(matches!(f.store.retry_call(&other, id).await, Err(StoreError::NotFound)));
    }
    assert_eq!(f.store.get_call(&waiting.id).await.unwrap().state, CallState::Queued);
    assert_eq!(f.store.get_call(&ended.id).await.unwrap().state, CallState::Failed);
}

pub async fn an_output_comes_back_byte_for_byte_and_goes_with_a_retry(f: Fixture) {
    let all_bytes: Vec<u8> = (0..=255).collect();
    for output in [
        CallOutput { result: all_bytes.clone(), log: vec![], ..CallOutput::default() },
        CallOutput { result: vec![], log: all_bytes.clone(), ..CallOutput::default() },
        CallOutput { result: all_bytes.repeat(4096), log: all_bytes.repeat(256), ..CallOutput::default() },
    ] {
        let new = f.accepted().await;
        assert_eq!(f.store.get_call_output(&new.id).await.unwrap(), None);
        end(&f, &new.id, &failed(), &output).await;
        assert!(f.store.get_call_output(&new.id).await.unwrap() == Some(output.clone()));
        assert_eq!(f.store.retry_call(&demo(), &new.id).await.unwrap(), Retried::Queued);
        assert_eq!(f.store.get_call_output(&new.id).await.unwrap(), None);
    }
    let new = f.accepted().await;
    end(&f, &new.id, &succeeded(), &CallOutput::default()).await;
    assert_eq!(f.store.get_call_output(&new.id).await.unwrap(), None);
}

pub async fn a_call_that_did_not_succeed_runs_again_with_its_attempts_counted_on(f: Fixture) {
    for state in [CallState::Failed, CallState::TimedOut, CallState::Cancelled, CallState::Dead] {
        let new = f.accepted().await;
        f.drain_outbox().await;
        end(&f, &new.id, &CallOutcome { state, ..failed() }, &CallOutput::default()).await;
        let now = f.clock.advance(SECOND);
        assert_eq!(f.store.retry_call(&demo(), &new.id).await.unwrap(), Retried::Queued);
        let call = f.store.get_call(&new.id).await.unwrap();
        assert_eq!((call.state, call.attempt, call.queued_at), (CallState::Queued, 1, now));
        assert_eq!((call.failure, call.exit_code, call.finished_at), (None, None, None));
        assert_eq!((call.http_status, call.cold_start, call.memory_peak_bytes), (None, None, None));
        assert_eq!(f.drain_outbox().await, std::slice::from_ref(&new.id));
        let owner = InstanceId::generate();
        let claimed = f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
        assert_eq!((claimed.call.attempt, claimed.call.lost_runs), (2, 0));
        assert_eq!((claimed.envelope, claimed.payload), (new.envelope, new.payload));
        assert!(
            f.store.finish_call(&new.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap()
        );
    }
    let waiting = f.accepted().await;
    f.store.cancel_call(&demo(), &waiting.id).await.unwrap();
    assert_eq!(f.store.retry_call(&demo(), &waiting.id).await.unwrap(), Retried::Queued);
    let owner = InstanceId::generate();
    let claimed = f.store.claim_call(&waiting.id, &owner, f.lease()).await.unwrap().unwrap();
    assert!(!claimed.call.cancel_requested);
}

pub async fn a_call_that_succeeded_runs_or_waits_is_not_retried(f: Fixture) {
    let new = f.accepted().await;
    let retry = async || f.store.retry_call(&demo(), &new.id).await.unwrap();
    assert_eq!(retry().await, Retried::NotFinished(CallState::Queued));
    let owner = InstanceId::generate();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    assert_eq!(retry().await, Retried::NotFinished(CallState::Running));
    f.store.finish_call(&new.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap();
    assert_eq!(retry().await, Retried::Succeeded);
}

pub async fn a_recorded_call_comes_back_and_is_not_retried(f: Fixture) {
    let new = f.accepted().await;
    let recorded = [ended(&f, &new).await, ended(&f, &new).await];
    f.store.record_calls(&recorded).await.unwrap();
    for call in &recorded {
        assert_eq!(f.store.get_call(&call.id).await.unwrap(), *call);
        assert_eq!(f.store.retry_call(&demo(), &call.id).await.unwrap(), Retried::NoBody);
        assert!(ids(&f, &all_of(demo())).await.contains(&call.id));
    }
}

pub async fn recording_an_id_twice_keeps_the_first(f: Fixture) {
    let new = f.accepted().await;
    let first = ended(&f, &new).await;
    let second = Call { state: CallState::Succeeded, failure: None, ..first.clone() };
    f.store.record_calls(&[first.clone(), second]).await.unwrap();
    assert_eq!(f.store.get_call(&first.id).await.unwrap(), first);
}

pub async fn ended_calls_go_after_their_time_in_batches(f: Fixture) {
    let mut old = Vec::new();
    for _ in 0..5 {
        let new = f.accepted().await;
        end(
            &f,
            &new.id,
            &failed(),
            &CallOutput { result: b"kept".to_vec(), log: vec![], ..CallOutput::default() },
        )
        .await;
        old.push(new.id);
        f.clock.advance(SECOND);
    }
    let (waiting, young) = (f.accepted().await, f.accepted().await);
    let before = f.clock.advance(SECOND);
    end(&f, &young.id, &succeeded(), &CallOutput::default()).await;
    assert_eq!(f.store.delete_ended_calls(before, 1000, 2).await.unwrap(), 2);
    for id in &old[..2] {
        assert!(matches!(f.store.get_call(id).await, Err(StoreError::NotFound)));
        assert_eq!(f.store.get_call_output(id).await.unwrap(), None);
    }
    assert_eq!(f.store.get_call_output(&old[2]).await.unwrap().unwrap().result, b"kept");
    assert_eq!(f.store.delete_ended_calls(before, 1000, 1000).await.unwrap(), 3);
    assert_eq!(f.store.delete_ended_calls(before, 1000, 1000).await.unwrap(), 0);
    assert_eq!(ids(&f, &all_of(demo())).await.len(), 2);
    assert_eq!(f.store.get_call(&waiting.id).await.unwrap().state, CallState::Queued);
}

pub async fn each_project_keeps_its_newest_ended_calls(f: Fixture) {
    let new = f.accepted().await;
    let mut mine = Vec::new();
    for _ in 0..6 {
        f.clock.advance(SECOND);
        mine.push(ended(&f, &new).await);
    }
    let theirs = Call { project_id: project("other"), ..ended(&f, &new).await };
    f.store.record_calls(&mine).await.unwrap();
    f.store.record_calls(std::slice::from_ref(&theirs)).await.unwrap();
    let never = picasso_types::Timestamp(0);
    assert_eq!(f.store.delete_ended_calls(never, 2, 3).await.unwrap(), 3);
    assert_eq!(f.store.delete_ended_calls(never, 2, 3).await.unwrap(), 1);
    assert_eq!(f.store.delete_ended_calls(never, 2, 3).await.unwrap(), 0);
    let left = ids(&f, &all_of(demo())).await;
    assert!(left.contains(&new.id) && left.contains(&mine[4].id) && left.contains(&mine[5].id), "{left:?}");
    assert_eq!(left.len(), 3);
    assert_eq!(ids(&f, &all_of(project("other"))).await, [theirs.id]);
}

fn object(remove_after: Timestamp, node: Option<&InstanceId>) -> NewObject {
    NewObject {
        id: ObjectId::generate(),
        project_id: demo(),
        node: node.cloned(),
        max_parts: 9,
        remove_after,
    }
}

pub async fn an_object_that_no_call_took_is_removed_after_its_time_by_who_reaches_it(f: Fixture) {
    let (here, elsewhere) = (InstanceId::generate(), InstanceId::generate());
    let later = f.clock.now().plus(Duration::from_mins(1));
    let (shared, local) = (object(later, None), object(later, Some(&here)));
    for new in [&shared, &local] {
        f.store.begin_object(new).await.unwrap();
    }
    let removable = async |node| {
        let mut ids: Vec<_> = f.store.list_removable_objects(node, 10).await.unwrap();
        ids.sort_by(|a, b| a.id.cmp(&b.id));
        ids.into_iter().map(|object| object.id).collect::<Vec<_>>()
    };
    assert_eq!(removable(&here).await, []);
    f.store.abandon_objects(std::slice::from_ref(&local.id)).await.unwrap();
    assert_eq!(removable(&elsewhere).await, []);
    assert_eq!(removable(&here).await, std::slice::from_ref(&local.id));
    f.clock.advance(61 * SECOND);
    assert_eq!(removable(&elsewhere).await, std::slice::from_ref(&shared.id));
    assert_eq!(removable(&here).await.len(), 2);
    assert_eq!(f.store.list_removable_objects(&here, 1).await.unwrap().len(), 1);
    f.store.forget_objects(&[local.id, shared.id]).await.unwrap();
    assert_eq!(removable(&here).await, []);
}

/// An ended call with an object of so many bytes.
async fn with_object(f: &Fixture, bytes: u64) -> (CallId, ObjectId) {
    let new = f.accepted().await;
    let id = object(Timestamp(i64::MAX), None);
    f.store.begin_object(&id).await.unwrap();
    let objects = vec![KeptObject { id: id.id.clone(), parts: 2, bytes }];
    end(f, &new.id, &failed(), &CallOutput { result: b"head".to_vec(), log: vec![], objects }).await;
    (new.id, id.id)
}

pub async fn an_object_of_a_call_is_removed_when_the_call_is_gone_or_retried(f: Fixture) {
    let node = InstanceId::generate();
    let (gone, retried, kept) =
        (with_object(&f, 5).await, with_object(&f, 5).await, with_object(&f, 5).await);
    assert_eq!(f.store.list_removable_objects(&node, 10).await.unwrap(), []);
    // Those of a call are nobody else's to abandon or forget.
    f.store.abandon_objects(std::slice::from_ref(&kept.1)).await.unwrap();
    f.store.forget_objects(std::slice::from_ref(&kept.1)).await.unwrap();
    assert_eq!(f.store.retry_call(&demo(), &retried.0).await.unwrap(), Retried::Queued);
    let removable = f.store.list_removable_objects(&node, 10).await.unwrap();
    let wanted = RemovableObject { id: retried.1.clone(), project_id: demo(), parts: 2 };
    assert_eq!(removable, [wanted]);
    f.store.forget_objects(&[retried.1]).await.unwrap();
    let never = Timestamp(0);
    assert_eq!(f.store.delete_ended_calls(never, 1, 10).await.unwrap(), 1);
    let removable = f.store.list_removable_objects(&node, 10).await.unwrap();
    assert_eq!(removable.into_iter().map(|object| object.id).collect::<Vec<_>>(), [gone.1]);
}

pub async fn outputs_beyond_a_projects_bytes_go_with_the_oldest_first_and_their_calls_stay(f: Fixture) {
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(with_object(&f, 1000).await);
        f.clock.advance(SECOND);
    }
    // Each is a bit more than its object: what lies in the database counts, too.
    let kept = f.store.list_kept_outputs(10).await.unwrap();
    assert_eq!(kept.len(), 1);
    assert!((5000..6000).contains(&kept[0].bytes), "{kept:?}");
    let project = kept[0].project_id.clone();
    assert_eq!(f.store.project_usage(&project).await.unwrap().output_bytes, kept[0].bytes);
    assert!(f.store.list_kept_outputs(0).await.unwrap().is_empty());
    let stranger = picasso_types::ProjectId::parse("stranger").unwrap();
    assert_eq!(f.store.project_usage(&stranger).await.unwrap().output_bytes, 0);
    assert_eq!(f.store.delete_outputs_beyond(&stranger, 0, 10).await.unwrap(), 0);
    assert_eq!(f.store.delete_outputs_beyond(&project, 1 << 30, 10).await.unwrap(), 0);
    assert_eq!(f.store.delete_outputs_beyond(&project, 3000, 2).await.unwrap(), 2);
    assert_eq!(f.store.delete_outputs_beyond(&project, 3000, 2).await.unwrap(), 1);
    assert_eq!(f.store.delete_outputs_beyond(&project, 3000, 2).await.unwrap(), 0);
    for (index, (call, _)) in calls.iter().enumerate() {
        assert_eq!(f.store.get_call(call).await.unwrap().state, CallState::Failed);
        assert_eq!(f.store.get_call_output(call).await.unwrap().is_some(), index >= 3, "{index}");
    }
    let removable = f.store.list_removable_objects(&InstanceId::generate(), 10).await.unwrap();
    let mut removable: Vec<_> = removable.into_iter().map(|object| object.id).collect();
    let mut wanted: Vec<_> = calls[..3].iter().map(|(_, object)| object.clone()).collect();
    removable.sort();
    wanted.sort();
    assert_eq!(removable, wanted);
    assert_eq!(f.store.delete_outputs_beyond(&project, 0, 10).await.unwrap(), 2);
    assert!(f.store.list_kept_outputs(10).await.unwrap().is_empty());
}
