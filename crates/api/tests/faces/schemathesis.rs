//! Schemathesis sends what the OpenAPI document allows and what it forbids, and holds every answer
//! against the document.
//!
//! `PICASSO_SCHEMATHESIS_REQUESTS` says how many requests (`make schemathesis`: 10,000) and
//! `PICASSO_SCHEMATHESIS_SEED` which ones; the same seed sends the same.

use std::path::{Path, PathBuf};
use std::process::Output;

use picasso_testkit::process::{require, run};
use serde_json::{Value, json};

use crate::support::{Options, PROJECT, Server};

/// Requests when nobody says how many.
const REQUESTS: u64 = 2000;
/// Generated requests for each operation in one round; those that cover the document come first.
const PER_ROUND: u64 = 20;
/// What every answer has to hold to.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method,allow_header_conformance";

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The program, its environment made where it is not there yet.
fn program() -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/schemathesis-venv");
    let made = run("bash", [&script]);
    let missing = made.as_ref().err().map(ToString::to_string);
    require("Schemathesis", missing.as_deref()).then(|| Path::new(made.unwrap().trim()).join("bin/st"))
}

/// A server with one of each thing, and the parameters that name them.
async fn world() -> (Server, Value) {
    let mut options = Options::default();
    // Many calls at one time are what other tests are about.
    options.engine.max_waiting_calls = 10_000;
    let server = Server::start_with(options).await;
    let app = server.app().await;
    let route = server.route("/later", "cat", json!({"type": "async"})).await.json()["route"].clone();
    let now = server.route("/now", "cat", json!({"is_public": true})).await;
    assert_eq!(now.status, 200, "{}", now.text());
    let id = route["id"].as_str().unwrap();
    let body = json!({"alias": {"name": "live", "versions": [{"version": 1}], "is_public": true}});
    let made = server.api.post(&format!("/v1/{PROJECT}/routes/{id}/aliases"), "member", &body).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let call = server.api.post(&format!("/v1/r/{PROJECT}/hello/later"), "member", &json!({})).await;
    let call = call.json()["call_id"].clone();
    let named = json!({
        "path.project_id": PROJECT, "path.app": app, "path.route": "now", "path.route_id": id,
        "path.alias": "live", "path.version": "1", "path.call_id": call, "path.name": "good:1",
    });
    (server, named)
}

/// The options' file: which parameters are not made up.
fn config(folder: &Path, fixed: &Value) -> PathBuf {
    let lines = fixed.as_object().unwrap().iter().map(|(name, value)| format!("\"{name}\" = {value}\n"));
    let file = folder.join("schemathesis.toml");
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faces/schemathesis_hooks.py");
    let text =
        format!("hooks = {:?}\n[parameters]\n{}", hooks.display().to_string(), lines.collect::<String>());
    std::fs::write(&file, text).unwrap();
    file
}

/// How many requests a run says that it sent: the line below `Test cases:`.
fn sent(output: &Output) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout);
    let below = text.lines().skip_while(|line| line.trim() != "Test cases:").nth(1).unwrap_or_default();
    below.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_generated_request_gets_a_5xx_or_an_answer_that_the_document_does_not_have() {
    let Some(program) = program() else { return };
    let wanted = setting("PICASSO_SCHEMATHESIS_REQUESTS", REQUESTS);
    let first_seed = setting("PICASSO_SCHEMATHESIS_SEED", 1);
    let mut total = 0;
    for round in 0.. {
        let (server, named) = world().await;
        // Things that are there, and in every other round mostly things that are not.
        let fixed = if round % 2 == 0 { named } else { json!({"path.project_id": PROJECT}) };
        let config = config(server.folder.path(), &fixed);
        for (address, which) in
            [(server.api_address, "--exclude-path-regex"), (server.functions_address, "--include-path-regex")]
        {
            let mut command = tokio::process::Command::new(&program);
            command.arg("--config-file").arg(&config).arg("run");
            command.arg(format!("http://{}/api/swagger.json", server.api_address));
            command.args(["--url", &format!("http://{address}"), which, "^/(v1/)?f/"]);
            command.args(["--header", "X-Auth-Token: member", "--checks", CHECKS]);
            command.args(["--phases", "examples,coverage,fuzzing", "--suppress-health-check", "all"]);
            command.args(["--max-examples", &PER_ROUND.to_string()]);
            command.args(["--seed", &(first_seed + round).to_string()]);
            command.args(["--request-timeout", "20", "--generation-database", "none", "--no-color"]);
            let output = command.current_dir(server.folder.path()).output().await.unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
            assert!(sent(&output) > 0, "{told}");
            total += sent(&output);
        }
        if total >= wanted {
            break;
        }
    }
    eprintln!("Schemathesis sent {total} requests");
}
