//! 100,000 routes in the store against one: the time of a warm call, and how often it asks for
//! memory (`malloc`, `calloc`, `realloc` of the engine, counted by the kernel through `perf`).

use std::process::{Command, Stdio};

use picasso_testkit::process::{Process, TestDir, run};
use rustix::process::Signal;
use serde_json::json;

use crate::http::Caller;
use crate::report::Report;
use crate::stage::{Fault, Stage, example};

const ROUTES: u32 = 100_000;
const CALLS: u32 = 5000;
/// Copies the one route, its version and its app in the server's database.
const COPY: &str = include_str!("copy_routes.py");

/// Measures and publishes `routes.json`.
pub async fn measure() -> Result<(), Fault> {
    let program = example("stream-hello")?;
    let mut stage = Stage::set("").await?;
    stage.load(&program, "stream:bench", "").await?;
    stage.route("/measured", "stream:bench", "http-stream", json!({"idle_timeout": 300})).await;
    let url = stage.public("/measured");
    let mut report = Report::new("routes");
    let mut counts = Vec::new();
    for (what, routes) in [("one route", 1), ("100,000 routes", ROUTES)] {
        if routes > 1 {
            stage.cloud.picasso.signal(Signal::TERM);
            stage.cloud.picasso.wait(std::time::Duration::from_mins(1)).await?;
            let database = stage.cloud.picasso.data_dir().join("picasso.db").display().to_string();
            tokio::task::block_in_place(|| {
                run("/usr/bin/python3", ["-c", COPY, &database, &routes.to_string()])
            })?;
            stage.cloud.picasso.start_again().await?;
        }
        let engine = stage.cloud.picasso.engine_pid().ok_or("no engine")?;
        let mut caller = Caller::connect(&url, &[], "")?;
        tokio::task::block_in_place(|| caller.latency(CALLS))?;
        report.row(&format!("warm call, {what}"), tokio::task::block_in_place(|| caller.latency(CALLS))?);
        if let Some(count) = tokio::task::block_in_place(|| allocations(engine, &mut caller))? {
            report.figure(format!("allocations of the engine for a call, {what}"), count, "");
            counts.push(count);
        }
    }
    report.publish()?;
    Ok(())
}

/// Allocations of the process for one call; `None`, with a line that says so, where the kernel or
/// `perf` cannot count them.
#[expect(clippy::print_stderr, reason = "a command for people")]
fn allocations(engine: u32, caller: &mut Caller) -> Result<Option<f64>, Fault> {
    let probes = match Probes::set() {
        Ok(probes) => probes,
        Err(reason) => {
            eprintln!("allocations are not counted: {reason}");
            return Ok(None);
        }
    };
    let dir = TestDir::new("perf")?;
    let told = dir.path().join("counts");
    let mut command = Command::new("perf");
    command.args(["stat", "-x,", "-e", &probes.events(), "-o"]).arg(&told);
    command.args(["-p", &engine.to_string()]).stdout(Stdio::null());
    let mut perf = Process::spawn("perf", dir.path(), command)?
        .stop_with(Signal::INT, std::time::Duration::from_secs(5));
    // What it counts shows that it has begun: a single count is enough to know its own share.
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..CALLS {
        caller.call()?;
    }
    perf.stop();
    let text = std::fs::read_to_string(&told)?;
    let counts = text.lines().filter_map(|line| line.split(',').next()?.parse::<f64>().ok());
    Ok(Some(counts.sum::<f64>() / f64::from(CALLS)))
}

/// Probes on the C library's functions that give memory; removed on drop.
struct Probes(Vec<String>);

impl Probes {
    fn set() -> Result<Self, String> {
        let library = "/lib/x86_64-linux-gnu/libc.so.6";
        let mut probes = Self(Vec::new());
        for function in ["malloc", "calloc", "realloc"] {
            let event = format!("picasso_bench:{function}");
            run(
                "perf",
                ["probe", "--quiet", "--force", "-x", library, "--add", &format!("{event}={function}")],
            )?;
            probes.0.push(event);
        }
        Ok(probes)
    }

    fn events(&self) -> String {
        self.0.join(",")
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for event in &self.0 {
            let _ = run("perf", ["probe", "--quiet", "--del", event]);
        }
    }
}
