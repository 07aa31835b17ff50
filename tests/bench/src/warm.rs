//! Warm calls of one caller: back to back, and after 120 ms of nothing. The floors are the same
//! function over its Unix socket, and through a bare hyper proxy.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::Caller;
use crate::peer::Peer;
use crate::report::Report;
use crate::samples::Samples;
use crate::stage::{Fault, Stage, example};

/// Calls of each kind, in turns of [`TURN`].
const CALLS: usize = 10_000;
const TURN: usize = 500;
/// Calls after a pause.
const SPARSE: usize = 100;
const IDLE: Duration = Duration::from_millis(120);

const FUNCTION: &str = "the function itself, over its Unix socket";
const PROXY: &str = "through a bare hyper proxy";
const PICASSO: &str = "picasso, warm, http-stream, /f";
const TOKEN: &str = "picasso, warm, http-stream, /v1/f with a cached token";

/// Measures and publishes `warm.json`.
pub async fn measure() -> Result<(), Fault> {
    let program = example("stream-hello")?;
    let stage = Stage::set("").await?;
    stage.load(&program, "stream:bench", "").await?;
    stage.route("/warm", "stream:bench", "http-stream", json!({"idle_timeout": 300})).await;
    let peer = Peer::start(&program).await?;
    let mut report = Report::new("warm");
    tokio::task::block_in_place(|| series(&stage, &peer, &mut report))?;
    report.ratio(PROXY, PICASSO);
    report.publish()?;
    Ok(())
}

fn series(stage: &Stage, peer: &Peer, report: &mut Report) -> Result<(), Fault> {
    let mut kinds = [
        (FUNCTION, Caller::connect_unix(&peer.socket, "/call", "")?, Samples::default(), Samples::default()),
        (PROXY, Caller::connect(&peer.url(), &[], "")?, Samples::default(), Samples::default()),
        (PICASSO, Caller::connect(&stage.public("/warm"), &[], "")?, Samples::default(), Samples::default()),
        (
            TOKEN,
            Caller::connect(&stage.private("/warm"), &[("X-Auth-Token", &stage.token)], "")?,
            Samples::default(),
            Samples::default(),
        ),
    ];
    for (_, caller, ..) in &mut kinds {
        for _ in 0..200 {
            caller.call()?;
        }
    }
    for _ in 0..CALLS / TURN {
        for (_, caller, samples, _) in &mut kinds {
            for _ in 0..TURN {
                let began = Instant::now();
                caller.call()?;
                samples.add(began.elapsed());
            }
        }
    }
    for _ in 0..SPARSE {
        for (_, caller, _, samples) in &mut kinds {
            sleep(IDLE);
            let began = Instant::now();
            caller.call()?;
            samples.add(began.elapsed());
        }
    }
    for (what, _, dense, _) in &kinds {
        report.row(what, dense.summary());
    }
    for (what, _, _, sparse) in &kinds {
        report.row(&format!("after 120 ms idle: {what}"), sparse.summary());
    }
    Ok(())
}
