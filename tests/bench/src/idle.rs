//! A thousand idle hot sandboxes: what each costs beside its own memory - the server's processes
//! and the kernel's slabs - and whether calls are as fast as before.

use std::time::{Duration, Instant};

use picasso_testkit::process::wait_until;
use serde_json::json;

use crate::http::Caller;
use crate::memory::{megabytes, pss_kib, server_processes, slab_kib};
use crate::report::Report;
use crate::stage::{Fault, Stage, example};

const SANDBOXES: u32 = 1000;
const CALLS: u32 = 3000;
/// Bounds that let one function of one project have them all.
const SETTINGS: &str = "[engine]\nmemory_mb = 20000\ncpu_overcommit = 600.0\nproject_share_percent = 100\n\
     [bounds]\nmax_min_instances = 1000\nmax_concurrency = 2000\nmin_memory_mb = 16\n\
     [sandbox]\nmax_slots = 1100\n";

/// Measures and publishes `idle.json`.
pub async fn measure() -> Result<(), Fault> {
    let program = example("stream-hello")?;
    let stage = Stage::set(SETTINGS).await?;
    stage.load(&program, "stream:bench", "").await?;
    let fields = json!({"memory": 16, "min_instances": 1, "idle_timeout": 300});
    stage.route("/measured", "stream:bench", "http-stream", fields).await;
    let mut caller = Caller::connect(&stage.public("/measured"), &[], "")?;
    tokio::task::block_in_place(|| caller.latency(CALLS))?;
    let before = tokio::task::block_in_place(|| caller.latency(CALLS))?;
    let (pss_before, slab_before) = weigh(&stage);

    let began = Instant::now();
    let fields = json!({"memory": 16, "min_instances": SANDBOXES, "idle_timeout": 300});
    stage.route("/many", "stream:bench", "http-stream", fields).await;
    let there = || async { idle(&stage).await >= f64::from(SANDBOXES) };
    wait_until(Duration::from_mins(3), "a thousand idle sandboxes", there).await?;
    let took = began.elapsed();
    let (pss, slab) = weigh(&stage);
    let after = tokio::task::block_in_place(|| caller.latency(CALLS))?;

    let mut report = Report::new("idle");
    report.row("warm call beside none", before);
    report.row("warm call beside 1,000 idle sandboxes", after);
    report.figure("until all were there", took.as_secs_f64(), "s");
    report.figure("PSS of the server's processes before", megabytes(pss_before), "MB");
    report.figure("PSS of the server's processes after", megabytes(pss), "MB");
    report.figure("kernel slabs, growth", megabytes(slab.saturating_sub(slab_before)), "MB");
    let each = megabytes(pss + slab.saturating_sub(slab_before)) / f64::from(SANDBOXES);
    report.figure("(PSS + slab growth) / 1,000", each, "MB");
    report.publish()?;
    Ok(())
}

async fn idle(stage: &Stage) -> f64 {
    let mut all = 0.0;
    for state in ["idle", "frozen"] {
        all += stage.cloud.metric(&format!("picasso_hot_sandboxes{{state=\"{state}\"}}")).await;
    }
    all
}

fn weigh(stage: &Stage) -> (u64, u64) {
    (server_processes(&stage.cloud.picasso).into_iter().map(pss_kib).sum(), slab_kib())
}
