//! Delivery options: kept with routes and calls, next attempts, idempotency keys, retrying many.

use std::collections::BTreeMap;

use picasso_store::StoreError;
use picasso_types::{
    Accepted, CallFilter, CallId, CallOutcome, CallOutput, CallState, DeliveryOptions, Destination, Failure,
    HttpUrl, IdempotencyKey, InstanceId, NewCall, NewRoute, QueueGrant, RetriedCalls, RetryPolicy,
    RouteChange, RouteType, Timestamp,
};

use super::fixture::{Fixture, MANY, SECOND, change, demo, digest, new_route, succeeded};

fn options() -> DeliveryOptions {
    DeliveryOptions {
        retry: Some(RetryPolicy::new(5)),
        max_age_s: Some(600),
        delay_s: 7,
        priority: 2,
        on_success: Some(Destination::parse("on_success", "route:app/done").unwrap()),
        on_failure: Some(Destination::parse("on_failure", "zaqar:dead").unwrap()),
        callback_urls: vec![HttpUrl::parse("callback_urls", "https://example.org/ü").unwrap()],
        invoke: vec![RouteType::Sync],
        answer_headers: BTreeMap::from([("X-A".to_owned(), vec!["1".to_owned()])]),
        grants: vec![QueueGrant {
            queue: "dead".to_owned(),
            expires_at: Timestamp(7),
            granted_by: "user".to_owned(),
            key_id: "key".to_owned(),
            sealed: "AAAA".to_owned(),
        }],
    }
}

pub async fn a_routes_delivery_options_come_back_and_change(f: Fixture) {
    let app = f.app("hello").await;
    let new = NewRoute { delivery: options(), ..new_route("/hello") };
    let route = f.store.create_route(&app.id, &new, Some(&digest("one")), MANY).await.unwrap();
    assert_eq!(route.delivery, options());
    assert_eq!(f.store.list_routes(&app.id).await.unwrap()[0].delivery, options());
    let other = DeliveryOptions { retry: None, delay_s: 8, ..options() };
    let change = RouteChange { delivery: other.clone(), ..change(&route) };
    f.store.update_route(&route.id, &change, None).await.unwrap();
    assert_eq!(f.store.get_route_by_id(&route.id).await.unwrap().delivery, other);
}

pub async fn a_call_keeps_the_options_it_was_accepted_with(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let due = f.after(60 * SECOND);
    let call = NewCall {
        delivery: options().of_call(),
        depth: 3,
        priority: 2,
        not_before: due,
        ..f.new_call(&app, &route)
    };
    assert_eq!(f.store.accept_call(&call).await.unwrap(), Accepted::New);
    let change = RouteChange { delivery: DeliveryOptions::default(), ..change(&route) };
    f.store.update_route(&route.id, &change, Some(&digest("two"))).await.unwrap();
    let stored = f.store.get_call(&call.id).await.unwrap();
    assert_eq!(stored.delivery, options().of_call());
    assert_eq!((stored.depth, stored.priority, stored.failed_runs), (3, 2, 0));
    assert_eq!((stored.not_before, stored.due_at), (due, due));
}

pub async fn a_repeated_call_is_due_again_with_its_failed_runs_counted(f: Fixture) {
    let call = f.accepted().await;
    let due = f.after(0);
    let (mine, other) = (InstanceId::generate(), InstanceId::generate());
    f.drain_outbox().await;
    f.store.claim_call(&call.id, &mine, f.lease()).await.unwrap().unwrap();
    let next = f.after(5 * SECOND);
    let failure = Failure::Exit { code: 3 };
    assert!(f.store.repeat_call(&call.id, &other, next, &failure).await.is_err(), "another one holds it");
    f.store.repeat_call(&call.id, &mine, next, &failure).await.unwrap();

    let waiting = f.store.get_call(&call.id).await.unwrap();
    assert_eq!((waiting.state, waiting.attempt, waiting.failed_runs), (CallState::Queued, 1, 1));
    assert_eq!((waiting.not_before, waiting.due_at), (next, due));
    assert_eq!(waiting.failure, Some(failure), "its owner sees why");
    assert_eq!(f.drain_outbox().await, [], "not before it is due");
    assert_eq!(f.store.claim_call(&call.id, &mine, f.lease()).await.unwrap(), None);
    f.clock.advance(5 * SECOND);
    assert_eq!(f.drain_outbox().await, std::slice::from_ref(&call.id));
    let claimed = f.store.claim_call(&call.id, &mine, f.lease()).await.unwrap().unwrap();
    assert_eq!((claimed.call.attempt, claimed.call.failed_runs), (2, 1));
    assert_eq!(claimed.payload, b"payload");
    assert!(f.store.finish_call(&call.id, &mine, &succeeded(), &CallOutput::default(), &[]).await.unwrap());
    assert_eq!(f.store.get_call(&call.id).await.unwrap().failure, None);
}

fn key(f: &Fixture, name: &str, request: &str) -> IdempotencyKey {
    IdempotencyKey {
        key_hash: name.to_owned(),
        request_hash: request.to_owned(),
        expires_at: f.after(60 * SECOND),
    }
}

pub async fn an_idempotency_key_stands_for_its_call_within_its_window(f: Fixture) {
    let app = f.app("hello").await;
    let (route, other) = (f.ready_route(&app, "/hello").await, f.ready_route(&app, "/other").await);
    let with = |route, name, request| NewCall {
        idempotency: Some(key(&f, name, request)),
        ..f.new_call(&app, route)
    };
    let first = with(&route, "k", "r");
    assert_eq!(f.store.accept_call(&first).await.unwrap(), Accepted::New);
    let again = with(&route, "k", "r");
    assert_eq!(f.store.accept_call(&again).await.unwrap(), Accepted::Before(first.id.clone()));
    assert!(f.store.get_call(&again.id).await.is_err(), "nothing was stored");
    assert_eq!(f.store.accept_call(&with(&route, "k", "r2")).await.unwrap(), Accepted::KeyOfOther);
    assert_eq!(f.store.accept_call(&with(&route, "k2", "r")).await.unwrap(), Accepted::New);
    assert_eq!(f.store.accept_call(&with(&other, "k", "r")).await.unwrap(), Accepted::New);
    assert_eq!(f.drain_outbox().await.len(), 3);

    let after = NewCall {
        idempotency: Some(IdempotencyKey { expires_at: f.after(120 * SECOND), ..key(&f, "k", "r") }),
        ..f.new_call(&app, &route)
    };
    f.clock.advance(60 * SECOND);
    assert_eq!(f.store.accept_call(&after).await.unwrap(), Accepted::New, "the window is over");
    let last = f.store.accept_call(&with(&route, "k", "r")).await.unwrap();
    assert_eq!(last, Accepted::Before(after.id));
}

/// They are stored together: each has an answer of its own.
pub async fn of_calls_at_one_time_each_key_has_one_and_one_without_a_version_fails_alone(f: Fixture) {
    let app = f.app("hello").await;
    let (route, doomed) = (f.ready_route(&app, "/hello").await, f.ready_route(&app, "/doomed").await);
    f.store.delete_route(&doomed.id).await.unwrap();
    let of = |route, number: usize| NewCall {
        idempotency: Some(key(&f, &format!("k{number}"), "r")),
        ..f.new_call(&app, route)
    };
    // Keys of before, of which the first ten are within their window.
    let old: Vec<_> = (0..10).map(|number| of(&route, number)).collect();
    for call in &old {
        f.store.accept_call(call).await.unwrap();
    }
    let over = |number| {
        let window = IdempotencyKey { expires_at: f.after(SECOND), ..key(&f, &format!("k{number}"), "r") };
        NewCall { idempotency: Some(window), ..f.new_call(&app, &route) }
    };
    for number in 10..20 {
        f.store.accept_call(&over(number)).await.unwrap();
    }
    f.clock.advance(2 * SECOND);
    let nameless = f.new_call(&app, &route);
    let gone = of(&doomed, 0);
    let calls: Vec<_> = (0..100).chain(0..100).map(|number| of(&route, number)).collect();
    let all = calls.iter().chain([&nameless, &gone]);
    let mut answers = futures_util::future::join_all(all.map(|call| f.store.accept_call(call))).await;
    assert!(matches!(answers.pop(), Some(Err(StoreError::NotFound))));
    assert!(matches!(answers.pop(), Some(Ok(Accepted::New))));
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    for number in 0..100 {
        let (one, two) = (&answers[number], &answers[number + 100]);
        let before = |call: &NewCall| Accepted::Before(call.id.clone());
        if let Some(old) = old.get(number) {
            assert_eq!((one, two), (&before(old), &before(old)), "k{number}");
        } else if *one == Accepted::New {
            assert_eq!(*two, before(&calls[number]), "k{number}");
        } else {
            assert_eq!((one, two), (&before(&calls[number + 100]), &Accepted::New), "k{number}");
        }
    }
    assert_eq!(f.drain_outbox().await.len(), 20 + 90 + 1);
}

pub async fn of_many_calls_at_one_time_with_one_key_one_is_stored(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let calls: Vec<_> = (0..32)
        .map(|_| NewCall { idempotency: Some(key(&f, "k", "r")), ..f.new_call(&app, &route) })
        .collect();
    let tasks: Vec<_> = calls
        .iter()
        .map(|call| {
            let (store, call) = (f.store.clone(), call.clone());
            tokio::spawn(async move { store.accept_call(&call).await })
        })
        .collect();
    let mut accepted = Vec::new();
    for task in tasks {
        accepted.push(task.await.unwrap().unwrap());
    }
    let stored = f.drain_outbox().await;
    assert_eq!(stored.len(), 1);
    for (call, accepted) in calls.iter().zip(accepted) {
        let expected = if call.id == stored[0] { Accepted::New } else { Accepted::Before(stored[0].clone()) };
        assert_eq!(accepted, expected);
    }
}

pub async fn keys_go_after_their_window_and_with_their_calls(f: Fixture) {
    let app = f.app("hello").await;
    let route = f.ready_route(&app, "/hello").await;
    let with = |name| NewCall { idempotency: Some(key(&f, name, "r")), ..f.new_call(&app, &route) };
    for name in ["a", "b", "c"] {
        f.store.accept_call(&with(name)).await.unwrap();
    }
    assert_eq!(f.store.delete_expired_keys(MANY).await.unwrap(), 0);
    f.clock.advance(60 * SECOND);
    let fresh = with("d");
    f.store.accept_call(&fresh).await.unwrap();
    assert_eq!(f.store.delete_expired_keys(2).await.unwrap(), 2);
    assert_eq!(f.store.delete_expired_keys(MANY).await.unwrap(), 1);

    end(&f, &fresh.id, CallState::Succeeded).await;
    let now = f.clock.advance(SECOND);
    assert_eq!(f.store.delete_ended_calls(now, MANY, MANY).await.unwrap(), 1);
    assert_eq!(f.store.accept_call(&with("d")).await.unwrap(), Accepted::New, "its call is gone");
}

async fn end(f: &Fixture, id: &CallId, state: CallState) {
    let owner = InstanceId::generate();
    f.store.claim_call(id, &owner, f.lease()).await.unwrap().unwrap();
    let outcome = CallOutcome { state, ..succeeded() };
    assert!(f.store.finish_call(id, &owner, &outcome, &CallOutput::default(), &[]).await.unwrap());
}

pub async fn many_dead_calls_are_retried_oldest_first_and_only_those_of_the_filter(f: Fixture) {
    let app = f.app("hello").await;
    let (route, other) = (f.ready_route(&app, "/hello").await, f.ready_route(&app, "/other").await);
    let mut dead = Vec::new();
    for (route, state) in [
        (&route, CallState::Dead),
        (&route, CallState::Dead),
        (&other, CallState::Dead),
        (&route, CallState::Failed),
        (&route, CallState::Succeeded),
        (&route, CallState::Dead),
    ] {
        let call = f.new_call(&app, route);
        f.store.accept_call(&call).await.unwrap();
        end(&f, &call.id, state).await;
        if route.pattern.as_str() == "/hello" && state == CallState::Dead {
            dead.push(call.id);
        }
        f.clock.advance(SECOND);
    }
    f.drain_outbox().await;
    let filter = CallFilter {
        project_id: demo(),
        app_name: Some(app.full_name.to_string()),
        route_path: Some("/hello".to_owned()),
        state: Some(CallState::Dead),
        since: None,
        after: None,
        limit: 2,
    };
    let retried = f.store.retry_calls(&filter).await.unwrap();
    assert_eq!(retried, RetriedCalls { queued: 2, more: true });
    assert_eq!(f.drain_outbox().await, dead[..2]);
    let retried = f.store.retry_calls(&filter).await.unwrap();
    assert_eq!(retried, RetriedCalls { queued: 1, more: false });
    let call = f.store.get_call(&dead[0]).await.unwrap();
    assert_eq!((call.state, call.failed_runs, call.due_at > Timestamp(0)), (CallState::Queued, 0, true));
    let any = CallFilter { state: None, limit: 100, ..filter };
    assert_eq!(f.store.retry_calls(&any).await.unwrap(), RetriedCalls { queued: 1, more: false });
}
