//! SQLite only: several processes on one file, sudden death, and what is on disk when.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed unwrap in a test is the failed test"
)]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod sqlite_support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use conformance::fixture::{Fixture, MANY, TestClock, config, demo, new_app, take};
use picasso_store::{AppStore as _, SecretKey, SqliteSettings, SqliteStore, Store as _, StoreError};
use picasso_types::{AppChange, InstanceId, SystemClock};
use sqlite_support::{KEY, open, url};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

const CHILD_TASK: &str = "PICASSO_STORE_TEST_TASK";
const CHILD_DATABASE: &str = "PICASSO_STORE_TEST_DATABASE";

/// This test binary again, as a process of its own that does `task`.
fn child(task: &str, database: &Path, before: &[&str]) -> Child {
    let this = std::env::current_exe().unwrap();
    let mut words: Vec<_> = before.iter().map(Into::into).collect();
    words.push(this.into_os_string());
    Command::new(&words[0])
        .args(&words[1..])
        .args(["--exact", "child_process", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD_TASK, task)
        .env(CHILD_DATABASE, database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child wrote as `key value` lines with this key.
fn values(output: &str, key: &str) -> Vec<String> {
    output
        .lines()
        .filter_map(|line| line.split_once(&format!("{key} ")))
        .map(|(_, value)| value.to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a child process of the tests beside it"]
async fn child_process() {
    let Ok(task) = std::env::var(CHILD_TASK) else { return };
    let database = PathBuf::from(std::env::var_os(CHILD_DATABASE).unwrap());
    let store = Arc::new(open(&database, Arc::new(SystemClock)).await);
    let f =
        Fixture { store: store.clone(), clock: TestClock::new(), url: url(&database), _keep: Box::new(()) };
    println!("ready");
    let mut go = [0];
    std::io::stdin().read_exact(&mut go).unwrap();
    match task.as_str() {
        "create apps" => println!("made {}", create_apps(&store, MANY).await),
        "create apps up to 30" => println!("made {}", create_apps(&store, 30).await),
        "accept for ever" => loop {
            accept_at_once(&f, 16).await;
        },
        "accept one" => {
            eprintln!("MARK body read");
            accept_at_once(&f, 1).await;
            eprintln!("MARK answered");
        }
        "accept 500" => accept_at_once(&f, 500).await,
        other => panic!("unknown task {other}"),
    }
}

async fn create_apps(store: &Arc<SqliteStore>, limit: u32) -> usize {
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { store.create_app(&new_app(&demo(), &format!("app-{n}")), limit).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(StoreError::AppExists | StoreError::OverLimit(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    made
}

/// Accepts calls of the database's only route; says each that was acknowledged.
async fn accept_at_once(f: &Fixture, calls: usize) {
    let app = f.store.get_app(&demo(), "hello").await.unwrap();
    let route = f.store.get_route(&app.id, "/hello").await.unwrap();
    let tasks: Vec<_> = (0..calls)
        .map(|_| {
            let (store, call) = (f.store.clone(), f.new_call(&app, &route));
            tokio::spawn(async move {
                store.accept_call(&call).await.unwrap();
                println!("accepted {}", call.id);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// A database with one app and one route.
async fn with_route(path: &Path) -> Fixture {
    let clock = TestClock::new();
    let f = Fixture {
        store: Arc::new(open(path, clock.clone()).await),
        clock,
        url: url(path),
        _keep: Box::new(()),
    };
    let app = f.app("hello").await;
    f.ready_route(&app, "/hello").await;
    f
}

fn start(child: &mut Child) {
    child.stdin.as_mut().unwrap().write_all(b"!").unwrap();
}

/// Runs a task in two processes at the same moment; what both wrote.
fn run_two(task: &str, database: &Path) -> String {
    let mut children = [child(task, database, &[]), child(task, database, &[])];
    let mut readers: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    for reader in &mut readers {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "the child ended early");
        }
    }
    children.iter_mut().for_each(start);
    let mut output = String::new();
    for (child, reader) in children.iter_mut().zip(&mut readers) {
        reader.read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success(), "{output}");
    }
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_create_the_same_apps_make_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = open(&path, TestClock::new()).await;
    let output = run_two("create apps", &path);
    let made: usize = values(&output, "made").iter().map(|n| n.parse::<usize>().unwrap()).sum();
    assert_eq!(made, 100);
    assert_eq!(store.list_apps(&demo()).await.unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_together_keep_to_the_limit_of_apps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = open(&path, TestClock::new()).await;
    run_two("create apps up to 30", &path);
    assert_eq!(store.list_apps(&demo()).await.unwrap().len(), 30);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_store_writes_another_on_the_same_file_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = with_route(&path).await;
    let other = open(&path, f.clock.clone()).await;
    let app = other.get_app(&demo(), "hello").await.unwrap();
    let change = AppChange {
        config: config(&[("A", "1")]),
        description: "new".to_owned(),
        ..conformance::fixture::empty_app()
    };
    let changed = other.update_app(&app.id, &change, "user-b").await.unwrap();
    assert_eq!(f.store.get_app(&demo(), "hello").await.unwrap(), changed);
    let route = f.store.get_route(&app.id, "/hello").await.unwrap();
    assert_eq!(route.latest.number, 2);
    let call = f.new_call(&app, &route);
    f.store.accept_call(&call).await.unwrap();
    let owner = InstanceId::generate();
    assert!(other.claim_call(&call.id, &owner, f.lease()).await.unwrap().is_some());
    assert!(f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_it_accepts_loses_no_acknowledged_call() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    drop(with_route(&path).await);
    let mut child = child("accept for ever", &path, &[]);
    start(&mut child);
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut output = String::new();
    while values(&output, "accepted").len() < 300 {
        assert!(reader.read_line(&mut output).unwrap() > 0, "the child ended early: {output}");
    }
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).unwrap();
    output.push_str(std::str::from_utf8(&rest).unwrap());
    // The last line may be cut off.
    let complete = output.rfind('\n').map_or("", |end| &output[..end]);
    let acknowledged = values(complete, "accepted");
    assert!(acknowledged.len() >= 300);

    let store = open(&path, Arc::new(SystemClock)).await;
    let waiting: Vec<_> =
        store.take_outbox(&take(u32::MAX)).await.unwrap().entries.into_iter().map(|e| e.call_id).collect();
    let lease = picasso_types::Timestamp(i64::MAX);
    for id in &waiting {
        let claimed = store.claim_call(id, &InstanceId::generate(), lease).await.unwrap().unwrap();
        assert_eq!((claimed.envelope, claimed.payload), (b"envelope".to_vec(), b"payload".to_vec()));
    }
    for id in &acknowledged {
        assert!(waiting.iter().any(|waiting| waiting.as_str() == id), "{id} was acknowledged and is lost");
    }
    let mut db = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM calls").fetch_one(&mut db).await.unwrap();
    assert_eq!(usize::try_from(rows).unwrap(), waiting.len(), "a call has its outbox entry or is not there");
}

/// Whether strace is here; its absence fails where everything is required.
fn strace_is_here() -> bool {
    let here = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    let required = std::env::var("PICASSO_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(here || !required, "strace is required: apt-get install strace");
    if !here {
        println!("skipped: strace is not installed");
    }
    here
}

/// The system calls of `task` that sync a file, and its marks, in order.
async fn traced(task: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    drop(with_route(&path).await);
    let log = folder.path().join("strace.log");
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-s",
        "40",
        "-e",
        "trace=fsync,fdatasync,write",
        "-o",
        log.to_str().unwrap(),
    ];
    let mut child = child(task, &path, &strace);
    start(&mut child);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success(), "{output}");
    std::fs::read_to_string(&log).unwrap()
}

fn is_sync_of_the_log(line: &&str) -> bool {
    (line.contains("fsync(") || line.contains("fdatasync(")) && line.contains("picasso.db-wal")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_call_is_on_disk_before_it_is_answered() {
    if !strace_is_here() {
        return;
    }
    let log = traced("accept one").await;
    let (_, after_body) = log.split_once("MARK body read").expect("the first mark");
    let (between, _) = after_body.split_once("MARK answered").expect("the second mark");
    let sync = between.lines().find(is_sync_of_the_log).unwrap_or_else(|| panic!("no sync in {between}"));
    let thread = sync.split_whitespace().next().unwrap();
    let done = between
        .lines()
        .skip_while(|line| *line != sync)
        .any(|line| line.starts_with(thread) && line.contains("sync") && line.ends_with("= 0"));
    assert!(done, "the sync did not end before the answer: {between}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_accepted_at_once_share_their_way_to_the_disk() {
    if !strace_is_here() {
        return;
    }
    let log = traced("accept 500").await;
    let syncs = log.lines().filter(is_sync_of_the_log).count();
    assert!((1..250).contains(&syncs), "500 calls took {syncs} syncs");
}

/// A store that waits only briefly for another writer.
async fn impatient(path: &Path, f: &Fixture) -> SqliteStore {
    let settings = SqliteSettings { busy_timeout: Duration::from_millis(20), ..SqliteSettings::at(path) };
    SqliteStore::connect(&settings, SecretKey::from_bytes(&KEY).unwrap(), f.clock.clone()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_database_fails_the_write_and_not_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = with_route(&path).await;
    let store = impatient(&path, &f).await;
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = store.create_app(&new_app(&demo(), "blocked"), MANY).await.unwrap_err();
    assert!(matches!(refused, StoreError::Database { .. }), "{refused:?}");
    assert!(store.get_app(&demo(), "hello").await.is_ok(), "reading goes on");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    store.create_app(&new_app(&demo(), "free"), MANY).await.unwrap();
    assert!(matches!(store.get_app(&demo(), "blocked").await, Err(StoreError::NotFound)));
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_before_its_turn_wrote_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = with_route(&path).await;
    let mut other = SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let stays = {
        let store = f.store.clone();
        tokio::spawn(async move { store.create_app(&new_app(&demo(), "stays"), MANY).await })
    };
    let leaving = new_app(&demo(), "leaves");
    let left = tokio::time::timeout(Duration::from_millis(50), f.store.create_app(&leaving, MANY)).await;
    assert!(left.is_err(), "the database is locked");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    stays.await.unwrap().unwrap();
    // One writer, in order: what had to come before this has come.
    f.app("last").await;
    assert!(matches!(f.store.get_app(&demo(), "leaves").await, Err(StoreError::NotFound)));
}
