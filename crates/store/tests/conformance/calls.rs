//! Calls: accepted once, held by one owner, ended once.

use picasso_store::{Lease, StoreError};
use picasso_types::{
    Accepted, CallId, CallOutcome, CallOutput, CallState, Clock as _, Failure, InstanceId, RouteId, VersionId,
};

use super::fixture::{Fixture, SECOND, digest, succeeded};

pub async fn an_accepted_call_comes_back_queued(f: Fixture) {
    let new = f.accepted().await;
    let call = f.store.get_call(&new.id).await.unwrap();
    assert_eq!(call.state, CallState::Queued);
    assert_eq!((call.attempt, call.priority), (0, 1));
    assert_eq!(call.request_id, new.request_id.as_str());
    assert_eq!((call.trigger, call.call_type), (new.trigger, new.call_type));
    assert_eq!((&call.project_id, &call.app_id), (&new.project_id, &new.app_id));
    assert_eq!((&call.route_id, &call.version_id), (&new.route_id, &new.version_id));
    assert_eq!((call.not_before, call.created_at), (new.not_before, f.clock.now()));
    let app = f.store.get_app_by_id(&new.app_id).await.unwrap();
    assert_eq!((call.app_name.as_str(), call.route_path.as_str()), (app.full_name.as_str(), "/hello"));
    assert_eq!((call.version_number, call.lost_runs, call.cancel_requested), (1, 0, false));
    assert_eq!((call.queued_at, call.node), (f.clock.now(), None));
    assert_eq!((call.http_status, call.cold_start), (None, None));
    assert_eq!((call.lease_until, call.started_at, call.finished_at), (None, None, None));
    assert_eq!((call.failure, call.exit_code, call.memory_peak_bytes), (None, None, None));
}

pub async fn accepting_for_a_missing_version_is_not_found(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut call = f.new_call(&app, &route);
    call.version_id = VersionId::generate();
    assert!(matches!(f.store.accept_call(&call).await, Err(StoreError::NotFound)));
    let mut call = f.new_call(&app, &route);
    call.route_id = RouteId::generate();
    assert!(matches!(f.store.accept_call(&call).await, Err(StoreError::NotFound)));
    assert_eq!(f.drain_outbox().await, []);
    assert!(matches!(f.store.get_call(&call.id).await, Err(StoreError::NotFound)));
}

pub async fn accepting_one_id_twice_keeps_the_first(f: Fixture) {
    let first = f.accepted().await;
    let mut second = first.clone();
    second.payload = b"other".to_vec();
    assert!(matches!(f.store.accept_call(&second).await, Err(StoreError::Database { .. })));
    let owner = InstanceId::generate();
    let claimed = f.store.claim_call(&first.id, &owner, f.lease()).await.unwrap().unwrap();
    assert_eq!(claimed.payload, b"payload");
}

pub async fn a_call_is_claimed_by_one_of_many(f: Fixture) {
    let new = f.accepted().await;
    let lease = f.lease();
    let tasks: Vec<_> = (0..50)
        .map(|_| {
            let (store, id) = (f.store.clone(), new.id.clone());
            tokio::spawn(async move {
                let owner = InstanceId::generate();
                store.claim_call(&id, &owner, lease).await.unwrap().map(|claimed| (owner, claimed))
            })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    let [(owner, claimed)] = &winners[..] else { panic!("{} winners", winners.len()) };
    assert_eq!(claimed.call.state, CallState::Running);
    assert_eq!((claimed.call.attempt, claimed.call.lease_until), (1, Some(lease)));
    assert_eq!(claimed.call.started_at, Some(f.clock.now()));
    assert_eq!(f.store.get_call(&new.id).await.unwrap(), claimed.call);
    assert!(f.store.finish_call(&new.id, owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
}

pub async fn a_call_is_not_claimed_before_it_is_due(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let mut new = f.new_call(&app, &route);
    new.not_before = f.clock.now().plus_micros(10 * SECOND);
    f.store.accept_call(&new).await.unwrap();
    let owner = InstanceId::generate();
    assert_eq!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap(), None);
    f.clock.advance(10 * SECOND);
    assert!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().is_some());
}

pub async fn a_call_whose_lease_ended_is_claimed_again(f: Fixture) {
    let new = f.accepted().await;
    let (first, second) = (InstanceId::generate(), InstanceId::generate());
    f.store.claim_call(&new.id, &first, f.lease()).await.unwrap().unwrap();
    assert_eq!(f.store.claim_call(&new.id, &second, f.lease()).await.unwrap(), None);
    f.clock.advance(60 * SECOND);
    let again = f.store.claim_call(&new.id, &second, f.lease()).await.unwrap().unwrap();
    assert_eq!((again.call.attempt, again.call.lost_runs), (2, 1));
    assert_eq!(again.call.node.as_deref(), Some(second.as_str()));
    assert_eq!((again.envelope, again.payload), (b"envelope".to_vec(), b"payload".to_vec()));
    assert!(!f.store.finish_call(&new.id, &first, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    assert!(f.store.finish_call(&new.id, &second, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
}

pub async fn only_the_owner_extends_releases_and_finishes(f: Fixture) {
    let new = f.accepted().await;
    let (owner, stranger) = (InstanceId::generate(), InstanceId::generate());
    assert_eq!(f.store.extend_lease(&new.id, &owner, f.lease()).await.unwrap(), Lease::Lost);
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    let before = f.store.get_call(&new.id).await.unwrap();
    let later = f.lease().plus_micros(SECOND);
    assert_eq!(f.store.extend_lease(&new.id, &stranger, later).await.unwrap(), Lease::Lost);
    assert!(
        !f.store.finish_call(&new.id, &stranger, &succeeded(), &CallOutput::default(), &[]).await.unwrap()
    );
    let released = f.store.release_call(&new.id, &stranger, f.clock.now()).await;
    assert!(matches!(released, Err(StoreError::NotFound)));
    assert_eq!(f.store.get_call(&new.id).await.unwrap(), before);

    assert_eq!(f.store.extend_lease(&new.id, &owner, later).await.unwrap(), Lease::Held);
    assert_eq!(f.store.get_call(&new.id).await.unwrap().lease_until, Some(later));
}

pub async fn a_released_call_is_queued_without_counting_the_attempt(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    let due = f.clock.now().plus_micros(5 * SECOND);
    f.store.release_call(&new.id, &owner, due).await.unwrap();
    let call = f.store.get_call(&new.id).await.unwrap();
    assert_eq!((call.state, call.attempt, call.not_before), (CallState::Queued, 0, due));
    assert_eq!(call.lease_until, None);
    assert_eq!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap(), None);
    f.clock.advance(5 * SECOND);
    let claimed = f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    assert_eq!((claimed.call.attempt, claimed.payload), (1, b"payload".to_vec()));
}

pub async fn a_finished_call_keeps_its_outcome_and_is_never_claimed(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    let now = f.clock.advance(SECOND);
    let outcome = CallOutcome {
        state: CallState::Failed,
        failure: Some(Failure::CannotStart { reason: "no \"such\" program'".to_owned() }),
        exit_code: Some(-7),
        http_status: Some(503),
        cold_start: Some(false),
        memory_peak_bytes: Some(u64::MAX),
    };
    assert!(f.store.finish_call(&new.id, &owner, &outcome, &CallOutput::default(), &[]).await.unwrap());
    let call = f.store.get_call(&new.id).await.unwrap();
    assert_eq!((call.state, call.failure), (outcome.state, outcome.failure));
    assert_eq!((call.exit_code, call.finished_at, call.lease_until), (Some(-7), Some(now), None));
    assert_eq!((call.http_status, call.cold_start), (Some(503), Some(false)));
    assert_eq!(call.memory_peak_bytes, Some(i64::MAX as u64), "kept as large as the column is");

    f.clock.advance(1000 * SECOND);
    assert_eq!(f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap(), None);
    assert!(!f.store.finish_call(&new.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    assert_eq!(f.store.extend_lease(&new.id, &owner, f.lease()).await.unwrap(), Lease::Lost);
    assert_eq!(f.store.get_call(&new.id).await.unwrap().state, CallState::Failed);
}

pub async fn a_call_does_not_end_as_running(f: Fixture) {
    let new = f.accepted().await;
    let owner = InstanceId::generate();
    f.store.claim_call(&new.id, &owner, f.lease()).await.unwrap().unwrap();
    let outcome = CallOutcome { state: CallState::Queued, ..succeeded() };
    assert!(f.store.finish_call(&new.id, &owner, &outcome, &CallOutput::default(), &[]).await.is_err());
    assert_eq!(f.store.get_call(&new.id).await.unwrap().state, CallState::Running);
}

pub async fn abandoned_leases_end_at_once_and_others_stay(f: Fixture) {
    let (mine, theirs, waiting) = (f.accepted().await, f.accepted().await, f.accepted().await);
    let (dead, alive) = (InstanceId::generate(), InstanceId::generate());
    f.store.claim_call(&mine.id, &dead, f.lease()).await.unwrap().unwrap();
    f.store.claim_call(&theirs.id, &alive, f.lease()).await.unwrap().unwrap();
    assert_eq!(f.store.abandon_leases(&dead).await.unwrap(), 1);
    assert_eq!(f.store.abandon_leases(&dead).await.unwrap(), 0);
    assert!(!f.store.finish_call(&mine.id, &dead, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    let again = f.store.claim_call(&mine.id, &alive, f.lease()).await.unwrap().unwrap();
    assert_eq!(again.call.attempt, 2);
    assert!(
        f.store.finish_call(&theirs.id, &alive, &succeeded(), &CallOutput::default(), &[]).await.unwrap()
    );
    assert_eq!(f.store.get_call(&waiting.id).await.unwrap().state, CallState::Queued);
}

pub async fn deleting_a_route_cancels_its_queued_calls_only(f: Fixture) {
    let app = f.app("hello").await;
    let (doomed, other) = (f.ready_route(&app, "/doomed").await, f.ready_route(&app, "/other").await);
    let [queued, running, done] = [(); 3].map(|()| f.new_call(&app, &doomed));
    let sibling = f.new_call(&app, &other);
    for call in [&queued, &running, &done, &sibling] {
        f.store.accept_call(call).await.unwrap();
    }
    let owner = InstanceId::generate();
    for call in [&running, &done] {
        f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    }
    f.store.finish_call(&done.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap();
    let now = f.clock.advance(SECOND);

    f.store.delete_route(&doomed.id).await.unwrap();
    let cancelled = f.store.get_call(&queued.id).await.unwrap();
    assert_eq!((cancelled.state, cancelled.finished_at), (CallState::Cancelled, Some(now)));
    assert_eq!(f.store.claim_call(&queued.id, &owner, f.lease()).await.unwrap(), None);
    assert_eq!(f.store.get_call(&running.id).await.unwrap().state, CallState::Running);
    assert_eq!(f.store.get_call(&done.id).await.unwrap().state, CallState::Succeeded);
    assert_eq!(f.store.get_call(&sibling.id).await.unwrap().state, CallState::Queued);
    let outbox = f.drain_outbox().await;
    assert!(!outbox.contains(&queued.id) && outbox.contains(&sibling.id));
    assert!(
        f.store.finish_call(&running.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap()
    );
    assert_eq!(f.store.list_referenced_digests().await.unwrap(), [digest("one")]);
}

pub async fn a_missing_call_is_not_found(f: Fixture) {
    let (id, owner) = (CallId::generate(), InstanceId::generate());
    assert!(matches!(f.store.get_call(&id).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.claim_call(&id, &owner, f.lease()).await, Err(StoreError::NotFound)));
    assert!(matches!(f.store.release_call(&id, &owner, f.lease()).await, Err(StoreError::NotFound)));
    assert_eq!(f.store.extend_lease(&id, &owner, f.lease()).await.unwrap(), Lease::Lost);
    assert!(!f.store.finish_call(&id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
}

/// Stores do such writes together; nobody may get what is another's.
pub async fn of_many_calls_at_one_time_each_keeps_its_own(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let calls: Vec<_> = (0..150_i32)
        .map(|n| {
            let mut call = f.new_call(&app, &route);
            call.payload = format!("payload {n}").into_bytes();
            if n % 10 == 9 {
                call.version_id = VersionId::generate();
            }
            call
        })
        .collect();
    let is_lost = |n: usize| n % 10 == 9;
    let accepted = futures_util::future::join_all(calls.iter().map(|call| f.store.accept_call(call))).await;
    for (n, answer) in accepted.iter().enumerate() {
        let is_new = matches!(answer, Ok(Accepted::New));
        let is_missing = matches!(answer, Err(StoreError::NotFound));
        assert_eq!((is_new, is_missing), (!is_lost(n), is_lost(n)), "{n}: {answer:?}");
    }

    let (owner, lease) = (InstanceId::generate(), f.lease());
    let claims = calls.iter().map(|call| f.store.claim_call(&call.id, &owner, lease));
    for (n, claimed) in futures_util::future::join_all(claims).await.into_iter().enumerate() {
        if is_lost(n) {
            assert!(matches!(claimed, Err(StoreError::NotFound)), "{n}: {claimed:?}");
            continue;
        }
        let claimed = claimed.unwrap().unwrap();
        assert_eq!((&claimed.call.id, &claimed.payload), (&calls[n].id, &calls[n].payload));
    }

    let other = InstanceId::generate();
    let outcomes: Vec<_> = (0..150).map(|n| CallOutcome { exit_code: Some(n), ..succeeded() }).collect();
    let outputs: Vec<_> = (0..150)
        .map(|n| CallOutput { result: format!("result {n}").into_bytes(), ..CallOutput::default() })
        .collect();
    let endings = (0..150).map(|n| {
        let by = if n % 10 == 8 { &other } else { &owner };
        f.store.finish_call(&calls[n].id, by, &outcomes[n], &outputs[n], &[])
    });
    for (n, held) in futures_util::future::join_all(endings).await.into_iter().enumerate() {
        assert_eq!(held.unwrap(), !is_lost(n) && n % 10 != 8, "{n}");
    }
    for n in (0..150).filter(|n| n % 10 != 9) {
        let call = f.store.get_call(&calls[n].id).await.unwrap();
        let output = f.store.get_call_output(&calls[n].id).await.unwrap();
        if n % 10 == 8 {
            assert_eq!((call.state, output), (CallState::Running, None));
        } else {
            assert_eq!((call.state, call.exit_code), (CallState::Succeeded, i32::try_from(n).ok()));
            assert_eq!(output.as_ref(), Some(&outputs[n]));
        }
    }
}
