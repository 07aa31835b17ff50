//! Limits by number, kept by three processes that together make a hundred things at once, on each
//! database.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixtures of the conformance suites are used here")]

mod conformance;
mod mariadb_support;
mod postgres_support;
mod sqlite_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use conformance::fixture::{MANY, TestClock, demo, new_app, new_route};
use picasso_store::{Store, StoreError};
use picasso_types::SystemClock;

const CHILD_TASK: &str = "PICASSO_QUOTA_TEST_TASK";
const CHILD_DATABASE: &str = "PICASSO_QUOTA_TEST_DATABASE";
const PROCESSES: usize = 3;
/// Of each process; more than a hundred in all.
const CREATES: usize = 34;
const LIMIT: u32 = 40;

async fn connect(database: &str) -> Arc<dyn Store> {
    let clock = Arc::new(SystemClock);
    if database.starts_with("postgres") {
        Arc::new(postgres_support::connect(database, clock).await)
    } else if database.starts_with("mysql") || database.starts_with("mariadb") {
        Arc::new(mariadb_support::connect(database, clock).await)
    } else {
        Arc::new(sqlite_support::connect(Path::new(database), clock).await)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child process of the tests beside it"]
async fn child_process() {
    let Ok(task) = std::env::var(CHILD_TASK) else { return };
    let store = connect(&std::env::var(CHILD_DATABASE).unwrap()).await;
    let apps = store.list_apps(&demo()).await.unwrap();
    println!("ready");
    let mut go = [0];
    std::io::stdin().read_exact(&mut go).unwrap();
    let process = std::process::id();
    let tasks: Vec<_> = (0..CREATES)
        .map(|n| {
            let (store, task) = (store.clone(), task.clone());
            let app = apps[n % apps.len()].id.clone();
            tokio::spawn(async move {
                match task.as_str() {
                    "apps" => {
                        store.create_app(&new_app(&demo(), &format!("a{process}-{n}")), LIMIT).await.map(drop)
                    }
                    "routes" => {
                        let new = new_route(&format!("/r{process}-{n}"));
                        store.create_route(&app, &new, None, LIMIT).await.map(drop)
                    }
                    other => panic!("unknown task {other}"),
                }
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => made += 1,
            Err(StoreError::OverLimit(over)) => assert_eq!((over.limit, over.delta), (LIMIT.into(), 1)),
            Err(other) => panic!("{other:?}"),
        }
    }
    println!("made {made}");
}

/// This test binary again, as a process of its own that does `task`.
fn child(task: &str, database: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_TASK, task)
        .env(CHILD_DATABASE, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Does `task` in three processes at the same moment; how many were made.
fn run(task: &str, database: &str) -> usize {
    let mut children: Vec<Child> = (0..PROCESSES).map(|_| child(task, database)).collect();
    let mut readers: Vec<BufReader<ChildStdout>> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    for reader in &mut readers {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the child ended early");
        }
    }
    for child in &mut children {
        child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
    }
    let mut made = 0;
    for (child, reader) in children.iter_mut().zip(&mut readers) {
        let mut output = String::new();
        reader.read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success(), "{output}");
        let line = output.lines().find_map(|line| line.split_once("made ")).unwrap();
        made += line.1.parse::<usize>().unwrap();
    }
    made
}

async fn keeps_to_its_limits(database: &str, store: Arc<dyn Store>) {
    let there = ["one", "two", "three"];
    for name in there {
        store.create_app(&new_app(&demo(), name), MANY).await.unwrap();
    }
    let limit = LIMIT as usize;
    assert_eq!(run("routes", database), limit, "routes, in three apps");
    assert_eq!(run("apps", database), limit - there.len(), "apps");
    let usage = store.project_usage(&demo()).await.unwrap();
    assert_eq!((usage.apps, usage.routes), (LIMIT.into(), LIMIT.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_together_keep_to_a_projects_limits_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = sqlite_support::open(&path, TestClock::new()).await;
    keeps_to_its_limits(path.to_str().unwrap(), Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_together_keep_to_a_projects_limits_on_postgresql() {
    let Some((_server, url)) = postgres_support::database().await else { return };
    let store = postgres_support::open(&url, TestClock::new()).await;
    keeps_to_its_limits(&url, Arc::new(store)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_processes_together_keep_to_a_projects_limits_on_mariadb() {
    let Some((_server, url)) = mariadb_support::database().await else { return };
    let store = mariadb_support::open(&url, TestClock::new()).await;
    keeps_to_its_limits(&url, Arc::new(store)).await;
}
