//! The worker: takes call ids from the queue, claims their rows, runs them, writes how they ended.
//!
//! At least once: a call is off the queue only after its row says that it ended, or that somebody
//! else holds it. A call that got no place, or met a fault of ours, goes back and is tried again.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use picasso_queue::Delivery;
use picasso_store::{ClaimedCall, Store, StoreError};
use picasso_types::{CallId, CallOutcome, CallState, Failure, RequestId};
use tokio::sync::Semaphore;

use crate::accept;
use crate::call_events::End;
use crate::catalog::Target;
use crate::engine::{Engine, Shared};
use crate::invocation::Invocation;
use crate::place::Place;

/// How long one look into the queue waits for work.
const RECEIVE_WAIT: Duration = Duration::from_secs(1);
/// How long to leave a queue or store alone that failed.
const FAULT_PAUSE: Duration = Duration::from_secs(1);

/// Runs until the engine stops; calls that it started are the engine's to wait for.
pub async fn run(engine: Engine) {
    let shared = engine.shared.clone();
    let settings = &shared.parts.settings;
    let places = Arc::new(Semaphore::new(settings.async_workers));
    while !shared.stopping.is_cancelled() {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => match place {
                Ok(place) => place,
                Err(_) => return,
            },
            () = shared.stopping.cancelled() => return,
        };
        let received = tokio::select! {
            received = shared.parts.queue.receive(1, settings.lease, RECEIVE_WAIT) => received,
            () = shared.stopping.cancelled() => return,
        };
        match received {
            Ok(deliveries) => {
                // At most one was asked for; its task keeps the place.
                let Some(delivery) = deliveries.into_iter().next() else { continue };
                let engine = engine.clone();
                shared.tasks.spawn(async move {
                    run_delivery(&engine, &delivery).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the queue cannot be read");
                tokio::select! {
                    () = tokio::time::sleep(FAULT_PAUSE) => {}
                    () = shared.stopping.cancelled() => return,
                }
            }
        }
    }
}

async fn run_delivery(engine: &Engine, delivery: &Delivery) {
    let shared = &engine.shared;
    match claim_and_run(engine, &delivery.call_id).await {
        Ok(()) => {
            if let Err(error) = shared.parts.queue.ack(delivery).await {
                // It will be delivered again, and the claim will find it finished.
                tracing::warn!(call_id = %delivery.call_id, error = &error as &dyn std::error::Error, "a finished call was not acknowledged");
            }
        }
        Err(error) => {
            tracing::error!(call_id = %delivery.call_id, error = &error as &dyn std::error::Error, "an asynchronous call stays in the queue");
        }
    }
}

async fn claim_and_run(engine: &Engine, id: &CallId) -> Result<(), StoreError> {
    let Shared { parts, .. } = &*engine.shared;
    let claimed = match parts.store.claim_call(id, &parts.instance, lease_end(&engine.shared)).await {
        Ok(Some(claimed)) => claimed,
        // Finished, or held by another process whose lease the sweeper watches.
        Ok(None) | Err(StoreError::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    };
    let give_up_at = claimed.call.created_at.plus(parts.settings.async_max_age);
    let end = match invocation_of(parts.store.as_ref(), claimed).await? {
        Some(invocation) => run_with_lease(engine, id, invocation).await,
        None => End::of(Failure::NotReady { reason: "its route was deleted".to_owned() }),
    };
    let now = parts.clock.now();
    if end.may_repeat && now < give_up_at {
        counter!("picasso_calls_released_total").increment(1);
        let not_before = now.plus(parts.settings.async_retry_delay);
        parts.store.release_call(id, &parts.instance, not_before).await?;
        engine.shared.accepted.notify_one();
    } else if !parts.store.finish_call(id, &parts.instance, &outcome(end)).await? {
        tracing::warn!(call_id = %id, "the lease of a call was lost while it ran; it may run twice");
    }
    Ok(())
}

/// Runs the call, extending its lease all the while; its output is for nobody yet.
async fn run_with_lease(engine: &Engine, id: &CallId, invocation: Invocation) -> End {
    let Shared { parts, .. } = &*engine.shared;
    let mut end = std::pin::pin!(engine.run_to_end(invocation));
    let mut beat = tokio::time::interval(parts.settings.lease / 3);
    // The claim has just set the lease: the first beat, which would be now, is not needed.
    beat.reset();
    loop {
        tokio::select! {
            end = &mut end => return end,
            _ = beat.tick() => {
                match parts.store.extend_lease(id, &parts.instance, lease_end(&engine.shared)).await {
                    Ok(true) => {}
                    Ok(false) => tracing::warn!(call_id = %id, "the lease of a running call is lost"),
                    Err(error) => tracing::warn!(call_id = %id, error = &error as &dyn std::error::Error, "a lease cannot be extended"),
                }
            }
        }
    }
}

fn lease_end(shared: &Shared) -> picasso_types::Timestamp {
    shared.parts.clock.now().plus(shared.parts.settings.lease)
}

/// Builds the invocation of a stored call with the version it was accepted for; `None` when
/// route or app are gone.
async fn invocation_of(store: &dyn Store, claimed: ClaimedCall) -> Result<Option<Invocation>, StoreError> {
    let ClaimedCall { call, envelope, payload } = claimed;
    let found = async {
        let app = store.get_app_by_id(&call.app_id).await?;
        let route = store.get_route_by_id(&call.route_id).await?;
        let version = store.get_version(&call.version_id).await?;
        Ok::<_, StoreError>((app, route, version))
    };
    let (app, route, version) = match found.await {
        Ok(found) => found,
        Err(StoreError::NotFound) => return Ok(None),
        Err(error) => return Err(error),
    };
    let request = accept::stored_request(&envelope)
        .ok_or(StoreError::Damaged { what: "envelope", detail: format!("call {}", call.id) })?;
    let target = Arc::new(Target {
        app: Arc::new(app),
        route: Arc::new(route),
        version: Some(Arc::new(version)),
        place: Place::default(),
    });
    let payload = bytes::Bytes::from(payload);
    Ok(Some(Invocation {
        call_id: call.id.clone(),
        request_id: RequestId::stored(&call.request_id),
        trigger: call.trigger,
        // Nobody waits at the other end.
        client: None,
        target,
        method: request.method,
        url: request.url,
        headers: request.headers,
        params: request.params,
        body: Box::pin(futures_util::stream::once(async { Ok(payload) })),
    }))
}

fn outcome(end: End) -> CallOutcome {
    CallOutcome {
        state: match &end.failure {
            None => CallState::Succeeded,
            Some(Failure::Timeout { .. }) => CallState::TimedOut,
            Some(_) => CallState::Failed,
        },
        failure: end.failure,
        exit_code: end.exit_code,
        memory_peak_bytes: end.memory_peak_bytes,
    }
}
