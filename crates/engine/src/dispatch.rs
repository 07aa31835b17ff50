//! Dispatch: hands due calls from the store's outbox to the queue, as many as the workers are about to
//! run, and sweeps what was lost.
//!
//! The outbox is the backlog. A call's entry stays there until the call is claimed; what is taken and
//! published is a window of it for each project, so that a broker never holds more than that.

use std::collections::BTreeMap;
use std::time::Duration;

use picasso_queue::Dispatch;
use picasso_store::{OutboxEntry, OutboxTake};
use picasso_types::{CallId, ProjectId};

use crate::engine::Engine;
use crate::failpoints;
use crate::lanes::WINDOW;

/// The outbox is looked at this often even when nobody said that there is something: a call may have
/// become due, or another process accepted one and died.
const POLL: Duration = Duration::from_millis(250);
/// How long to leave a queue or store alone that failed.
const FAULT_PAUSE: Duration = Duration::from_secs(1);
/// Entries taken at one time.
const BATCH: u32 = 512;
/// How often calls are looked for whose lease ended.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// Runs until the engine stops.
pub async fn run(engine: Engine) {
    let shared = &engine.shared;
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut after = None;
    loop {
        tokio::select! {
            () = shared.accepted.notified() => {}
            () = shared.lanes.low.notified() => {}
            () = tokio::time::sleep(POLL) => {}
            _ = sweep.tick() => sweep_lost(&engine).await,
            () = shared.stopping.cancelled() => return,
        }
        while !shared.stopping.is_cancelled() {
            match move_batch(&engine, &mut after).await {
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

/// Takes one batch and publishes it.
async fn move_batch(engine: &Engine, after: &mut Option<ProjectId>) -> Moved {
    let shared = &engine.shared;
    let (parts, lanes) = (&shared.parts, &shared.lanes);
    let take = OutboxTake {
        taken_by: parts.instance.clone(),
        // As long as a lease: in this time whoever holds an id has claimed it, or is dead.
        until: parts.clock.now().plus(parts.settings.lease),
        limit: BATCH,
        window: WINDOW,
        per_project: lanes.usual(),
        wanted: lanes.wanted(),
        after: after.clone(),
    };
    let batch = match parts.store.take_outbox(&take).await {
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the outbox cannot be read");
            return Moved::Failed;
        }
    };
    *after = batch.after;
    if !publish(engine, batch.entries).await {
        return Moved::Failed;
    }
    if batch.more { Moved::More } else { Moved::All }
}

/// Taken first, published second: dying in between leaves entries that wait again after a while.
async fn publish(engine: &Engine, entries: Vec<OutboxEntry>) -> bool {
    let shared = &engine.shared;
    let mut projects: BTreeMap<&ProjectId, u32> = BTreeMap::new();
    for entry in &entries {
        *projects.entry(&entry.project_id).or_default() += 1;
    }
    for (project, calls) in projects {
        shared.lanes.expect(project, calls);
    }
    let dispatches: Vec<_> = entries
        .into_iter()
        .map(|OutboxEntry { call_id, project_id, priority }| Dispatch { call_id, project_id, priority })
        .collect();
    if dispatches.is_empty() {
        return true;
    }
    failpoints::reached(failpoints::TAKEN);
    let Err(error) = shared.parts.queue.publish(&dispatches).await else {
        failpoints::reached(failpoints::PUBLISHED);
        return true;
    };
    tracing::error!(error = &error as &dyn std::error::Error, "the queue does not take calls");
    let calls: Vec<CallId> = dispatches.into_iter().map(|dispatch| dispatch.call_id).collect();
    give_back(engine, &calls).await;
    false
}

/// Calls that were taken and are not going to run here wait again at once.
pub(crate) async fn give_back(engine: &Engine, calls: &[CallId]) {
    if let Err(error) = engine.shared.parts.store.return_outbox(calls).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, calls = calls.len(), "calls wait longer than needed for their turn");
    }
}

async fn sweep_lost(engine: &Engine) {
    match engine.shared.parts.store.sweep_calls().await {
        Ok(0) => {}
        Ok(calls) => tracing::warn!(calls, "calls of processes that ended were put back into the outbox"),
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "lost calls cannot be looked for");
        }
    }
}

#[cfg(test)]
mod tests {
    use picasso_store::Store as _;

    use crate::accept::AcceptOptions;
    use crate::hot::tests::fake::Bench;

    #[tokio::test(flavor = "multi_thread")]
    async fn accepted_calls_go_through_outbox_and_queue_and_end() {
        let bench = Bench::new().await;
        let target = bench.function(|_| ()).await;
        let mut ids = Vec::new();
        for _ in 0..100 {
            let call = Bench::invocation(&target, "answer");
            ids.push(bench.engine.accept(call, AcceptOptions::default()).await.unwrap().id);
        }
        let end = async {
            for id in &ids {
                while !bench.store.get_call(id).await.unwrap().state.is_final() {
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                }
            }
        };
        assert!(tokio::time::timeout(std::time::Duration::from_mins(2), end).await.is_ok(), "a call waits");
        assert_eq!(bench.store.count_queued().await.unwrap(), [], "no entry outlives its call");
        bench.finish().await;
    }
}
