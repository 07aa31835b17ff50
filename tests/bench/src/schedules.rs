//! Schedules: how late their calls are when few are due, and how long ten thousand take that are all due
//! in the same second. Late is the time from the planned time to when the call is on disk.
//!
//! The floor is the same server on the same database, in the same run, accepting as many calls from 64
//! callers over HTTP: the fastest way to hand it calls from outside, each as durable as those of schedules.
//! It stands above the store alone, which no user can reach, and it has neither a name for each call nor
//! a plan behind it, which a schedule needs so that a planned time makes one call.
//!
//! Calls have an hour of jitter, so hardly any runs beside the measurement.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use jiff::Timestamp;
use picasso_suites::cloud::Cloud;
use picasso_testkit::database::Kind;
use picasso_testkit::picasso::PicassoOptions;
use picasso_testkit::process::{TestDir, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use crate::memory::{cpu_seconds, server_processes};
use crate::queued::{Backend, call_all, number};
use crate::report::Report;
use crate::samples::Samples;
use crate::stage::{Fault, Stage};

/// The route of what is scheduled, and of the floor.
const SCHEDULED: &str = "/scheduled";
const FLOOR: &str = "/floor";
/// Callers of the floor, and requests at one time that make schedules.
const CALLERS: u32 = 64;
const MAKERS: usize = 16;
/// Between two schedules that are not due together.
const APART: Duration = Duration::from_millis(70);
const WITHIN: Duration = Duration::from_mins(5);

/// Schedules of one kind, and when they are due.
struct Batch {
    name: &'static str,
    planned: Vec<Timestamp>,
}

/// Measures and publishes `schedules.json`. `BENCH_SCHEDULES`: that are due in one second, 10,000;
/// `BENCH_SPARSE_SCHEDULES`: of the others, 300.
pub async fn measure() -> Result<(), Fault> {
    let many = number("BENCH_SCHEDULES", 10_000)?.next_multiple_of(CALLERS);
    let few = number("BENCH_SPARSE_SCHEDULES", 300)?;
    let mut report = Report::new("schedules");
    let backends = [
        (Backend::sqlite(), false),
        (Backend::on("PostgreSQL", Kind::Postgres).await?, false),
        (Backend::on("MariaDB", Kind::MariaDb).await?, false),
        (Backend::on("PostgreSQL, two servers", Kind::Postgres).await?, true),
    ];
    for (backend, has_second) in backends {
        let dir = TestDir::new("schedules")?;
        // Two servers on one database share what its bodies are encrypted with.
        let more = format!("[encryption]\nkey_file = \"{}\"\n", dir.path().join("key").display());
        let stage = backend.stage(&more).await?;
        let second = if has_second {
            let more_config = backend.config(&more)?;
            Some(Cloud::start_with(PicassoOptions { more_config, ..PicassoOptions::default() }).await)
        } else {
            None
        };
        let servers: Vec<&Cloud> = [&stage.cloud].into_iter().chain(&second).collect();
        let one = Measured { stage: &stage, servers, name: backend.name };
        one.measure(&mut report, few, many).await?;
    }
    report.publish()?;
    Ok(())
}

/// One row's servers, on one database.
struct Measured<'a> {
    stage: &'a Stage,
    servers: Vec<&'a Cloud>,
    name: &'static str,
}

impl Measured<'_> {
    async fn measure(&self, report: &mut Report, few: u32, many: u32) -> Result<(), Fault> {
        let Stage { cloud, token, app, .. } = self.stage;
        for route in [SCHEDULED, FLOOR] {
            let fields = json!({"type": "async", "memory": 16, "delay": 3600});
            cloud.route(token, app, route, "true", fields).await;
        }
        let url = self.stage.public(FLOOR);
        tokio::task::block_in_place(|| call_all(&url, CALLERS, 20))?;
        let (_, floor) = tokio::task::block_in_place(|| call_all(&url, CALLERS, many / CALLERS))?;

        let (made, soon) = (Instant::now(), in_a_while(Duration::from_secs(10))?);
        let sparse = Batch { name: "sparse", planned: (0..few).map(|n| soon + APART * n).collect() };
        self.make(&sparse).await?;
        let each = made.elapsed() / few;
        self.fired(&sparse, 0.0).await?;
        report.row(&format!("{}, few due", self.name), self.late(&sparse).await?.summary());

        // Longer than it should take, as the machine may be busy: they are not due before all are made.
        let planned = in_a_while(Duration::from_secs(15) + each * many * 4)?;
        let dense = Batch { name: "dense", planned: vec![planned; many as usize] };
        self.make(&dense).await?;
        let before = Timestamp::now().duration_until(planned);
        tokio::time::sleep(
            Duration::try_from(before).map_err(|_| "schedules were due before all were made")?,
        )
        .await;
        let cpu_before = self.cpu()?;
        self.fired(&dense, f64::from(few)).await?;
        let cpu = self.cpu()? - cpu_before;
        let late = self.late(&dense).await?.summary();
        report.row(&format!("{}, {many} due at once", self.name), late);
        let calls = f64::from(many);
        report.figure(format!("{}: until each had its call", self.name), late.max_ms / 1000.0, "s");
        report.figure(format!("{}: calls of schedules", self.name), calls * 1000.0 / late.max_ms, "calls/s");
        report.figure(format!("{}: floor, 64 callers", self.name), calls / floor.as_secs_f64(), "calls/s");
        report.figure(format!("{}: CPU of picasso's processes", self.name), cpu, "s");
        Ok(())
    }

    /// Makes schedules that fire once.
    async fn make(&self, batch: &Batch) -> Result<(), Fault> {
        let Stage { cloud, token, project, app, .. } = self.stage;
        let path = format!("/v1/{project}/triggers");
        let create = |(number, at): (usize, &Timestamp)| {
            let trigger = json!({"trigger": {
                "name": format!("{}-{number}", batch.name), "app": app, "route": SCHEDULED, "kind": "schedule",
                "options": {"at": at.to_string(), "jitter_s": 3600},
            }});
            cloud.api(Method::POST, &path, Some(token), Some(trigger))
        };
        let mut made = stream::iter(batch.planned.iter().enumerate().map(create)).buffer_unordered(MAKERS);
        while let Some(answer) = made.next().await {
            if !answer.status.is_success() {
                return Err(format!("a schedule was not made: {}", answer.text()).into());
            }
        }
        Ok(())
    }

    /// Waits until so many more than `before` made their calls, and that is written down of each.
    async fn fired(&self, batch: &Batch, before: f64) -> Result<(), Fault> {
        let wanted = before + f64::from(u32::try_from(batch.planned.len())?);
        let told = || async { self.firings("accepted").await >= wanted };
        wait_until(WITHIN, "the calls of all schedules", told).await?;
        Ok(())
    }

    /// How often a planned time came to this outcome.
    async fn firings(&self, outcome: &str) -> f64 {
        let name = format!("picasso_trigger_firings_total{{outcome=\"{outcome}\"}}");
        let mut all = 0.0;
        for server in &self.servers {
            all += server.metric(&name).await;
        }
        all
    }

    /// How late each was, when all have fired; fails unless each made exactly one call.
    async fn late(&self, batch: &Batch) -> Result<Samples, Fault> {
        let prefix = format!("{}-", batch.name);
        let mut triggers: Vec<Value> = Vec::new();
        let written = async || {
            let all = self.list("triggers?kind=schedule", "triggers").await?;
            let of_batch = |trigger: &Value| trigger["name"].as_str().is_some_and(|n| n.starts_with(&prefix));
            Ok::<Vec<Value>, Fault>(all.into_iter().filter(of_batch).collect())
        };
        let deadline = Instant::now() + WITHIN;
        while triggers.len() < batch.planned.len() || triggers.iter().any(|trigger| trigger["fired"] != 1) {
            if Instant::now() > deadline {
                let not_once = triggers.iter().find(|trigger| trigger["fired"] != 1);
                return Err(format!("not every schedule has fired once, as {not_once:?}").into());
            }
            triggers = written().await?;
        }
        let mut samples = Samples::default();
        for trigger in &triggers {
            let at = |time: &Value| time.as_str().unwrap_or_default().parse::<Timestamp>();
            let late = at(&trigger["last_fired_at"])?.duration_since(at(&trigger["options"]["at"])?);
            samples.add(Duration::try_from(late).map_err(|_| format!("a call came too early: {trigger}"))?);
        }
        self.each_made_one_call().await?;
        Ok(samples)
    }

    /// Each trigger has fired, and there are as many calls as triggers: so each made one.
    async fn each_made_one_call(&self) -> Result<(), Fault> {
        let triggers = self.list("triggers?kind=schedule", "triggers").await?;
        let path = format!("calls?app={}&route={SCHEDULED}&limit=1000", self.stage.app);
        let calls = self.list(&path, "calls").await?;
        let different: HashSet<_> = calls.iter().filter_map(|call| call["id"].as_str()).collect();
        if different.len() == triggers.iter().filter(|trigger| trigger["fired"] == 1).count() {
            return Ok(());
        }
        Err(format!("{} calls of {} schedules", different.len(), triggers.len()).into())
    }

    /// All of a list, page after page.
    async fn list(&self, path: &str, name: &str) -> Result<Vec<Value>, Fault> {
        let Stage { cloud, token, project, .. } = self.stage;
        let mut next = Some(format!("/v1/{project}/{path}"));
        let mut all = Vec::new();
        while let Some(path) = next {
            let answer = cloud.api(Method::GET, &path, Some(token), None).await;
            if !answer.status.is_success() {
                return Err(format!("{path}: {}", answer.text()).into());
            }
            let page = answer.json();
            all.extend(page[name].as_array().into_iter().flatten().cloned());
            let link = page[format!("{name}_links")][0]["href"].as_str();
            next = link.and_then(|href| Some(href.get(href.find("/v1/")?..)?.to_owned()));
        }
        Ok(all)
    }

    fn cpu(&self) -> Result<f64, Fault> {
        let pids = self.servers.iter().flat_map(|server| server_processes(&server.picasso));
        pids.map(cpu_seconds).sum()
    }
}

/// A full second, at least so far ahead.
fn in_a_while(pause: Duration) -> Result<Timestamp, Fault> {
    let second = (Timestamp::now() + pause).as_second() + 1;
    Ok(Timestamp::from_second(second)?)
}
