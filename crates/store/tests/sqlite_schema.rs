//! SQLite only: migrations, the file, and what the schema itself refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod sqlite_support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use conformance::fixture::{MANY, TestClock, demo, new_app};
use picasso_store::{AppStore as _, StoreError};
use sqlite_support::{connect, open, url};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.unwrap()
}

async fn run(db: &mut SqliteConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(db).await.map(|_| ())
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_upgraded() {
    let folder = tempfile::tempdir().unwrap();
    let store = connect(&folder.path().join("picasso.db"), TestClock::new()).await;
    let error = store.check_schema().await.unwrap_err();
    assert!(matches!(&error, StoreError::SchemaMismatch { found, .. } if found == "empty"), "{error:?}");
    assert!(error.to_string().contains("picasso db upgrade"));
    store.upgrade().await.unwrap();
    store.check_schema().await.unwrap();
    store.create_app(&new_app(&demo(), "hello"), MANY).await.unwrap();
    store.upgrade().await.unwrap();
    assert_eq!(store.list_apps(&demo()).await.unwrap().len(), 1, "a second upgrade changes nothing");
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = open(&path, TestClock::new()).await;
    let mut db = raw(&path).await;
    run(
        &mut db,
        "INSERT INTO store_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', 1, x'00', 0)",
    )
    .await
    .unwrap();
    let refused =
        |error| matches!(error, StoreError::SchemaMismatch { found, .. } if found == "version 9999");
    assert!(refused(store.check_schema().await.unwrap_err()));
    assert!(refused(store.upgrade().await.unwrap_err()));
}

#[tokio::test]
async fn a_migration_that_was_edited_later_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = open(&path, TestClock::new()).await;
    run(&mut raw(&path).await, "UPDATE store_migrations SET checksum = x'00'").await.unwrap();
    for error in [store.check_schema().await.unwrap_err(), store.upgrade().await.unwrap_err()] {
        assert!(
            matches!(&error, StoreError::SchemaMismatch { found, .. } if found.contains("another build"))
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let mut db = raw(&path).await;
    // The last table of the migration is in its way.
    run(&mut db, "CREATE TABLE outbox (x)").await.unwrap();
    let store = connect(&path, TestClock::new()).await;
    assert!(matches!(store.upgrade().await, Err(StoreError::Database { .. })));
    let tables: Vec<String> = sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert_eq!(tables, ["outbox"]);
    run(&mut db, "DROP TABLE outbox").await.unwrap();
    store.upgrade().await.unwrap();
    store.check_schema().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_upgrade_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                let store = connect(&path, TestClock::new()).await;
                store.upgrade().await.unwrap();
                store.check_schema().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let _store = open(&path, TestClock::new()).await;
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.path());
        seen += 1;
    }
    assert!(seen >= 2, "the database and its log");
}

#[tokio::test]
async fn a_version_cannot_be_rewritten_even_by_hand() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = conformance::fixture::Fixture {
        store: std::sync::Arc::new(open(&path, TestClock::new()).await),
        clock: TestClock::new(),
        url: url(&path),
        _keep: Box::new(()),
    };
    let app = f.app("hello").await;
    f.ready_route(&app, "/hello").await;
    let mut db = raw(&path).await;
    for forbidden in [
        "UPDATE route_versions SET image = 'evil:1'",
        "UPDATE route_versions SET memory_mb = 1",
        "UPDATE route_versions SET merged_config = '{}'",
        "UPDATE route_versions SET created_by = 'someone else'",
        "UPDATE route_versions SET digest = 'sha256:0'",
        "UPDATE route_versions SET state = 'failed', digest = NULL",
    ] {
        let error = run(&mut db, forbidden).await.unwrap_err().to_string();
        assert!(error.contains("a route version"), "{forbidden}: {error}");
    }
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_value_is_told_apart_from_a_failed_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let store = open(&path, TestClock::new()).await;
    let app = store.create_app(&new_app(&demo(), "hello"), MANY).await.unwrap();
    run(&mut raw(&path).await, "UPDATE apps SET short_name = 'a b'").await.unwrap();
    let error = store.get_app_by_id(&app.id).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { what: "short_name", .. }), "{error:?}");
}
