//! SQLite only: the schema, the file, sharing it, and what reaches the disk when.
#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod sqlite_support;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use conformance::fixture::dispatch;
use picasso_queue::{Dispatch, Queue as _, QueueError, SqliteQueue, SqliteQueueSettings};
use picasso_types::SystemClock;
use sqlite_support::{TestClock, open};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, SqliteConnection};

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let settings = SqliteQueueSettings::at(folder.path().join("queue.db"));
    let queue = SqliteQueue::connect(&settings, TestClock::new()).await.unwrap();
    let error = queue.check_schema().await.unwrap_err();
    assert!(matches!(&error, QueueError::SchemaMismatch { found, .. } if found == "empty"), "{error:?}");
    queue.upgrade().await.unwrap();
    queue.upgrade().await.unwrap();
    queue.check_schema().await.unwrap();
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let queue = open(&path, TestClock::new()).await;
    sqlx::query(
        "INSERT INTO queue_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', 1, x'00', 0)",
    )
    .execute(&mut raw(&path).await)
    .await
    .unwrap();
    for error in [queue.check_schema().await.unwrap_err(), queue.upgrade().await.unwrap_err()] {
        assert!(matches!(&error, QueueError::SchemaMismatch { found, .. } if found == "version 9999"));
    }
}

#[tokio::test]
async fn the_queue_lives_in_a_file_with_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let mut db = raw(&path).await;
    for table in ["CREATE TABLE apps (id)", "CREATE TABLE _sqlx_migrations (version)"] {
        sqlx::query(table).execute(&mut db).await.unwrap();
    }
    let clock = TestClock::new();
    let queue = open(&path, clock.clone()).await;
    queue.check_schema().await.unwrap();
    queue.publish(&[dispatch()]).await.unwrap();
    assert_eq!(queue.receive(1, Duration::ZERO).await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let _queue = open(&folder.path().join("queue.db"), TestClock::new()).await;
    let modes: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().permissions().mode())
        .collect();
    assert!(modes.len() >= 2 && modes.iter().all(|mode| mode & 0o777 == 0o600), "{modes:?}");
}

#[tokio::test]
async fn a_publication_that_fails_publishes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let queue = open(&folder.path().join("queue.db"), clock.clone()).await;
    let bad = Dispatch { priority: 3, ..dispatch() };
    assert!(queue.publish(&[dispatch(), bad]).await.is_err());
    assert_eq!(queue.depth().await.unwrap(), 0);
    queue.publish(&[dispatch()]).await.unwrap();
    assert_eq!(queue.depth().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_processes_lock_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let clock = TestClock::new();
    let queue = Arc::new(open(&path, clock.clone()).await);
    let mut other = raw(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let publishing = {
        let (queue, dispatch) = (queue.clone(), dispatch());
        tokio::spawn(async move { queue.publish(&[dispatch]).await })
    };
    assert_eq!(queue.depth().await.unwrap(), 0, "reading goes on");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    publishing.await.unwrap().unwrap();
    assert_eq!(queue.depth().await.unwrap(), 1);
}

const CHILD_DATABASE: &str = "PICASSO_QUEUE_TEST_DATABASE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the traced child process of the test beside it"]
async fn child_process() {
    let Some(path) = std::env::var_os(CHILD_DATABASE) else { return };
    let queue = open(&PathBuf::from(path), Arc::new(SystemClock)).await;
    let dispatch = dispatch();
    eprintln!("MARK one");
    queue.publish(&[dispatch]).await.unwrap();
    eprintln!("MARK two");
    let got = queue.receive(1, Duration::ZERO).await.unwrap();
    queue.ack(&got[..1]).await.unwrap();
    eprintln!("MARK three");
}

#[tokio::test]
async fn what_is_published_is_on_disk_and_the_rest_does_not_wait_for_it() {
    let here = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
    let required = std::env::var("PICASSO_TEST_REQUIRE").is_ok_and(|value| value == "all");
    assert!(here || !required, "strace is required: apt-get install strace");
    if !here {
        println!("skipped: strace is not installed");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("strace.log");
    let ended = Command::new("strace")
        .args(["-f", "-qq", "-y", "-e", "trace=fsync,fdatasync,write", "-o"])
        .arg(&log)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "child_process", "--ignored", "--nocapture"])
        .env(CHILD_DATABASE, folder.path().join("queue.db"))
        .output()
        .unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let log = std::fs::read_to_string(&log).unwrap();
    let (_, rest) = log.split_once("MARK one").unwrap_or_else(|| panic!("no mark in {log}"));
    let (publishing, rest) = rest.split_once("MARK two").unwrap();
    let (consuming, _) = rest.split_once("MARK three").unwrap();
    let syncs = |part: &str| part.lines().filter(|line| line.contains("sync(")).count();
    assert!(publishing.lines().any(|line| line.contains("sync(") && line.contains("queue.db-wal")));
    assert_eq!(syncs(consuming), 0, "{consuming}");
}

#[tokio::test]
async fn higher_priorities_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder.path().join("queue.db"), TestClock::new()).await;
    let [low, middle, high] = [0, 1, 2].map(|priority| Dispatch { priority, ..dispatch() });
    queue.publish(&[low.clone(), middle.clone(), high.clone()]).await.unwrap();
    let got = queue.receive(10, Duration::ZERO).await.unwrap();
    let got: Vec<_> = got.into_iter().map(|delivery| delivery.call_id).collect();
    assert_eq!(got, [high.call_id, middle.call_id, low.call_id]);
}

#[tokio::test]
async fn a_late_acknowledgement_does_not_remove_a_redelivered_id() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new();
    let queue = open(&folder.path().join("queue.db"), clock.clone()).await;
    queue.publish(&[dispatch()]).await.unwrap();
    let late = queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
    for _ in 0..2 {
        clock.advance(Duration::from_secs(30));
        assert_eq!(queue.receive(1, Duration::ZERO).await.unwrap()[0].call_id, late.call_id);
        queue.ack(std::slice::from_ref(&late)).await.unwrap();
    }
}
