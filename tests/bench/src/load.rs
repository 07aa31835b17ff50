//! 32 callers by `wrk -t1 -c32`, server and wrk on the same machine: through Picasso, through
//! `/v1/f` with a cached token, and through a bare hyper proxy to the same function, in turns; and
//! the server's memory before and after.

use picasso_testkit::process::run;
use serde_json::json;

use crate::memory::{cpu_seconds, megabytes, rss_kib, server_processes};
use crate::peer::Peer;
use crate::report::Report;
use crate::stage::{Fault, Stage, example};

/// Turns of each kind; the middle one counts.
const TURNS: usize = 3;
const TURN_S: u32 = 5;

const PROXY: &str = "bare hyper proxy to the same function";
const PUBLIC: &str = "picasso, http-stream, /f";
const TOKEN: &str = "picasso, http-stream, /v1/f with a cached token";

/// Measures and publishes `load.json`.
pub async fn measure() -> Result<(), Fault> {
    let program = example("stream-hello")?;
    let stage = Stage::set("").await?;
    stage.load(&program, "stream:bench", "").await?;
    stage
        .route("/load", "stream:bench", "http-stream", json!({"idle_timeout": 300, "queue_timeout": 30}))
        .await;
    let peer = Peer::start(&program).await?;
    let engine = stage.cloud.picasso.engine_pid().ok_or("no engine")?;
    let all = |stage: &Stage| server_processes(&stage.cloud.picasso).into_iter().map(rss_kib).sum::<u64>();

    let mut report = Report::new("load");
    report.figure("RSS of the engine, idle", megabytes(rss_kib(engine)), "MB");
    report.figure("RSS of all its processes, idle", megabytes(all(&stage)), "MB");
    let kinds = [
        (PROXY, peer.url(), None),
        (PUBLIC, stage.public("/load"), None),
        (TOKEN, stage.private("/load"), Some(&stage.token)),
    ];
    wrk(&kinds[1].1, None, "1s")?;
    let (mut calls, mut cpu) = (0.0, 0.0);
    let mut rates = kinds.each_ref().map(|(what, ..)| (*what, Vec::new()));
    for _ in 0..TURNS {
        for ((what, url, token), (_, rates)) in kinds.iter().zip(&mut rates) {
            let before = cpu_seconds(engine)?;
            let rate = wrk(url, token.map(String::as_str), &format!("{TURN_S}s"))?;
            if *what == PUBLIC {
                calls += rate * f64::from(TURN_S);
                cpu += cpu_seconds(engine)? - before;
            }
            rates.push(rate);
        }
    }
    wrk(&kinds[1].1, None, "10s")?;
    report.figure("RSS of the engine after 10 s of load", megabytes(rss_kib(engine)), "MB");
    report.figure("RSS of all its processes after 10 s of load", megabytes(all(&stage)), "MB");
    let mut middle = |what: &str| {
        let rates = rates.iter_mut().find(|(name, _)| *name == what).map(|(_, rates)| rates);
        rates.map_or(0.0, |rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2]
        })
    };
    let (proxy, public, token) = (middle(PROXY), middle(PUBLIC), middle(TOKEN));
    for (what, rate) in [(PROXY, proxy), (PUBLIC, public), (TOKEN, token)] {
        report.figure(what, rate, "calls/s");
    }
    report.figure(format!("{PUBLIC} / {PROXY}"), 100.0 * public / proxy, "%");
    report.figure(format!("{TOKEN} / {PUBLIC}"), 100.0 * token / public, "%");
    report.figure("CPU of the engine for one call of /f", 1e6 * cpu / calls, "µs");
    report.publish()?;
    Ok(())
}

/// Requests a second; an error where one of them failed.
fn wrk(url: &str, token: Option<&str>, duration: &str) -> Result<f64, Fault> {
    // A token in an argument can be seen by everyone on this machine: it is a test's, of a test's
    // Keystone, and wrk takes headers no other way.
    let header = token.map(|token| ["-H".to_owned(), format!("X-Auth-Token: {token}")]);
    let words = ["-t1", "-c32", "-d", duration].map(str::to_owned).into_iter();
    let words = words.chain(header.into_iter().flatten()).chain([url.to_owned()]);
    let said = tokio::task::block_in_place(|| run("wrk", words))?;
    if let Some(line) = said.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors")) {
        return Err(format!("{}: {}", url, line.trim()).into());
    }
    let rate = said.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    Ok(rate.ok_or("wrk told no rate")?.trim().parse()?)
}
