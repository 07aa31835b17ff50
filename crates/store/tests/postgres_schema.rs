//! PostgreSQL only: migrations, and what the schema itself refuses.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod postgres_support;

use std::sync::Arc;

use conformance::fixture::{Fixture, MANY, TestClock, demo, new_app};
use picasso_store::{AppStore as _, PostgresSettings, PostgresStore, SecretKey, StoreError};
use postgres_support::{KEY, connect, database, open};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

async fn raw(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

async fn run(db: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    sqlx::query(sql).execute(db).await.map(|_| ())
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_upgraded() {
    let Some((_server, url)) = database().await else { return };
    let store = connect(&url, TestClock::new()).await;
    assert!(store.is_new().await.unwrap());
    let error = store.check_schema().await.unwrap_err();
    assert!(matches!(&error, StoreError::SchemaMismatch { found, .. } if found == "empty"), "{error:?}");
    store.upgrade().await.unwrap();
    store.check_schema().await.unwrap();
    assert!(!store.is_new().await.unwrap());
    store.create_app(&new_app(&demo(), "hello"), MANY).await.unwrap();
    store.upgrade().await.unwrap();
    assert_eq!(store.list_apps(&demo()).await.unwrap().len(), 1, "a second upgrade changes nothing");
}

#[tokio::test]
async fn a_database_of_a_newer_version_or_another_build_is_refused_and_left_alone() {
    let Some((_server, url)) = database().await else { return };
    let store = open(&url, TestClock::new()).await;
    let mut db = raw(&url).await;
    run(
        &mut db,
        "INSERT INTO store_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of the future', true, '\\x00', 0)",
    )
    .await
    .unwrap();
    for error in [store.check_schema().await.unwrap_err(), store.upgrade().await.unwrap_err()] {
        assert!(
            matches!(&error, StoreError::SchemaMismatch { found, .. } if found == "version 9999"),
            "{error:?}"
        );
    }
    run(&mut db, "DELETE FROM store_migrations WHERE version = 9999").await.unwrap();
    run(&mut db, "UPDATE store_migrations SET checksum = '\\x00'").await.unwrap();
    for error in [store.check_schema().await.unwrap_err(), store.upgrade().await.unwrap_err()] {
        assert!(
            matches!(&error, StoreError::SchemaMismatch { found, .. } if found.contains("another build"))
        );
    }
}

#[tokio::test]
async fn an_upgrade_that_fails_leaves_nothing() {
    let Some((_server, url)) = database().await else { return };
    let mut db = raw(&url).await;
    // The last table of the first migration is in its way.
    run(&mut db, "CREATE TABLE outbox (x INT)").await.unwrap();
    let store = connect(&url, TestClock::new()).await;
    assert!(matches!(store.upgrade().await, Err(StoreError::Database { .. })));
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
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
    let Some((_server, url)) = database().await else { return };
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let url = url.clone();
            tokio::spawn(async move {
                let store = connect(&url, TestClock::new()).await;
                store.upgrade().await.unwrap();
                store.check_schema().await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Each migration on top of a database that already holds rows of the one before: what a user of
/// an older release has.
#[tokio::test]
async fn a_database_with_the_first_schema_is_brought_up_to_date() {
    let Some((_server, url)) = database().await else { return };
    let first = sqlx::migrate!("migrations/postgres");
    let first = first.iter().next().unwrap();
    let mut db = raw(&url).await;
    sqlx::raw_sql(AssertSqlSafe(first.sql.as_str().to_owned())).execute(&mut db).await.unwrap();
    run(
        &mut db,
        "CREATE TABLE store_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMPTZ NOT NULL DEFAULT now(), success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, \
         execution_time BIGINT NOT NULL)",
    )
    .await
    .unwrap();
    sqlx::query("INSERT INTO store_migrations VALUES ($1, 'first', now(), true, $2, 0)")
        .bind(first.version)
        .bind(first.checksum.as_ref())
        .execute(&mut db)
        .await
        .unwrap();
    run(
        &mut db,
        "INSERT INTO apps VALUES ('01890000-0000-7000-8000-000000000001', \
         '968f523b6fec4a7694aaa27b300bb879', 'hello', 'hello-968f523b', 'old', '{\"A\":\"1\"}', 7, 7)",
    )
    .await
    .unwrap();
    let store = open(&url, TestClock::new()).await;
    store.check_schema().await.unwrap();
    let apps: Vec<(String, i64)> =
        sqlx::query_as("SELECT description, created_at FROM apps").fetch_all(&mut db).await.unwrap();
    assert_eq!(apps, [("old".to_owned(), 7)]);
}

#[tokio::test]
async fn a_version_cannot_be_rewritten_even_by_hand() {
    let Some((server, url)) = database().await else { return };
    let store = Arc::new(open(&url, TestClock::new()).await);
    let f = Fixture { store, clock: TestClock::new(), url: url.clone(), _keep: Box::new(server) };
    let app = f.app("hello").await;
    f.ready_route(&app, "/hello").await;
    let mut db = raw(&url).await;
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
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_without_the_password() {
    let Some((server, url)) = database().await else { return };
    let told = async |url: String| {
        let key = SecretKey::from_bytes(&KEY).unwrap();
        let error =
            PostgresStore::connect(&PostgresSettings::at(url), key, TestClock::new()).await.unwrap_err();
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error} {} {error:?}", cause.unwrap_or_default());
        assert!(!text.contains("sesame"), "{text}");
        (text, matches!(error, StoreError::Unavailable { .. }))
    };
    let (text, passes) = told(server.url_with_password("postgres", "sesame-wrong")).await;
    assert!(text.contains("password authentication failed") && !passes, "{text}");
    let (text, passes) = told(server.url("nowhere")).await;
    assert!(text.contains("\"nowhere\" does not exist") && !passes, "{text}");
    let (text, passes) = told("postgres://u:sesame@127.0.0.1:1/d".to_owned()).await;
    assert!(text.contains("refused") && passes, "{text}");
    let store = connect(&url, TestClock::new()).await;
    assert!(!format!("{store:?}").contains("sesame"));
}
