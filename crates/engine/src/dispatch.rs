//! Dispatch: hands accepted calls from the store's outbox to the queue, and sweeps what was lost.

use std::time::Duration;

use picasso_queue::Dispatch;

use crate::engine::Engine;

/// The outbox is looked at this often even when nobody said that a call was accepted: a call may
/// have become due, or another process accepted one and died.
const POLL: Duration = Duration::from_millis(250);
/// How long to leave a queue or store alone that failed.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// Entries moved at one time.
const BATCH: u32 = 256;
/// A due call without outbox entry is taken for lost after this time.
const LOST_AFTER_MICROS: i64 = 60_000_000;
/// How often lost calls are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Runs until the engine stops.
pub async fn run(engine: Engine) {
    let shared = &engine.shared;
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shared.accepted.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = sweep.tick() => sweep_lost(&engine).await,
            () = shared.stopping.cancelled() => return,
        }
        loop {
            match move_batch(&engine).await {
                Moved::More => {}
                Moved::All => break,
                Moved::Failed => {
                    tokio::select! {
                        () = tokio::time::sleep(FAULT_PAUSE) => break,
                        () = shared.stopping.cancelled() => return,
                    }
                }
            }
        }
    }
}

enum Moved {
    /// There may be more.
    More,
    All,
    Failed,
}

/// Moves one batch.
async fn move_batch(engine: &Engine) -> Moved {
    let parts = &engine.shared.parts;
    let entries = match parts.store.list_outbox(BATCH).await {
        Ok(entries) if entries.is_empty() => return Moved::All,
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the outbox cannot be read");
            return Moved::Failed;
        }
    };
    let dispatches: Vec<_> = entries
        .iter()
        .map(|entry| Dispatch { call_id: entry.call_id.clone(), priority: entry.priority })
        .collect();
    // Published first, deleted second: dying in between publishes twice, which a claim stops.
    if let Err(error) = parts.queue.publish(&dispatches).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the queue does not take calls");
        return Moved::Failed;
    }
    let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
    if let Err(error) = parts.store.delete_outbox(&numbers).await {
        tracing::error!(error = &error as &dyn std::error::Error, "the outbox cannot be cleared");
        return Moved::Failed;
    }
    if entries.len() == BATCH as usize { Moved::More } else { Moved::All }
}

async fn sweep_lost(engine: &Engine) {
    let parts = &engine.shared.parts;
    match parts.store.sweep_calls(parts.clock.now().plus_micros(-LOST_AFTER_MICROS)).await {
        Ok(0) => {}
        Ok(calls) => tracing::warn!(calls, "lost calls were put back into the queue"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "lost calls cannot be looked for");
        }
    }
}
