//! Cold calls, sparse: 150 ms apart, as real cold starts are. The same program is started bare
//! (the floor), through Picasso with and without ready slots, and by `docker run --rm` (the peer),
//! in turn, so that all see the same noise. So is a Python function of format `json`, whose floor
//! is the start of the same script by the machine's own python3.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use picasso_testkit::docker::DockerEngine;
use picasso_testkit::guest::workspace;
use picasso_testkit::process::{TestDir, run};
use serde_json::json;

use crate::http::Caller;
use crate::report::Report;
use crate::samples::Samples;
use crate::stage::{Fault, Stage, example};

/// Between two starts.
const PAUSE: Duration = Duration::from_millis(150);
/// Rounds; every round starts each kind once.
const ROUNDS: usize = 100;
/// Every so many rounds Docker runs, too; one of its runs takes as long as a hundred of ours.
const DOCKER_EVERY: usize = 10;
/// Functions that are called at once.
const AT_ONCE: usize = 8;
/// How often.
const BURSTS: usize = 20;

const BARE: &str = "bare program (posix_spawn)";
const NO_POOL: &str = "picasso, cold, no ready slots, /f";
const POOL: &str = "picasso, cold, ready slots, /f";
const TOKEN: &str = "picasso, cold, ready slots, /v1/f with a cached token";
const BARE_PYTHON: &str = "bare python3, same script";
const PYTHON: &str = "picasso, cold, python3, format json";
const DOCKER: &str = "docker run --rm";
const DOCKER_NO_NETWORK: &str = "docker run --rm --network none";
const BURST: &str = "8 different cold functions at once, all answered";

/// Measures and publishes `cold.json`.
pub async fn measure() -> Result<(), Fault> {
    let hello = example("hello")?;
    let docker = docker_with(&hello).await?;
    // No pages of one server's are another's: each has its own data folder.
    let pool = Stage::set("").await?;
    let no_pool = Stage::set("[sandbox]\nready_slots = 0\n").await?;
    for stage in [&pool, &no_pool] {
        stage.load(&hello, "hello:bench", "hello").await?;
        stage.route("/hello", "hello:bench", "default", json!({})).await;
    }
    let python = pool.cloud.load_example("python-json").await;
    let fields = json!({"memory": 64, "idle_timeout": 0});
    pool.route("/python", &python, "json", fields).await;
    for n in 0..AT_ONCE {
        let image = format!("hello{n}:bench");
        pool.load(&hello, &image, &image).await?;
        pool.route(&format!("/hello{n}"), &image, "default", json!({})).await;
    }
    let script = workspace().join("examples/python-json/func.py");

    let mut no_pool_caller = Caller::connect(&no_pool.public("/hello"), &[], "")?;
    let mut pool_caller = Caller::connect(&pool.public("/hello"), &[], "")?;
    let mut token_caller = Caller::connect(&pool.private("/hello"), &[("X-Auth-Token", &pool.token)], "")?;
    let mut python_caller = Caller::connect(&pool.public("/python"), &[], "{}")?;
    let kinds = [BARE, NO_POOL, POOL, TOKEN, BARE_PYTHON, PYTHON, DOCKER, DOCKER_NO_NETWORK];
    let mut series = kinds.map(|what| (what, Samples::default()));
    let mut burst = Samples::default();
    let mut round_of = |round: usize| -> Result<(), Fault> {
        for (what, samples) in &mut series {
            if matches!(*what, DOCKER | DOCKER_NO_NETWORK) && round % DOCKER_EVERY != 1 {
                continue;
            }
            sleep(PAUSE);
            let began = Instant::now();
            match *what {
                BARE => bare(&hello)?,
                NO_POOL => greeted(&no_pool_caller.call()?)?,
                POOL => greeted(&pool_caller.call()?)?,
                TOKEN => greeted(&token_caller.call()?)?,
                BARE_PYTHON => bare_python(&script)?,
                // A name that is missing is answered with 422: the shortest way through the script.
                PYTHON => expect_missing_name(python_caller.call())?,
                DOCKER => drop(docker.docker(&["run", "--rm", "hello:bench"])?),
                _ => drop(docker.docker(&["run", "--rm", "--network", "none", "hello:bench"])?),
            }
            // The first round warms the token cache and the page cache, for all alike.
            if round > 0 {
                samples.add(began.elapsed());
            }
        }
        Ok(())
    };
    tokio::task::block_in_place(|| (0..=ROUNDS).try_for_each(&mut round_of))?;
    let urls: Vec<String> = (0..AT_ONCE).map(|n| pool.public(&format!("/hello{n}"))).collect();
    tokio::task::block_in_place(|| at_once(&urls, &mut burst))?;

    let mut report = Report::new("cold");
    for (what, samples) in &series {
        report.row(what, samples.summary());
    }
    report.row(BURST, burst.summary());
    for of in [NO_POOL, POOL] {
        for peer in [DOCKER_NO_NETWORK, DOCKER] {
            report.ratio(of, peer);
        }
    }
    let p50 = |what| series.iter().find(|(name, _)| *name == what).map_or(0.0, |(_, s)| s.summary().p50_ms);
    report.figure(format!("{PYTHON} - {BARE_PYTHON}"), p50(PYTHON) - p50(BARE_PYTHON), "ms (p50)");
    report.publish()?;
    Ok(())
}

/// Calls every URL from a thread of its own, all at one time.
fn at_once(urls: &[String], samples: &mut Samples) -> Result<(), Fault> {
    let mut callers = Vec::new();
    for url in urls {
        callers.push(Caller::connect(url, &[], "")?);
    }
    for round in 0..=BURSTS {
        sleep(PAUSE);
        let began = Instant::now();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let calls: Vec<_> = callers.iter_mut().map(|caller| scope.spawn(|| caller.call())).collect();
            calls.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let took = began.elapsed();
        for answer in answers {
            greeted(&answer.map_err(|_| "a caller panicked")??)?;
        }
        if round > 0 {
            samples.add(took);
        }
    }
    Ok(())
}

fn greeted(answer: &str) -> Result<(), Fault> {
    if answer == "Hello, World!\n" { Ok(()) } else { Err(format!("an unexpected answer: {answer:?}").into()) }
}

fn expect_missing_name(answer: std::io::Result<String>) -> Result<(), Fault> {
    match answer {
        Err(error) if error.to_string().contains("name is missing") => Ok(()),
        other => Err(format!("an unexpected answer: {other:?}").into()),
    }
}

fn bare(hello: &Path) -> Result<(), Fault> {
    let output = Command::new(hello).stdin(Stdio::null()).output()?;
    if output.stdout == b"Hello, World!\n" { Ok(()) } else { Err("the program itself fails".into()) }
}

/// From the start of the interpreter to the script's first answer.
fn bare_python(script: &Path) -> Result<(), Fault> {
    let mut child = Command::new("/usr/bin/python3")
        .arg("-S")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no stdin")?;
    writeln!(
        stdin,
        r#"{{"call_id":"1","method":"POST","url":"/","headers":{{}},"body":"{{}}","config":{{}}}}"#
    )?;
    let mut answer = String::new();
    BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut answer)?;
    drop(stdin);
    child.wait()?;
    if answer.contains("name is missing") {
        Ok(())
    } else {
        Err(format!("the script said {answer:?}").into())
    }
}

/// A Docker Engine that has the program as an image.
async fn docker_with(hello: &Path) -> Result<DockerEngine, Fault> {
    let docker = DockerEngine::start_with_default_bridge().await?;
    let dir = TestDir::new("bench")?;
    let context = dir.path().join("docker");
    std::fs::create_dir(&context)?;
    std::fs::copy(hello, context.join("hello"))?;
    let layer = dir.path().join("layer.tar").display().to_string();
    run("tar", ["-C", &context.display().to_string(), "-cf", &layer, "hello"])?;
    docker.docker(&["import", "--change", "ENTRYPOINT [\"/hello\"]", &layer, "hello:bench"])?;
    Ok(docker)
}
