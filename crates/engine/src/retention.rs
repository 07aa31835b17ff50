//! The end of calls' records: past their time, or beyond their project's bound, they are deleted.
//! So are idempotency keys whose window is over, and the notes that something changed, once nobody
//! follows them any more.

use std::time::Duration;

use crate::engine::Engine;

/// How often old calls are looked for.
const EVERY: Duration = Duration::from_mins(1);
/// How long changes are kept for followers; one that was away longer counts everything as changed.
const KEEP_CHANGES: Duration = Duration::from_hours(1);
/// Calls of one transaction, so that accepted calls do not wait behind them.
const BATCH: u32 = 256;

/// Runs until the engine stops.
pub(crate) async fn run(engine: Engine) {
    let shared = &engine.shared;
    while !shared.stopping.is_cancelled() {
        delete_old(&engine).await;
        delete_changes(&engine).await;
        delete_expired_keys(&engine).await;
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
}

async fn delete_old(engine: &Engine) {
    let shared = &engine.shared;
    let (parts, keeping) = (&shared.parts, &shared.parts.settings.calls);
    let keep = i64::try_from(keeping.keep.as_micros()).unwrap_or(i64::MAX);
    let before = parts.clock.now().plus_micros(-keep);
    while !shared.stopping.is_cancelled() {
        match parts.store.delete_ended_calls(before, keeping.max_per_project, BATCH).await {
            Ok(deleted) if deleted < u64::from(BATCH) => return,
            Ok(_) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::warn!(error, "old calls cannot be deleted");
            }
        }
    }
}

async fn delete_changes(engine: &Engine) {
    let parts = &engine.shared.parts;
    let keep = i64::try_from(KEEP_CHANGES.as_micros()).unwrap_or(i64::MAX);
    if let Err(error) = parts.store.delete_changes(parts.clock.now().plus_micros(-keep)).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "old changes cannot be deleted");
    }
}

/// Those whose window is over; the others go with their calls.
async fn delete_expired_keys(engine: &Engine) {
    let shared = &engine.shared;
    while !shared.stopping.is_cancelled() {
        match shared.parts.store.delete_expired_keys(BATCH).await {
            Ok(deleted) if deleted < u64::from(BATCH) => return,
            Ok(_) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::warn!(error, "old idempotency keys cannot be deleted");
            }
        }
    }
}
