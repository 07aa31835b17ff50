//! Our own client (`clients/python-picassoclient`) in the real `openstack` command and in openstacksdk,
//! against a running Picasso and a real Keystone.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use picasso_suites::cloud::{Cloud, SHELL_IMAGE, ready};
use picasso_suites::openstack::client_ready;
use picasso_testkit::evidence;
use picasso_testkit::process::wait_until;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

/// The tests share a Keystone, whose catalog has one endpoint of the service.
static CATALOG: Mutex<()> = Mutex::const_new(());

/// A function that answers with what it gets.
const ECHO: &str = "SCRIPT=while read -r line || [ -n \"$line\" ]; do echo \"$line\"; done";

async fn cloud() -> Option<(Cloud, MutexGuard<'static, ()>)> {
    if !ready() || !client_ready() {
        return None;
    }
    let turn = CATALOG.lock().await;
    let cloud = Cloud::start().await;
    cloud.keystone.set_functions_url(&cloud.picasso.api_url()).await.unwrap();
    Some((cloud, turn))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_five_minutes_need_nothing_but_the_client() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let archive = cloud.unknown_shell();
    let file = archive.to_str().unwrap();
    let image = cloud.client_json(&["function", "image", "create", "mine:1", "--file", file]).await;
    assert_eq!(image["name"], "mine:1");
    let app = cloud.client_json(&["function", "app", "create", "tour", "--description", "A tour"]).await;
    let name = app["name"].as_str().unwrap().to_owned();
    let words = ["function", "route", "create", "tour", "/hello", "--image", "mine:1", "--public", "--wait"];
    let words: Vec<&str> = words.into_iter().chain(["--memory", "64", "--config", ECHO]).collect();
    let route = cloud.client_json(&words).await;
    assert_eq!(
        (&route["state"], &route["version"], &route["is_public"]),
        (&json!("ready"), &json!(1), &json!(true))
    );

    let said = cloud.client(&["function", "call", "tour", "/hello", "--data", "{\"name\": \"Ada\"}"]).await;
    assert_eq!((said.ok, said.out.as_str()), (true, "{\"name\": \"Ada\"}\n"), "{}", said.err);
    let url = cloud.client(&["function", "url", "tour", "/hello"]).await.out;
    assert_eq!(url.trim(), cloud.function_url(&name, "/hello"));
    let stranger = cloud.send(cloud.http.post(url.trim()).body("by a stranger")).await;
    assert_eq!((stranger.status, stranger.text().as_str()), (StatusCode::OK, "by a stranger\n"));

    // A new version, an alias on the old one, and back.
    let words = ["function", "route", "set", "tour", "/hello", "--config", "SCRIPT=echo two", "--wait"];
    assert_eq!(cloud.client_json(&words).await["version"], 2);
    let words = ["function", "alias", "create", "tour", "/hello", "live", "--share", "1"];
    assert_eq!(cloud.client_json(&words).await["versions"], json!([{"version": 1, "weight": 1}]));
    let call = ["function", "call", "tour", "/hello", "--data", "x"];
    assert_eq!(cloud.client(&call).await.out, "two\n");
    let of_alias: Vec<&str> = call.into_iter().chain(["--alias", "live"]).collect();
    assert_eq!(cloud.client(&of_alias).await.out, "x\n");
    let versions = cloud.client_json(&["function", "version", "list", "tour", "/hello"]).await;
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!((&versions[1]["Version"], &versions[1]["Aliases"]), (&json!(1), &json!(["live"])));
    assert_eq!(
        cloud.client_json(&["function", "rollback", "tour", "/hello", "1"]).await["active_version"],
        3
    );
    assert_eq!(cloud.client(&call).await.out, "x\n");

    let limits = cloud.client_json(&["function", "limits", "show"]).await;
    let apps = limits.as_array().unwrap().iter().find(|limit| limit["Resource"] == "functions_apps").unwrap();
    assert!(apps["Usage"].as_u64().unwrap() >= 1, "{apps}");

    let said = cloud.client(&["function", "app", "delete", "tour"]).await;
    assert!(!said.ok);
    assert!(
        said.err.starts_with("Unable to delete app tour with routes (HTTP 403, app_has_routes"),
        "{}",
        said.err
    );
    cloud.client_done(&["function", "route", "delete", "tour", "/hello"]).await;
    cloud.client_done(&["function", "app", "delete", "tour"]).await;
    cloud.client_done(&["function", "image", "delete", "mine:1"]).await;
    assert_eq!(cloud.client_json(&["function", "app", "list"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_is_followed_while_it_runs() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "jobs").await;
    let more = json!({"type": "async"});
    let script = "echo started >&2; b sleep 60; echo never >&2";
    cloud.route(&token, &app, "/long", script, more.clone()).await;
    cloud.route(&token, &app, "/short", "echo logged >&2; echo answered", more).await;

    let said = cloud.client(&["function", "call", "jobs", "/short", "--wait"]).await;
    assert_eq!((said.ok, said.out.as_str()), (true, "answered\n"), "{}", said.err);

    let said = cloud.client(&["function", "call", "jobs", "/long", "--async"]).await;
    let id = said.out.trim().to_owned();
    let mut command = cloud.keystone.client_command("openstack", "demo1-member", "demo1").unwrap();
    command.args(["function", "logs", "-f", &id]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap());
    let (first, lines) = tokio::task::spawn_blocking(move || {
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        (first, lines)
    })
    .await
    .unwrap();
    assert_eq!(first, "started\n");
    let call = cloud.client_json(&["function", "execution", "show", &id]).await;
    assert_eq!(call["status"], "running", "the line was printed before the call ended");
    assert!(cloud.client(&["function", "execution", "cancel", &id]).await.ok);
    let (rest, ended) = tokio::task::spawn_blocking(move || {
        let (mut lines, mut rest) = (lines, String::new());
        lines.read_to_string(&mut rest).unwrap();
        (rest, follower.wait().unwrap())
    })
    .await
    .unwrap();
    assert_eq!((rest.as_str(), ended.success()), ("", true), "the log ends with its call");

    let listed = cloud.client_json(&["function", "execution", "list", "--status", "succeeded"]).await;
    let short = listed[0]["ID"].as_str().unwrap().to_owned();
    assert_eq!((&listed[0]["Route"], &listed[0]["Type"]), (&json!("/short"), &json!("async")));
    assert_eq!(cloud.client(&["function", "execution", "result", &short]).await.out, "answered\n");
    assert_eq!(cloud.client(&["function", "logs", &short]).await.out, "logged\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_2017_work_and_their_bugs_are_mended() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let app = cloud.client_json(&["fn", "apps", "create", "testapp", "--config", "{\"A\": \"1\"}"]).await;
    let name = app["name"].as_str().unwrap().to_owned();
    assert_eq!(app["config"], json!({"A": "1"}));
    // It crashed, and wanted its JSON encoded twice.
    for config in ["{\"B\": \"2\"}", "\"{\\\"B\\\": \\\"2\\\"}\""] {
        let app = cloud.client_json(&["fn", "apps", "update", &name, config]).await;
        assert_eq!(app["config"], json!({"A": "1", "B": "2"}));
    }
    let script = json!({"SCRIPT": ECHO.trim_start_matches("SCRIPT=")}).to_string();
    let words = ["fn", "routes", "create", &name, "/hello", "sync", SHELL_IMAGE, "--config", &script];
    assert_eq!(cloud.client_json(&words).await["is_public"], false);
    let listed = cloud.client_json(&["fn", "routes", "list", &name]).await;
    assert_eq!((&listed[0]["path"], &listed[0]["memory"]), (&json!("/hello"), &json!(128)));
    let answer = cloud
        .client_json(&["fn", "routes", "execute", &name, "/hello", "--data", "{\"name\": \"Ada\"}"])
        .await;
    assert_eq!(answer["result"], "{\"name\": \"Ada\"}\n");

    let words = ["fn", "routes", "execute", &name, "/hello", "--supply-auth-properties"];
    let answer = cloud.client_json(&words).await;
    let supplied: Value = serde_json::from_str(answer["result"].as_str().unwrap()).unwrap();
    let token = supplied["OS_TOKEN"].as_str().unwrap().to_owned();
    evidence::note_secret(&token);
    let project = cloud.project("demo1").await;
    assert_eq!(supplied["OS_AUTH_URL"], cloud.keystone.auth_url());
    assert_eq!(supplied["OS_PROJECT_ID"], project.as_str());
    let answer = cloud.api(Method::GET, &format!("/v1/{project}/apps"), Some(&token), None).await;
    assert_eq!(answer.status, StatusCode::OK, "the token is one that works");

    let route = cloud.client_json(&["fn", "routes", "update", &name, "/hello", "--type", "async"]).await;
    assert_eq!(route["type"], "async");
    let answer = cloud.client_json(&["fn", "routes", "execute", &name, "/hello"]).await;
    assert!(answer["call_id"].is_string(), "{answer}");
    let url = cloud.client(&["fn", "routes", "expose-url", &name, "/hello"]).await.out;
    assert_eq!(url.trim(), format!("{}/v1/r/{project}/{name}/hello", cloud.picasso.api_url()));
    let token = cloud.token("demo1-member").await;
    wait_until(Duration::from_secs(30), "the asynchronous call ends", async || {
        let path = format!("/v1/{project}/calls?status=succeeded");
        let calls = cloud.api(Method::GET, &path, Some(&token), None).await;
        calls.json()["calls"].as_array().unwrap().iter().any(|call| call["type"] == "async")
    })
    .await
    .unwrap();
    cloud.client_done(&["fn", "routes", "delete", &name, "/hello"]).await;
    cloud.client_done(&["fn", "apps", "delete", &name]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_said_so_that_people_can_act() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let said = cloud.client(&["function", "app", "show", "nothing"]).await;
    assert!(!said.ok);
    assert!(
        said.err.starts_with("App nothing not found (HTTP 404, app_not_found, request req-"),
        "{}",
        said.err
    );
    let said = cloud.client_as("demo1-reader", &["function", "app", "create", "mine"]).await;
    assert!(said.err.contains("(HTTP 403, "), "{}", said.err);
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "faults").await;
    cloud.route(&token, &app, "/fails", "echo boom >&2; exit 3", json!({})).await;
    let said = cloud.client(&["function", "call", "faults", "/fails"]).await;
    assert_eq!((said.ok, said.out.as_str()), (false, ""));
    for part in ["The function exited with code 3", "HTTP 502", "boom"] {
        assert!(said.err.contains(part), "{part}: {}", said.err);
    }
    let said = cloud.client(&["function", "call", "faults", "/fails", "--async"]).await;
    assert!(said.err.contains("HTTP 400"), "{}", said.err);
    let said = cloud.client(&["function", "route", "set", "faults", "/fails", "--memory", "999999"]).await;
    assert!(said.err.contains("memory"), "{}", said.err);
    // Not even where it tells everything.
    let said = cloud.client(&["--debug", "function", "app", "list"]).await;
    assert!(said.ok && said.err.len() > 1000);
    assert!(!said.err.contains(&cloud.keystone.password("demo1-member")));
    assert!(!said.err.contains("gAAAA"), "a token of Keystone begins so");
}

/// Prints what both libraries find.
const LIBRARIES: &str = r#"
import json
import openstack, picassoclient
from picassoclient import client

conn = openstack.connect(vendor_hook="picassoclient:register")
app = conn.functions.create_app("sdk", config={"A": "1"})
conn.functions.create_route(app.name, "/hello", "shell:1", config={"SCRIPT": "echo hello $A"}, memory=64)
answer = conn.functions.call("sdk", "/hello", b"in")
old = client.Client("v1", session=conn.session)
try:
    conn.functions.create_app("sdk")
except openstack.exceptions.ConflictException as error:
    conflict = error.details
print(json.dumps({
    "names": [app.short_name for app in conn.functions.apps(limit=1)],
    "answer": answer.text,
    "old": [app["name"] == conn.functions.get_app("sdk").name for app in old.apps.list()["apps"]],
    "result": old.routes.execute("sdk", "/hello")["result"],
    "conflict": conflict,
}))
conn.functions.delete_route("sdk", "/hello")
conn.functions.delete_app("sdk")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn openstacksdk_and_the_library_of_2017_call_functions() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let found: Value = serde_json::from_str(&cloud.client_python(LIBRARIES).await).unwrap();
    let conflict = "App sdk already exists";
    let expected = json!({"names": ["sdk"], "answer": "hello 1\n", "old": [true], "result": "hello 1\n",
        "conflict": conflict});
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_and_schedules_are_kept_by_the_commands() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "events").await;
    cloud.route(&token, &app, "/on", "b cat", json!({})).await;

    let words = ["function", "trigger", "create", "hook", "events", "/on", "--kind", "webhook"];
    let words: Vec<&str> = words.into_iter().chain(["--sender", "github", "--signature", "github"]).collect();
    let hook = cloud.client_json(&words).await;
    let url = hook["webhook_url"].as_str().unwrap().to_owned();
    evidence::note_secret(url.rsplit("~whp_").next().unwrap());
    evidence::note_secret(hook["webhook_signing_key"].as_str().unwrap());
    assert!(url.starts_with(&cloud.picasso.functions_url()), "{url}");
    let shown = cloud.client_json(&["function", "trigger", "show", "hook"]).await;
    assert_eq!((&shown["options"]["sender"], &shown["state"]), (&json!("github"), &json!("active")));
    assert!(shown.get("webhook_url").is_none(), "the URL is shown once");

    let words = ["function", "trigger", "set", "hook", "--name", "pushes", "--filter", "type=push*"];
    let changed = cloud.client_json(&words).await;
    assert_eq!(changed["filter"], json!([{"field": "type", "glob": "push*"}]));
    assert_eq!(changed["options"]["signature"], "github", "what was not named stays");
    let words = ["function", "trigger", "fire", "pushes", "--type", "push", "--data", "{\"n\": 1}"];
    let fired = cloud.client_json(&words).await;
    let id = fired["call_id"].as_str().unwrap().to_owned();
    let result = cloud.client(&["function", "execution", "result", &id, "--wait"]).await;
    assert_eq!((result.ok, result.out.as_str()), (true, "{\"n\":1}"), "{}", result.err);
    let firings = cloud.client_json(&["function", "trigger", "firings", "pushes"]).await;
    assert_eq!((&firings[0]["Outcome"], &firings[0]["Call ID"]), (&json!("accepted"), &json!(id)));

    let words = ["function", "schedule", "create", "nightly", "events", "/on", "--cron", "0 3 * * *"];
    let words: Vec<&str> = words.into_iter().chain(["--time-zone", "Europe/Berlin"]).collect();
    assert!(cloud.client_json(&words).await["next_at"].is_string());
    let said = cloud.client(&["function", "schedule", "set", "nightly", "--cron", "0 99 * * *"]).await;
    assert!(!said.ok && said.err.contains("cron") && said.err.contains("HTTP 400"), "{}", said.err);
    let paused = cloud.client_json(&["function", "schedule", "pause", "nightly"]).await;
    assert_eq!((&paused["state"], &paused["enabled"]), (&json!("paused"), &json!(false)));
    let words = ["function", "schedule", "set", "nightly", "--every", "1h30m"];
    let changed = cloud.client_json(&words).await;
    assert_eq!(changed["options"]["cron"], "@every 1h30m");
    assert_eq!(changed["options"]["time_zone"], "Europe/Berlin");
    assert_eq!(cloud.client_json(&["function", "schedule", "resume", "nightly"]).await["state"], "active");
    let listed = cloud.client_json(&["function", "schedule", "list"]).await;
    assert_eq!((&listed[0]["Name"], &listed[0]["When"]), (&json!("nightly"), &json!("@every 1h30m")));
    let triggers = cloud.client_json(&["function", "trigger", "list", "--app", "events"]).await;
    assert_eq!(triggers.as_array().map(Vec::len), Some(2));
    let said = cloud.client(&["function", "schedule", "delete", "pushes"]).await;
    assert!(said.err.contains("pushes is a trigger of kind webhook"), "{}", said.err);
    cloud.client_done(&["function", "trigger", "delete", "pushes", "nightly"]).await;
    assert_eq!(cloud.client_json(&["function", "trigger", "list"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_granted_shown_and_taken_away() {
    let Some((cloud, _turn)) = cloud().await else { return };
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "acting").await;
    cloud.route(&token, &app, "/acts", "echo $OS_CLOUD", json!({})).await;
    let of = |verb: &'static str| ["function", "identity", verb, "acting", "/acts"];
    assert_eq!(cloud.client_json(&of("show")).await["type"], "none");
    let words: Vec<&str> = of("set").into_iter().chain(["--role", "reader"]).collect();
    let granted = cloud.client_json(&words).await;
    assert_eq!((&granted["type"], &granted["roles"]), (&json!("trust"), &json!(["reader"])));
    assert_eq!(cloud.client_json(&of("consent")).await["state"], "active");
    assert_eq!(cloud.client(&["function", "call", "acting", "/acts"]).await.out, "picasso\n");
    let words: Vec<&str> = of("set").into_iter().chain(["--role", "admin"]).collect();
    let said = cloud.client(&words).await;
    assert!(!said.ok && said.err.contains("roles"), "{}", said.err);
    cloud.client_done(&of("unset")).await;
    assert_eq!(cloud.client_json(&of("show")).await["type"], "none");
}
