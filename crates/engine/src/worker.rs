//! The worker: takes call ids from the queue, claims their rows, runs them, writes how they ended.
//!
//! At least once: a call is off the queue only after its row says that somebody holds it, or that it
//! ended. From then on the row's lease speaks for it: where that ends, the sweep puts the call back.
//! What a run's end leads to is decided in `run_end.rs`.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use picasso_queue::Delivery;
use picasso_store::{ClaimedCall, Lease, Store, StoreError};
use picasso_types::{CallId, CallOutcome, CallState, Failure, RequestId, random};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::accept;
use crate::call_events::End;
use crate::catalog::Target;
use crate::deliverer::Sender;
use crate::engine::{Engine, Shared};
use crate::invocation::Invocation;
use crate::kept_output::KeptOutput;
use crate::place::Place;
use crate::run_end::{self, Next};
use crate::running_calls::RunningCall;

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
            received = shared.parts.queue.receive(1, RECEIVE_WAIT) => received,
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
    let Shared { parts, .. } = &*engine.shared;
    let id = &delivery.call_id;
    let claimed = match parts.store.claim_call(id, &parts.instance, lease_end(&engine.shared)).await {
        Ok(claimed) => claimed,
        Err(StoreError::NotFound) => None,
        Err(error) => {
            tracing::error!(call_id = %id, error = &error as &dyn std::error::Error, "an asynchronous call stays in the queue");
            return;
        }
    };
    let acknowledge = async {
        if let Err(error) = parts.queue.ack(delivery).await {
            // It will be delivered again, and the claim will find it held or finished.
            tracing::warn!(call_id = %id, error = &error as &dyn std::error::Error, "a claimed call was not acknowledged");
        }
    };
    // Finished, or held by another process whose lease the sweeper watches.
    let Some(claimed) = claimed else { return acknowledge.await };
    let ((), ran) = tokio::join!(acknowledge, run_claimed(engine, id, claimed));
    if let Err(error) = ran {
        tracing::error!(call_id = %id, error = &error as &dyn std::error::Error, "an asynchronous call runs again when its lease has ended");
    }
}

async fn run_claimed(engine: &Engine, id: &CallId, claimed: ClaimedCall) -> Result<(), StoreError> {
    let Shared { parts, .. } = &*engine.shared;
    let call = claimed.call.clone();
    let sender = Sender::of(&claimed, parts.settings.deliveries.max_payload_bytes);
    let output = Arc::new(KeptOutput::new(&parts.settings.calls, parts.clock.clone()));
    let next = match run_end::before_run(&call, &parts.settings, parts.clock.now()) {
        Some(outcome) => Next::Finish(outcome),
        None => {
            let end = match invocation_of(parts.store.as_ref(), claimed, &output).await? {
                Some(invocation) => run_with_lease(engine, id, invocation, &output).await,
                None => Some(End::of(Failure::NotReady { reason: "its route was deleted".to_owned() })),
            };
            run_end::after_run(&call, end, &parts.settings, parts.clock.now(), random::fraction())
        }
    };
    let outcome = match next {
        Next::Finish(outcome) => {
            CallOutcome { cold_start: outcome.cold_start.or_else(|| output.cold_start()), ..outcome }
        }
        Next::Release(not_before) => {
            counter!("picasso_calls_released_total").increment(1);
            parts.store.release_call(id, &parts.instance, not_before).await?;
            engine.shared.accepted.notify_one();
            return Ok(());
        }
        Next::Repeat(not_before, failure) => {
            counter!("picasso_calls_repeated_total").increment(1);
            parts.store.repeat_call(id, &parts.instance, not_before, &failure).await?;
            engine.shared.accepted.notify_one();
            return Ok(());
        }
    };
    if outcome.state == CallState::Dead {
        counter!("picasso_calls_dead_total").increment(1);
    }
    let deliveries = sender.map(|sender| sender.deliveries(&outcome, &output.result(), parts.clock.now()));
    let deliveries = deliveries.unwrap_or_default();
    if !parts.store.finish_call(id, &parts.instance, &outcome, &output.encode(), &deliveries).await? {
        tracing::warn!(call_id = %id, "the lease of a call was lost while it ran; it may run twice");
    }
    if !deliveries.is_empty() {
        engine.shared.deliveries_due.notify_one();
    }
    Ok(())
}

/// Runs the call, extending its lease all the while; `None` when it was cancelled.
async fn run_with_lease(
    engine: &Engine,
    id: &CallId,
    invocation: Invocation,
    output: &Arc<KeptOutput>,
) -> Option<End> {
    let Shared { parts, running, .. } = &*engine.shared;
    let cancel = CancellationToken::new();
    let _entered = running.enter(id, RunningCall { output: output.clone(), cancel: cancel.clone() });
    // Dropped when it is cancelled, which ends the function.
    let mut end = std::pin::pin!(engine.run_to_end(invocation));
    let mut beat = tokio::time::interval(parts.settings.lease / 3);
    // The claim has just set the lease: the first beat, which would be now, is not needed.
    beat.reset();
    loop {
        tokio::select! {
            end = &mut end => return Some(end),
            () = cancel.cancelled() => return None,
            _ = beat.tick() => {
                match parts.store.extend_lease(id, &parts.instance, lease_end(&engine.shared)).await {
                    Ok(Lease::Held) => {}
                    Ok(Lease::CancelRequested) => return None,
                    Ok(Lease::Lost) => tracing::warn!(call_id = %id, "the lease of a running call is lost"),
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
async fn invocation_of(
    store: &dyn Store,
    claimed: ClaimedCall,
    output: &Arc<KeptOutput>,
) -> Result<Option<Invocation>, StoreError> {
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
        depth: call.depth,
        body: Box::pin(futures_util::stream::once(async { Ok(payload) })),
        kept: Some(output.clone()),
    }))
}
