//! The worker: takes call ids from the queue into the lines of their projects, claims their rows when
//! there is a place, runs them, writes how they ended.
//!
//! At least once. An id is acknowledged as soon as it is in its line: from then on it is the call's
//! outbox entry that brings it back when this process dies, and from the claim on the row's lease. What
//! a run's end leads to is decided in `run_end.rs`.

use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use picasso_queue::Delivery;
use picasso_store::{ClaimedCall, Lease, StoreError};
use picasso_types::{Call, CallId, CallOutcome, CallOutput, CallState, Failure, RequestId, random};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::accept;
use crate::call_events::End;
use crate::cpu_share::{CpuShare, used_cpu};
use crate::deliverer::Sender;
use crate::dispatch::give_back;
use crate::engine::{Engine, Shared};
use crate::failpoints;
use crate::invocation::Invocation;
use crate::kept_output::KeptOutput;
use crate::lanes::{Offered, RunPlace};
use crate::large_outputs::OutputOf;
use crate::run_end::{self, Next};
use crate::running_calls::RunningCall;
use crate::version_targets::VersionTargets;

/// How long one look into the queue waits for work.
const RECEIVE_WAIT: Duration = Duration::from_secs(1);
/// Most ids that are taken from the queue at one time.
const RECEIVE: usize = 256;
/// How long to leave a queue or store alone that failed, or lines that are full.
const PAUSE: Duration = Duration::from_secs(1);
/// Ended calls whose outcome is being written; with more of them no further call starts.
const ENDING: usize = 256;

/// No run is longer: what it stored and no call took is nobody's by then.
const LONGEST_RUN: Duration = Duration::from_hours(24);
/// What is remembered of an answer for a callback or a report, bytes.
const SENT_HEAD: usize = 1 << 20;

/// Runs until the engine stops; calls that it started are the engine's to wait for.
pub async fn run(engine: Engine) {
    tokio::join!(receive(&engine), start_calls(&engine));
    // What waits here may run elsewhere, or after the restart.
    give_back(&engine, &engine.shared.lanes.clear()).await;
}

/// Takes ids from the queue into their lines.
async fn receive(engine: &Engine) {
    let shared = &engine.shared;
    while !shared.stopping.is_cancelled() {
        let room = shared.lanes.room().min(RECEIVE);
        let received = tokio::select! {
            received = shared.parts.queue.receive(u32::try_from(room).unwrap_or(0), RECEIVE_WAIT) => received,
            () = shared.stopping.cancelled() => return,
        };
        let failed = match received {
            Ok(deliveries) => {
                line_up(engine, &deliveries).await;
                room == 0
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the queue cannot be read");
                true
            }
        };
        if failed {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shared.stopping.cancelled() => return,
            }
        }
    }
}

/// Puts ids into their lines and takes them off the queue.
async fn line_up(engine: &Engine, deliveries: &[Delivery]) {
    let Shared { parts, lanes, .. } = &*engine.shared;
    let mut no_room = Vec::new();
    for delivery in deliveries {
        match lanes.offer(delivery) {
            // One that runs here already may have been published again after it was given back.
            Offered::Taken | Offered::Known => {}
            Offered::NoRoom => no_room.push(delivery.call_id.clone()),
        }
    }
    if !no_room.is_empty() {
        give_back(engine, &no_room).await;
    }
    if !deliveries.is_empty() {
        failpoints::reached(failpoints::RECEIVED);
    }
    if let Err(error) = parts.queue.ack(deliveries).await {
        // They will be delivered again, and are known or claimed by then.
        tracing::warn!(error = &error as &dyn std::error::Error, "ids were not acknowledged");
    }
    if !deliveries.is_empty() {
        failpoints::reached(failpoints::ACKED);
    }
}

/// Starts what is next whenever there is a place for it and CPU to spare.
async fn start_calls(engine: &Engine) {
    let Shared { parts, lanes, stopping, tasks, .. } = &*engine.shared;
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
    let mut share = CpuShare::new(parts.settings.async_cpu_percent, cpus as f64, used_cpu(), Instant::now());
    let ending = Arc::new(Semaphore::new(ENDING));
    let targets = Arc::new(VersionTargets::default());
    while !stopping.is_cancelled() {
        // Registered before looking: what changes in between is not missed.
        let changed = lanes.changed.notified();
        let mut wait = Duration::ZERO;
        while let Some(place) = lanes.next_if(|| {
            wait = share.as_mut().map_or(Duration::ZERO, |share| share.wait(used_cpu(), Instant::now()));
            wait.is_zero()
        }) {
            let (engine, targets, ending) = (engine.clone(), targets.clone(), ending.clone());
            tasks.spawn(async move { run_next(&engine, &targets, &ending, place).await });
        }
        let paced = async { if wait.is_zero() { changed.await } else { tokio::time::sleep(wait).await } };
        tokio::select! {
            () = paced => {}
            () = stopping.cancelled() => return,
        }
    }
}

async fn run_next(engine: &Engine, targets: &VersionTargets, ending: &Semaphore, place: RunPlace) {
    let Shared { parts, back_pressure, .. } = &*engine.shared;
    let id = &place.call_id().clone();
    let claimed = match parts.store.claim_call(id, &parts.instance, lease_end(&engine.shared)).await {
        Ok(claimed) => claimed,
        Err(StoreError::NotFound) => None,
        Err(error) => {
            tracing::error!(call_id = %id, error = &error as &dyn std::error::Error, "an asynchronous call stays in the outbox");
            return tokio::time::sleep(PAUSE).await;
        }
    };
    // Finished, cancelled, or held by another process.
    let Some(claimed) = claimed else { return };
    failpoints::reached(failpoints::CLAIMED);
    back_pressure.claimed(&claimed.call.project_id);
    if let Err(error) = run_claimed(engine, targets, ending, place, claimed).await {
        tracing::error!(call_id = %id, error = &error as &dyn std::error::Error, "an asynchronous call runs again when its lease has ended");
    }
}

async fn run_claimed(
    engine: &Engine,
    targets: &VersionTargets,
    ending: &Semaphore,
    place: RunPlace,
    claimed: ClaimedCall,
) -> Result<(), StoreError> {
    let Shared { parts, .. } = &*engine.shared;
    let id = &place.call_id().clone();
    let call = claimed.call.clone();
    let sender = Sender::of(&claimed, &parts.settings.deliveries);
    let output = Arc::new(kept_output(&engine.shared, &call, sender.as_ref()));
    let next = match run_end::before_run(&call, &parts.settings, parts.clock.now()) {
        Some(outcome) => Next::Finish(outcome),
        None => {
            let end = match invocation_of(engine, targets, claimed, &output).await? {
                Some(invocation) => run_with_lease(engine, id, invocation, &output).await,
                None => Some(End::of(Failure::NotReady {
                    reason: "its route was deleted, or its version is not kept any more".to_owned(),
                })),
            };
            run_end::after_run(&call, end, &parts.settings, parts.clock.now(), random::fraction())
        }
    };
    failpoints::reached(failpoints::RAN);
    let kept = match &next {
        Next::Finish(_) => output.close().await,
        Next::Release(_) | Next::Repeat(..) => {
            output.abandon().await;
            CallOutput::default()
        }
    };
    // The next call runs while this one's outcome is written.
    let _ending = ending.acquire().await;
    drop(place);
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
    let deliveries = sender.map(|sender| sender.deliveries(&outcome, &output, parts.clock.now()));
    let deliveries = deliveries.unwrap_or_default();
    if !parts.store.finish_call(id, &parts.instance, &outcome, &kept, &deliveries).await? {
        let ids: Vec<_> = kept.objects.into_iter().map(|object| object.id).collect();
        parts.store.abandon_objects(&ids).await?;
        tracing::warn!(call_id = %id, "the lease of a call was lost while it ran; it may run twice");
    }
    failpoints::reached(failpoints::RECORDED);
    if !deliveries.is_empty() {
        engine.shared.deliveries_due.notify_one();
    }
    Ok(())
}

fn kept_output(shared: &Shared, call: &Call, sender: Option<&Sender>) -> KeptOutput {
    let Shared { parts, large, .. } = shared;
    let of = OutputOf {
        call: call.id.clone(),
        project: call.project_id.clone(),
        remove_after: parts.clock.now().plus(LONGEST_RUN),
    };
    let head = if sender.is_some() { SENT_HEAD } else { 0 };
    KeptOutput::new(&parts.settings.calls, parts.clock.clone(), &of, large.as_ref(), head)
        .with_headers(sender.is_some_and(Sender::has_callback))
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
    engine: &Engine,
    targets: &VersionTargets,
    claimed: ClaimedCall,
    output: &Arc<KeptOutput>,
) -> Result<Option<Invocation>, StoreError> {
    let ClaimedCall { call, envelope, payload } = claimed;
    let Some(target) = targets.find(engine.shared.parts.store.as_ref(), &call).await? else {
        return Ok(None);
    };
    let request = accept::stored_request(&envelope)
        .ok_or(StoreError::Damaged { what: "envelope", detail: format!("call {}", call.id) })?;
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
