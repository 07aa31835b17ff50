//! Cold calls of a static image, sparse: 150 ms apart, as real cold starts are. The same program
//! is started bare (the floor), through Picasso, and by `docker run --rm` (the peer), in turn, so
//! that all see the same noise.

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use picasso_suites::cloud::Cloud;
use picasso_testkit::docker::DockerEngine;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::{TestDir, run};
use reqwest::Method;
use serde_json::json;

use crate::report::Report;
use crate::samples::Samples;

/// Between two starts.
const PAUSE: Duration = Duration::from_millis(150);
/// Rounds; every round calls once by token, once by public URL, and starts the bare program.
const ROUNDS: usize = 100;
/// Every so many rounds Docker runs, too; one of its runs takes as long as a hundred of ours.
const DOCKER_EVERY: usize = 5;

const BARE: &str = "bare program (posix_spawn)";
const TOKEN: &str = "picasso, cold, /v1/f with a cached token";
const PUBLIC: &str = "picasso, cold, /f";
const DOCKER: &str = "docker run --rm";
const DOCKER_NO_NETWORK: &str = "docker run --rm --network none";

/// Measures and publishes `cold.json`.
pub async fn measure() -> Result<(), Box<dyn Error>> {
    let hello = hello()?;
    let dir = TestDir::new("bench")?;
    let archive = dir.path().join("hello.tar");
    run(
        &Picasso::binary().display().to_string(),
        [
            "image",
            "build",
            "--file",
            &format!("{}:/hello", hello.display()),
            "--entrypoint",
            "/hello",
            "--output",
        ]
        .into_iter()
        .map(str::to_owned)
        .chain([archive.display().to_string()]),
    )?;
    let docker = DockerEngine::start_with_default_bridge().await?;
    let context = dir.path().join("docker");
    std::fs::create_dir(&context)?;
    std::fs::copy(&hello, context.join("hello"))?;
    let layer = dir.path().join("layer.tar");
    run("tar", ["-C", &context.display().to_string(), "-cf", &layer.display().to_string(), "hello"])?;
    docker.docker(&[
        "import",
        "--change",
        "ENTRYPOINT [\"/hello\"]",
        &layer.display().to_string(),
        "hello:bench",
    ])?;

    let cloud = Cloud::start().await;
    cloud.picasso.load_image(&archive, "hello:bench").await?;
    let token = cloud.token("demo1-member").await;
    let project = cloud.project("demo1").await;
    let app = cloud.app(&token, "bench").await;
    let route = json!({"image": "hello:bench", "memory": 32, "config": {}});
    cloud.route(&token, &app, "/hello", "", route).await;
    let public = cloud.function_url(&app, "/hello");
    let private = format!("{}/v1/f/{project}/{app}/hello", cloud.picasso.functions_url());

    let mut series = [BARE, TOKEN, PUBLIC, DOCKER, DOCKER_NO_NETWORK].map(|what| (what, Samples::default()));
    for round in 0..=ROUNDS {
        let docker_runs = round % DOCKER_EVERY == 1;
        for (what, samples) in &mut series {
            if matches!(*what, DOCKER | DOCKER_NO_NETWORK) && !docker_runs {
                continue;
            }
            tokio::time::sleep(PAUSE).await;
            let began = Instant::now();
            match *what {
                BARE => bare(&hello)?,
                TOKEN => {
                    call(cloud.http.request(Method::GET, &private).header("X-Auth-Token", &token)).await?;
                }
                PUBLIC => call(cloud.http.request(Method::GET, &public)).await?,
                DOCKER => drop(docker.docker(&["run", "--rm", "hello:bench"])?),
                _ => drop(docker.docker(&["run", "--rm", "--network", "none", "hello:bench"])?),
            }
            // The first round warms the token cache and the page cache, for all alike.
            if round > 0 {
                samples.add(began.elapsed());
            }
        }
    }
    let mut report = Report::new("cold");
    for (what, samples) in &series {
        report.row(what, samples.summary());
    }
    for peer in [DOCKER_NO_NETWORK, DOCKER] {
        report.ratio(TOKEN, peer);
        report.ratio(PUBLIC, peer);
    }
    report.publish()?;
    Ok(())
}

async fn call(request: reqwest::RequestBuilder) -> Result<(), Box<dyn Error>> {
    let answer = request.send().await?.error_for_status()?;
    match answer.text().await?.as_str() {
        "Hello, World!\n" => Ok(()),
        other => Err(format!("an unexpected answer: {other:?}").into()),
    }
}

fn bare(hello: &PathBuf) -> Result<(), Box<dyn Error>> {
    let output = Command::new(hello).stdin(Stdio::null()).output()?;
    if output.stdout == b"Hello, World!\n" { Ok(()) } else { Err("the program itself fails".into()) }
}

/// The static `hello`, built by `scripts/bench`.
fn hello() -> Result<PathBuf, Box<dyn Error>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let name =
        format!("target/static/{}-unknown-linux-gnu/release/picasso-example-hello", std::env::consts::ARCH);
    let path =
        root.join(name).canonicalize().map_err(|_| "the hello example is not built: run scripts/bench")?;
    Ok(path)
}
