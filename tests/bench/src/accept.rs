//! Asynchronous calls: how many a second are accepted, each on disk before its answer; how fast
//! they are run by a hot function that does nothing; and what callers who wait notice of it.

use std::io;
use std::time::{Duration, Instant};

use picasso_testkit::process::wait_until;
use serde_json::json;

use crate::http::Caller;
use crate::memory::{megabytes, rss_kib};
use crate::report::Report;
use crate::samples::{Samples, Summary};
use crate::stage::{Fault, Stage, example};

/// Callers at one time.
const CALLERS: u32 = 64;
const CALLS_EACH: u32 = 300;
const ALL: u32 = CALLERS * CALLS_EACH;
/// Calls of one who is alone.
const ALONE: u32 = 500;
/// Calls of the one who waits.
const SYNC_CALLS: u32 = 2000;

/// Measures and publishes `accept.json`.
pub async fn measure() -> Result<(), Fault> {
    let program = example("stream-hello")?;
    let stage = Stage::set("").await?;
    stage.load(&program, "stream:bench", "").await?;
    let fields = |kind: &str| json!({"type": kind, "idle_timeout": 300, "queue_timeout": 30});
    stage.route("/later", "stream:bench", "http-stream", fields("async")).await;
    stage.route("/now", "stream:bench", "http-stream", fields("sync")).await;
    let later = stage.public("/later");
    let engine = stage.cloud.picasso.engine_pid().ok_or("no engine")?;
    let mut waiting = Caller::connect(&stage.public("/now"), &[], "")?;
    let mut single = Caller::connect(&later, &[], "")?;
    tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;

    let idle = tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;
    let alone = tokio::task::block_in_place(|| single.latency(ALONE))?;
    ended(&stage, 2 * SYNC_CALLS + ALONE).await?;
    let began = Instant::now();
    let accepted = tokio::task::block_in_place(|| accept(&later))?;
    let took = began.elapsed();
    let beside = tokio::task::block_in_place(|| waiting.latency(SYNC_CALLS))?;
    let rss = rss_kib(engine);
    ended(&stage, 3 * SYNC_CALLS + ALONE + ALL).await?;
    let drain = began.elapsed();

    let mut report = Report::new("accept");
    report.row("accept, one caller", alone);
    report.row("accept, 64 callers", accepted);
    report.row("a call that is waited for, nothing else", idle);
    report.row("the same while accepted calls run", beside);
    report.figure("accepted, 64 callers", f64::from(ALL) / took.as_secs_f64(), "calls/s");
    report.figure(
        "run, from the first acceptance to the last end",
        f64::from(ALL) / drain.as_secs_f64(),
        "calls/s",
    );
    report.figure("RSS of the engine meanwhile", megabytes(rss), "MB");
    report.figure("p99 of a waiting caller meanwhile / alone", beside.p99_ms / idle.p99_ms, "times");
    report.publish()?;
    Ok(())
}

/// All callers at once, each on a thread and a connection of its own.
fn accept(url: &str) -> io::Result<Summary> {
    let callers = (0..CALLERS).map(|_| Caller::connect(url, &[], "")).collect::<io::Result<Vec<_>>>()?;
    let threads: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            std::thread::spawn(move || {
                let mut times = Vec::with_capacity(CALLS_EACH as usize);
                for _ in 0..CALLS_EACH {
                    let began = Instant::now();
                    caller.call()?;
                    times.push(began.elapsed());
                }
                Ok::<_, io::Error>(times)
            })
        })
        .collect();
    let mut samples = Samples::default();
    for thread in threads {
        let times = thread.join().map_err(|_| io::Error::other("a caller panicked"))?;
        times?.into_iter().for_each(|time| samples.add(time));
    }
    Ok(samples.summary())
}

/// Waits until `calls` calls have succeeded, of both kinds and since the start.
async fn ended(stage: &Stage, calls: u32) -> Result<(), Fault> {
    let all = f64::from(calls);
    let run = || async { stage.cloud.metric("picasso_calls_total{outcome=\"succeeded\"}").await >= all };
    wait_until(Duration::from_mins(5), "accepted calls to have run", run).await?;
    Ok(())
}
