//! The retention loop: results and logs beyond their bounds go, and their objects with them. Time is
//! under the test's control.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use picasso_engine::EngineSettings;
use picasso_testkit::process::wait_until;
use picasso_types::{NewObject, ObjectId, ProjectId, Resource, Timestamp};
use serde_json::{Value, json};

use crate::support::clock::AheadClock;
use crate::support::{Options, PROJECT, Server, limits};

const SOON: Duration = Duration::from_mins(1);
const SIZE: usize = 1_500_000;

/// A server where a project may keep so many MiB of results and logs.
async fn server(clock: &Arc<AheadClock>, max_mb: u64) -> Server {
    let engine =
        EngineSettings { retention_interval: Duration::from_millis(20), ..EngineSettings::default() };
    let quota = limits(|resource| (resource == Resource::Outputs).then_some(max_mb));
    let options = Options { engine, clock: clock.clone(), quota, ..Options::default() };
    let server = Server::start_with(options).await;
    server.app().await;
    let script = format!("head -c {SIZE} /dev/zero");
    server.route("/large", &script, json!({"type": "async"})).await;
    server
}

fn url(id: &str) -> String {
    format!("/v1/{PROJECT}/calls/{id}")
}

/// Runs a call to its end.
async fn ended(server: &Server) -> String {
    let reply = server.api.post(&format!("/v1/r/{PROJECT}/hello/large"), "member", &json!({})).await;
    let id = reply.json()["call_id"].as_str().unwrap().to_owned();
    let there = || async { call(server, &id).await["status"] == "succeeded" };
    wait_until(SOON, "its end", there).await.unwrap();
    id
}

async fn call(server: &Server, id: &str) -> Value {
    server.api.get(&url(id), "reader").await.json()["call"].clone()
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut parts = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { parts.extend(self::parts(&path)) } else { parts.push(path) }
    }
    parts
}

/// How many bytes of its result are kept.
async fn kept(server: &Server, id: &str) -> usize {
    server.api.get(&format!("{}/result?raw=true", url(id)), "reader").await.body.len()
}

#[tokio::test]
async fn outputs_go_beyond_the_projects_bytes_and_after_their_time_with_their_objects() {
    let clock = Arc::new(AheadClock::default());
    // Room for two.
    let server = server(&clock, 3).await;
    let outputs = server.folder.path().join("outputs");
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(ended(&server).await);
        clock.pass(1);
    }
    let two_left = || async { parts(&outputs).len() == 4 };
    wait_until(SOON, "the parts of the oldest call are removed", two_left).await.unwrap();
    assert_eq!(kept(&server, &ids[0]).await, 0);
    for id in &ids[1..] {
        assert_eq!(kept(&server, id).await, SIZE);
    }
    assert_eq!(call(&server, &ids[0]).await["status"], "succeeded", "its record stays");

    clock.pass(8 * 86_400);
    wait_until(SOON, "all parts are removed", || async { parts(&outputs).is_empty() }).await.unwrap();
    for id in &ids {
        assert_eq!(server.api.get(&url(id), "reader").await.status, 404);
    }
}

#[tokio::test]
async fn what_a_server_that_died_was_writing_is_removed() {
    let clock = Arc::new(AheadClock::default());
    let server = server(&clock, 1024).await;
    let outputs = server.folder.path().join("outputs");
    let id = ended(&server).await;
    // As a run leaves them whose process is killed before its row says that they are there.
    let object = NewObject {
        id: ObjectId::generate(),
        project_id: ProjectId::parse(PROJECT).unwrap(),
        node: None,
        max_parts: 70,
        remove_after: Timestamp(picasso_types::Clock::now(&*clock).0 + 3600 * 1_000_000),
    };
    server.state.store.begin_object(&object).await.unwrap();
    let name = object.id.as_str();
    let folder = outputs.join(PROJECT).join(&name[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    for file in [format!("{name}.00000"), format!("{name}.00001"), format!("{name}.00002.new")] {
        std::fs::write(folder.join(file), "a part").unwrap();
    }
    assert_eq!(parts(&outputs).len(), 5);
    clock.pass(3601);
    wait_until(SOON, "they are removed", || async { parts(&outputs).len() == 2 }).await.unwrap();
    assert_eq!(kept(&server, &id).await, SIZE, "those of a call stay");
}
