//! Draining a queue: how fast a hot function that does nothing runs it when asynchronous calls may use
//! the whole machine, and what callers who wait notice of it when they may use the default share.

use std::time::Instant;

use crate::http::Caller;
use crate::queued::{Backend, LATER, NOW, call_all, ended, number, succeeded};
use crate::report::Report;
use crate::stage::Fault;

/// Callers that fill the queue.
const CALLERS: u32 = 64;
/// Calls of the one who waits.
const SYNC_CALLS: u32 = 2000;

/// Measures and publishes `drain.json`. `BENCH_DRAIN_CALLS`: calls of each of 64 callers, 500.
pub async fn measure() -> Result<(), Fault> {
    let each = number("BENCH_DRAIN_CALLS", 500)?;
    let mut report = Report::new("drain");
    whole_machine(&mut report, each).await?;
    beside(&mut report, each).await?;
    report.publish()?;
    Ok(())
}

/// One project alone may use all places.
async fn whole_machine(report: &mut Report, each: u32) -> Result<(), Fault> {
    let backend = Backend::sqlite();
    let alone = "async_share_percent = 100\nworkers = 64\n[engine]\nproject_share_percent = 100\n";
    let stage = backend.stage(alone).await?;
    let url = stage.public(LATER);
    tokio::task::block_in_place(|| call_all(&url, CALLERS, 5))?;
    ended(&stage, f64::from(CALLERS * 5)).await?;
    tokio::task::block_in_place(|| call_all(&url, CALLERS, each))?;
    // What has run while the queue was filled does not count.
    let (began, before) = (Instant::now(), succeeded(&stage).await);
    let all = f64::from(CALLERS * (each + 5));
    ended(&stage, all).await?;
    report.figure("calls that waited when the last was accepted", all - before, "calls");
    report.figure("drained, whole machine", (all - before) / began.elapsed().as_secs_f64(), "calls/s");
    Ok(())
}

async fn beside(report: &mut Report, each: u32) -> Result<(), Fault> {
    let backend = Backend::sqlite();
    let stage = backend.stage("").await?;
    let mut waiting = Caller::connect(&stage.public(NOW), &[], "")?;
    tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;
    let idle = tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;
    let url = stage.public(LATER);
    tokio::task::block_in_place(|| call_all(&url, CALLERS, each))?;
    let (began, before) = (Instant::now(), succeeded(&stage).await);
    let beside = tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;
    let drained = succeeded(&stage).await - before - f64::from(SYNC_CALLS);
    let left = stage.cloud.metric("picasso_calls_queued").await;
    if left < 1.0 {
        return Err("the queue was empty before the measurement ended: raise BENCH_DRAIN_CALLS".into());
    }
    report.row("a call that is waited for, nothing else", idle);
    report.row("the same while a queue drains at the default share", beside);
    report.figure("drained meanwhile", drained / began.elapsed().as_secs_f64(), "calls/s");
    report.figure("p99 of the waiting caller, draining / idle", beside.p99_ms / idle.p99_ms, "times");
    Ok(())
}
