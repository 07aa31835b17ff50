//! The end of calls' records, results and logs: past their time, or beyond their project's bound,
//! they are deleted, and the objects that no call has (any more) are removed.
//! So are versions of routes that nobody needs, idempotency keys whose window is over, and the notes that something changed, once nobody
//! follows them any more.

use std::time::Duration;

use metrics::counter;
use picasso_store::StoreError;
use picasso_types::{RemovableObject, Resource};

use crate::engine::Engine;
use crate::large_outputs::{Cause, LargeOutputs};

/// How long changes are kept for followers; one that was away longer counts everything as changed.
const KEEP_CHANGES: Duration = Duration::from_hours(1);
/// Calls of one transaction, so that accepted calls do not wait behind them.
const BATCH: u32 = 256;
/// Projects whose results and logs are measured at one time.
const PROJECTS: u32 = 1000;

/// Runs until the engine stops.
pub(crate) async fn run(engine: Engine) {
    let shared = &engine.shared;
    while !shared.stopping.is_cancelled() {
        delete_old(&engine).await;
        delete_outputs_beyond(&engine).await;
        remove_objects(&engine).await;
        delete_old_versions(&engine).await;
        delete_changes(&engine).await;
        delete_expired_keys(&engine).await;
        tokio::select! {
            () = tokio::time::sleep(shared.parts.settings.retention_interval) => {}
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

/// What a project keeps beyond its limit goes; its calls stay. The projects that keep most come
/// first.
async fn delete_outputs_beyond(engine: &Engine) {
    let shared = &engine.shared;
    let parts = &shared.parts;
    let warn = |error: &StoreError| {
        let error = error as &dyn std::error::Error;
        tracing::warn!(error, "results and logs beyond the limits of projects cannot be deleted");
    };
    let kept = match parts.store.list_kept_outputs(PROJECTS).await {
        Ok(kept) => kept,
        Err(error) => return warn(&error),
    };
    for kept in kept {
        let max_bytes = parts.limits.of(&kept.project_id).await.of(Resource::Outputs).max_bytes();
        let mut is_over = kept.bytes > max_bytes;
        while is_over && !shared.stopping.is_cancelled() {
            match parts.store.delete_outputs_beyond(&kept.project_id, max_bytes, BATCH).await {
                Ok(deleted) => is_over = deleted == u64::from(BATCH),
                Err(error) => return warn(&error),
            }
        }
    }
}

/// Objects of calls that are gone or were retried, and what a process that died was writing.
async fn remove_objects(engine: &Engine) {
    let shared = &engine.shared;
    let Some(large) = &shared.large else { return };
    while !shared.stopping.is_cancelled() {
        let removable = shared.parts.store.list_removable_objects(&shared.parts.instance, BATCH).await;
        let removed = match &removable {
            Ok(objects) => remove_all(large, objects).await,
            Err(error) => Err(error.to_string().into()),
        };
        if let Err(error) = removed {
            let error = &*error as &dyn std::error::Error;
            return tracing::warn!(error, "objects of old calls cannot be removed yet");
        }
        if removable.is_ok_and(|objects| objects.len() < BATCH as usize) {
            return;
        }
    }
}

async fn remove_all(large: &LargeOutputs, objects: &[RemovableObject]) -> Result<(), Cause> {
    for object in objects {
        large.remove(object).await?;
        counter!("picasso_output_objects_removed_total").increment(1);
    }
    Ok(())
}

/// Versions of routes beyond those that are kept; their images go when they are next collected.
async fn delete_old_versions(engine: &Engine) {
    let shared = &engine.shared;
    let parts = &shared.parts;
    while !shared.stopping.is_cancelled() {
        match parts.store.delete_old_versions(parts.settings.max_kept_versions, BATCH).await {
            Ok(0) => return,
            Ok(deleted) => {
                counter!("picasso_versions_deleted_total").increment(deleted);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                return tracing::warn!(error, "old versions cannot be deleted");
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
