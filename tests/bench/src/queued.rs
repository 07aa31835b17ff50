//! What the measurements of asynchronous calls share: a stage with routes, many callers at once, and
//! waiting until the queue is empty.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use picasso_testkit::broker::{Broker, Kind};
use picasso_testkit::database::{self, Database};
use picasso_testkit::process::{TestDir, wait_until};
use serde_json::{Value, json};

use crate::http::Caller;
use crate::samples::{Samples, Summary};
use crate::stage::{Fault, Stage, example};

/// Longest that a queue may take to become empty.
const DRAINED_WITHIN: Duration = Duration::from_mins(30);
/// Route of the calls that nobody waits for, and of those that somebody does.
pub const LATER: &str = "/later";
pub const NOW: &str = "/now";
/// The same, due in an hour.
pub const MUCH_LATER: &str = "/much-later";

/// Where calls are stored and what carries them; dropped after the stage.
pub struct Backend {
    /// For people.
    pub name: &'static str,
    database: Option<(Database, String)>,
    broker: Option<Broker>,
}

impl Backend {
    /// SQLite for both.
    pub const fn sqlite() -> Self {
        Self { name: "SQLite", database: None, broker: None }
    }

    /// PostgreSQL and a broker, both started here.
    pub async fn postgres(name: &'static str, kind: Kind) -> Result<Self, Fault> {
        let broker = Some(Broker::start(kind).await?);
        Ok(Self { broker, ..Self::on(name, database::Kind::Postgres).await? })
    }

    /// A database server, started here, and a queue in SQLite.
    pub async fn on(name: &'static str, kind: database::Kind) -> Result<Self, Fault> {
        Ok(Self { name, database: Some(Database::start(kind).await?), broker: None })
    }

    /// The settings of a server on it; `queue` are more settings of `[queue]`.
    pub fn config(&self, queue: &str) -> Result<String, Fault> {
        let mut config = String::new();
        if let Some((_, url)) = &self.database {
            writeln!(config, "[database]\nurl = \"{url}\"")?;
        }
        writeln!(config, "[quota]\ntriggers = -1\nqueued_calls = 10000000\n[queue]\nmax_calls = 10000000")?;
        if let Some(broker) = &self.broker {
            writeln!(config, "url = \"{}\"", broker.url())?;
        }
        config.push_str(queue);
        Ok(config)
    }

    /// Starts a server on it with the routes; `queue` are more settings of `[queue]`.
    pub async fn stage(&self, queue: &str) -> Result<Stage, Fault> {
        let config = self.config(queue)?;
        // Records of ended calls are a cost of their own, the same in every row.
        let program = example("stream-hello")?;
        let stage = Stage::set(&config).await?;
        stage.load(&program, "stream:bench", "").await?;
        let fields = |more: Value| {
            let mut fields = json!({"idle_timeout": 300, "queue_timeout": 30});
            for (key, value) in more.as_object().into_iter().flatten() {
                fields[key] = value.clone();
            }
            fields
        };
        stage.route(LATER, "stream:bench", "http-stream", fields(json!({"type": "async"}))).await;
        stage.route(NOW, "stream:bench", "http-stream", fields(json!({"type": "sync"}))).await;
        let much_later = json!({"type": "async", "delay": 3600});
        stage.route(MUCH_LATER, "stream:bench", "http-stream", fields(much_later)).await;
        Ok(stage)
    }
}

/// `callers` at once, each on a thread and a connection of its own, until each has made `each` calls.
pub fn call_all(url: &str, callers: u32, each: u32) -> Result<(Summary, Duration), Fault> {
    let connected = (0..callers).map(|_| Caller::connect(url, &[], "")).collect::<io::Result<Vec<_>>>()?;
    let began = Instant::now();
    let threads: Vec<_> = connected
        .into_iter()
        .map(|mut caller| {
            std::thread::spawn(move || {
                let mut times = Vec::with_capacity(each as usize);
                for _ in 0..each {
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
        let times = thread.join().map_err(|_| "a caller panicked")??;
        for time in times {
            samples.add(time);
        }
    }
    Ok((samples.summary(), began.elapsed()))
}

/// Calls that have succeeded, of both kinds and since the start.
pub async fn succeeded(stage: &Stage) -> f64 {
    stage.cloud.metric("picasso_calls_total{outcome=\"succeeded\"}").await
}

/// Waits until so many calls have succeeded.
pub async fn ended(stage: &Stage, calls: f64) -> Result<(), Fault> {
    let run = || async { succeeded(stage).await >= calls };
    wait_until(DRAINED_WITHIN, "queued calls to have run", run).await?;
    Ok(())
}

/// What the disk allows: how often a second 4 KiB can be written and synced, one after the other.
pub fn syncs_per_second() -> Result<f64, Fault> {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;
    let dir = TestDir::new("sync")?;
    let mut file = std::fs::File::create(dir.path().join("file"))?;
    let (began, mut syncs) = (Instant::now(), 0_u32);
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&[7; 4096])?;
        rustix::fs::fdatasync(file.as_fd())?;
        syncs += 1;
    }
    Ok(f64::from(syncs) / began.elapsed().as_secs_f64())
}

/// A number from the environment, for shorter and longer runs.
pub fn number(variable: &str, default: u32) -> Result<u32, Fault> {
    match std::env::var(variable) {
        Ok(text) => Ok(text.parse().map_err(|_| format!("{variable} must be a number, not {text:?}"))?),
        Err(_) => Ok(default),
    }
}
