//! The life of calls under load and under loss: concurrency, hang-ups, killed processes, and what
//! is on disk before an asynchronous call is answered.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use picasso_suites::cloud::{Cloud, ready};
use picasso_suites::host;
use picasso_testkit::process::{Process, TestDir, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_with_four_allowed_run_four_at_a_time_and_none_is_lost() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "four").await;
    // /proc/uptime is the host's: spans of different sandboxes can be laid side by side.
    let script =
        "read began _ < /proc/uptime; b usleep 60000; read ended _ < /proc/uptime; echo $began $ended";
    let limits = json!({"max_concurrency": 4, "queue_timeout": 120, "memory": 16});
    cloud.route(&token, &app, "/span", script, limits).await;

    let url = cloud.function_url(&app, "/span");
    let answers = join_all((0..200).map(|_| cloud.send(cloud.http.get(&url)))).await;
    let mut edges = Vec::new();
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        let text = answer.text();
        let mut times = text.split_whitespace().map(|time| time.parse::<f64>().unwrap());
        let (began, ended) = (times.next().unwrap(), times.next().unwrap());
        edges.push((began, 1));
        edges.push((ended, -1));
    }
    assert_eq!(edges.len(), 400);
    // Where one ends as another begins (the clock has hundredths), the end counts first.
    edges.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let mut running = 0;
    let most = edges
        .iter()
        .map(|(_, step)| {
            running += step;
            running
        })
        .max()
        .unwrap();
    assert_eq!(most, 4, "at most four at a time, and four where so many wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_hangs_up_leaves_no_sandbox() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "hangup").await;
    cloud.route(&token, &app, "/sleep", "b sleep 60", json!({"timeout": 90})).await;
    let instance = cloud.picasso.instance();

    let url = cloud.function_url(&app, "/sleep");
    let call = tokio::spawn(cloud.http.get(&url).send());
    wait_until(SOON, "the function runs", || async { host::running_sandboxes(&instance) == 1 })
        .await
        .unwrap();
    call.abort();
    wait_until(SOON, "its sandbox is gone", || async { host::running_sandboxes(&instance) == 0 })
        .await
        .unwrap();
    let log = || async { cloud.picasso.log().contains("cancelled") };
    wait_until(SOON, "the call is recorded as cancelled", log).await.unwrap();
}

/// Starts a hundred asynchronous calls; their ids. All were answered, so none may be lost.
async fn hundred_calls(cloud: &Cloud, token: &str, app: &str) -> BTreeSet<String> {
    let project = cloud.project("demo1").await;
    let path = format!("/v1/r/{project}/{app}/work");
    let answers =
        join_all((0..100).map(|n| cloud.api(Method::POST, &path, Some(token), Some(json!({"n": n})))));
    let ids: BTreeSet<String> = answers
        .await
        .iter()
        .map(|answer| {
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            answer.json()["call_id"].as_str().unwrap_or_default().to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 100);
    ids
}

/// The ids whose last word in the log is that the call succeeded.
fn succeeded(log: &str) -> BTreeSet<String> {
    let lines = log.lines().filter(|line| line.contains("call ended") && line.contains("succeeded"));
    lines.filter_map(id_in).collect()
}

fn id_in(line: &str) -> Option<String> {
    let rest = line.split("call_id").nth(1)?;
    let start = rest.find(|c: char| c.is_ascii_hexdigit())?;
    Some(rest[start..].chars().take_while(|c| c.is_ascii_hexdigit() || *c == '-').collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_loses_no_accepted_call_and_leaves_nothing_on_the_host() {
    if !ready() {
        return;
    }
    let mut cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "crash").await;
    let options = json!({"type": "async", "memory": 16, "is_public": "false"});
    cloud.route(&token, &app, "/work", "b usleep 200000; echo done", options).await;
    let instance = cloud.picasso.instance();
    let ids = hundred_calls(&cloud, &token, &app).await;
    // Between two calls no sandbox may run for a moment, so both are waited for together.
    let in_the_middle =
        || async { succeeded(&cloud.picasso.log()).len() >= 5 && host::running_sandboxes(&instance) > 0 };
    wait_until(SOON, "some calls have run and some run now", in_the_middle).await.unwrap();

    let family = host::descendants(cloud.picasso.pid());
    let data = cloud.picasso.data_dir();
    cloud.picasso.kill_engine();
    let gone = || async {
        host::traces_of(&instance).is_empty()
            && host::mounts_below(&data).is_empty()
            && family.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    };
    wait_until(SOON, "processes, cgroups, mounts and interfaces are gone", gone).await.unwrap_or_else(
        |error| {
            panic!("{error}; left: {:?}", host::traces_of(&instance));
        },
    );
    let before = succeeded(&cloud.picasso.log()).len();
    assert!(before < 100, "the engine died in the middle");

    cloud.picasso.start_again().await.unwrap();
    let all_done = || async { ids.is_subset(&succeeded(&cloud.picasso.log())) };
    wait_until(Duration::from_secs(90), "every accepted call has run", all_done).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_spawner_loses_no_accepted_call_and_leaves_nothing_of_its_own() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "spawner").await;
    let options = json!({"type": "async", "memory": 16, "is_public": "false"});
    cloud.route(&token, &app, "/work", "b usleep 200000; echo done", options).await;
    let instance = cloud.picasso.instance();
    let ids = hundred_calls(&cloud, &token, &app).await;
    let spawner = cloud.picasso.spawner_pid().expect("a spawner");
    let in_the_middle =
        || async { succeeded(&cloud.picasso.log()).len() >= 5 && !host::descendants(spawner).is_empty() };
    wait_until(SOON, "some calls have run and some run now", in_the_middle).await.unwrap();

    let sandboxes = host::descendants(spawner);
    cloud.picasso.kill_spawner();
    let gone =
        || async { sandboxes.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) };
    wait_until(SOON, "the dead spawner's sandboxes are gone", gone).await.unwrap();

    let all_done = || async { ids.is_subset(&succeeded(&cloud.picasso.log())) };
    wait_until(Duration::from_secs(90), "every accepted call has run", all_done).await.unwrap();
    let idle = || async { host::running_sandboxes(&instance) == 0 };
    wait_until(SOON, "no sandbox is left", idle).await.unwrap();
    assert_ne!(cloud.picasso.spawner_pid(), Some(spawner), "a new spawner took over");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_is_on_disk_before_it_is_answered() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "durable").await;
    // Far in the future as seen from this test: nothing but the acceptance writes meanwhile.
    cloud.route(&token, &app, "/work", "exit 0", json!({"type": "async", "is_public": "false"})).await;

    let dir = TestDir::new("strace").unwrap();
    let trace = dir.path().join("trace.log");
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-s",
            "64",
            "-e",
            "trace=fsync,fdatasync,read,recvfrom,write,writev,sendto",
            "-o",
        ])
        .arg(&trace)
        .args(["-p", &cloud.picasso.engine_pid().expect("an engine").to_string()]);
    let mut strace = Process::spawn("strace", dir.path(), strace).unwrap();
    let engine = cloud.picasso.engine_pid().unwrap();
    let traced = || async {
        std::fs::read_to_string(format!("/proc/{engine}/status")).is_ok_and(|status| {
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        })
    };
    strace.ready(SOON, "strace is attached", traced).await.unwrap();

    let project = cloud.project("demo1").await;
    let path = format!("/v1/r/{project}/{app}/work");
    let answer =
        cloud.api(Method::POST, &path, Some(&token), Some(json!({"needle": "durable-needle"}))).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let call_id = answer.json()["call_id"].as_str().unwrap().to_owned();
    assert!(!call_id.is_empty());

    let order = || async { order_of_events(&std::fs::read_to_string(&trace).unwrap_or_default()).is_some() };
    wait_until(SOON, "strace wrote the request and its answer", order).await.unwrap();
    strace.stop();
    let text = std::fs::read_to_string(&trace).unwrap();
    let (request, answer) = order_of_events(&text).unwrap();
    let between = text.lines().skip(request).take(answer - request);
    let syncs = between.filter(|line| line.contains("fdatasync(") || line.contains("fsync(")).count();
    assert!(syncs > 0, "nothing was synced to disk between the request and its answer:\n{text}");
}

/// The lines at which the request was read and its answer written.
fn order_of_events(trace: &str) -> Option<(usize, usize)> {
    let request = trace.lines().position(|line| line.contains("POST /v1/r/"))?;
    let answer = trace.lines().skip(request).position(|line| line.contains("HTTP/1.1 200"))?;
    Some((request, request + answer))
}
