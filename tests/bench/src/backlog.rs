//! A long queue: what it costs in memory, and whether the next call is accepted as fast as the first.

use crate::http::Caller;
use crate::memory::{megabytes, rss_kib, server_processes};
use crate::queued::{Backend, MUCH_LATER, call_all, number};
use crate::report::Report;
use crate::stage::Fault;

/// Callers that fill the queue.
const CALLERS: u32 = 64;
/// Calls of one who is alone.
const ALONE: u32 = 1000;

/// Measures and publishes `backlog.json`. `BENCH_BACKLOG_CALLS`: how many wait, 1,000,000.
pub async fn measure() -> Result<(), Fault> {
    let calls = number("BENCH_BACKLOG_CALLS", 1_000_000)?;
    let backend = Backend::sqlite();
    // Nothing is due: all of it waits in the outbox as long as this takes.
    let stage = backend.stage("").await?;
    let url = stage.public(MUCH_LATER);
    let engine = stage.cloud.picasso.engine_pid().ok_or("no engine")?;
    let mut one = Caller::connect(&url, &[], "")?;
    tokio::task::block_in_place(|| one.latency(ALONE))?;
    let empty = tokio::task::block_in_place(|| one.latency(ALONE))?;
    let (_, took) = tokio::task::block_in_place(|| call_all(&url, CALLERS, calls / CALLERS))?;
    // The server has closed the first connection, which was idle all the while.
    let mut one = Caller::connect(&url, &[], "")?;
    tokio::task::block_in_place(|| one.latency(ALONE))?;
    let full = tokio::task::block_in_place(|| one.latency(ALONE))?;
    let all = server_processes(&stage.cloud.picasso).into_iter().map(rss_kib).sum();

    let mut report = Report::new("backlog");
    report.row("accept, one caller, empty queue", empty);
    report.row("accept, one caller, long queue", full);
    report.figure("queued", stage.cloud.metric("picasso_calls_queued").await, "calls");
    report.figure("accepted meanwhile, 64 callers", f64::from(calls) / took.as_secs_f64(), "calls/s");
    report.figure("p50, long / empty", full.p50_ms / empty.p50_ms, "times");
    report.figure("RSS of the engine", megabytes(rss_kib(engine)), "MB");
    report.figure("RSS of all processes of the server", megabytes(all), "MB");
    report.publish()?;
    Ok(())
}
