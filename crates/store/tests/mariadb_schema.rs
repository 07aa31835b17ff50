//! MariaDB only: migrations that stop half way, and which servers and settings are refused.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod mariadb_support;

use std::time::Duration;

use conformance::fixture::{MANY, TestClock, demo, new_app};
use mariadb_support::{KEY, connect, database, open, own_server};
use picasso_store::{AppStore as _, MariaDbSettings, MariaDbStore, SecretKey, StoreError};
use picasso_testkit::process::wait_until;
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::Mutex;

async fn raw(url: &str) -> MySqlConnection {
    MySqlConnection::connect(url).await.unwrap()
}

async fn run(db: &mut MySqlConnection, sql: &'static str) {
    sqlx::query(sql).execute(db).await.unwrap();
}

/// Every table, column, index and constraint, as text to be compared.
async fn schema(db: &mut MySqlConnection) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar("SHOW TABLES").fetch_all(&mut *db).await.unwrap();
    let mut schema = Vec::new();
    for table in tables {
        let show = AssertSqlSafe(format!("SHOW CREATE TABLE {table}"));
        let (_, sql): (String, String) = sqlx::query_as(show).fetch_one(&mut *db).await.unwrap();
        // Where the numbers of rows go on.
        schema.push(sql.split(" AUTO_INCREMENT=").next().unwrap().to_owned());
    }
    schema
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
async fn a_database_of_a_newer_version_or_another_build_is_refused() {
    let Some((_server, url)) = database().await else { return };
    let store = open(&url, TestClock::new()).await;
    let mut db = raw(&url).await;
    run(
        &mut db,
        "INSERT INTO store_migrations (version, description, checksum) VALUES (9999, 'of the future', 0)",
    )
    .await;
    for error in [store.check_schema().await.unwrap_err(), store.upgrade().await.unwrap_err()] {
        assert!(
            matches!(&error, StoreError::SchemaMismatch { found, .. } if found == "version 9999"),
            "{error:?}"
        );
    }
    run(&mut db, "DELETE FROM store_migrations WHERE version = 9999").await;
    run(&mut db, "UPDATE store_migrations SET checksum = 0").await;
    for error in [store.check_schema().await.unwrap_err(), store.upgrade().await.unwrap_err()] {
        assert!(
            matches!(&error, StoreError::SchemaMismatch { found, .. } if found.contains("another build"))
        );
    }
}

/// An upgrade that died after each of its statements: run again, it ends with the same schema.
#[tokio::test]
async fn a_migration_that_stopped_after_any_statement_is_completed_by_running_it_again() {
    let Some((_server, url)) = database().await else { return };
    open(&url, TestClock::new()).await;
    let whole = schema(&mut raw(&url).await).await;
    let mut done: Vec<((i64, Vec<u8>), String)> = Vec::new();
    for migration in sqlx::migrate!("migrations/mariadb").iter() {
        let statements: Vec<&str> = migration.sql.as_str().split_inclusive(";\n").collect();
        assert!(!statements.is_empty());
        for count in 1..=statements.len() {
            let (_server, url) = database().await.unwrap();
            let mut db = raw(&url).await;
            for (version, sql) in &done {
                apply(&mut db, sql).await;
                note(&mut db, version).await;
            }
            apply(&mut db, &statements[..count].concat()).await;
            let store = open(&url, TestClock::new()).await;
            store.check_schema().await.unwrap();
            assert_eq!(schema(&mut db).await, whole, "after {count} of version {}", migration.version);
        }
        done.push(((migration.version, migration.checksum.to_vec()), migration.sql.as_str().to_owned()));
    }
}

async fn apply(db: &mut MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(db).await.unwrap();
}

async fn note(db: &mut MySqlConnection, (version, checksum): &(i64, Vec<u8>)) {
    run(
        db,
        "CREATE TABLE IF NOT EXISTS store_migrations (version BIGINT NOT NULL PRIMARY KEY, \
         description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT current_timestamp, \
         checksum BLOB NOT NULL) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin",
    )
    .await;
    sqlx::query("INSERT INTO store_migrations (version, description, checksum) VALUES (?, 'done', ?)")
        .bind(version)
        .bind(checksum)
        .execute(db)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_whose_server_is_killed_is_completed_by_the_next() {
    let Some((mut server, _)) = own_server().await else { return };
    let url = server.create_database("half").unwrap();
    let store = connect(&url, TestClock::new()).await;
    let upgrade = tokio::spawn(async move { store.upgrade().await });
    let watcher = Mutex::new(raw(&url).await);
    wait_until(Duration::from_secs(30), "the first table", || async {
        let mut db = watcher.lock().await;
        let tables: Vec<String> = sqlx::query_scalar("SHOW TABLES").fetch_all(&mut *db).await.unwrap();
        tables.iter().any(|table| table == "apps")
    })
    .await
    .unwrap();
    server.kill().await.unwrap();
    // It may have been quicker than the kill; what counts is what the next one finds.
    let _ = upgrade.await.unwrap();
    server.start_again().await.unwrap();
    let store = open(&url, TestClock::new()).await;
    store.check_schema().await.unwrap();
    store.create_app(&new_app(&demo(), "hello"), MANY).await.unwrap();
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

/// Error, its cause, and whether it may pass.
#[tokio::test]
async fn an_upgrade_keeps_its_lock_however_long_it_takes() {
    let Some((server, fixture)) = own_server().await else { return };
    server.run("SET GLOBAL idle_transaction_timeout = 1").unwrap();
    let url = server.url("picasso");
    let store = connect(&url, fixture.clock.clone()).await;
    let (mut blocker, mut watcher) = (raw(&url).await, raw(&url).await);
    run(&mut blocker, "DELETE FROM store_migrations ORDER BY version DESC LIMIT 1").await;
    sqlx::raw_sql("LOCK TABLES store_migrations READ").execute(&mut blocker).await.unwrap();
    let release = async {
        let watcher = Mutex::new(&mut watcher);
        // It waits longer than an idle transaction may last here, and so does what holds its lock.
        let waits = || async {
            let waiting = "SELECT count(*) FROM information_schema.processlist \
                           WHERE info LIKE 'INSERT INTO store_migrations%' AND time >= 3";
            sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut **watcher.lock().await).await.unwrap() == 1
        };
        wait_until(Duration::from_mins(1), "an upgrade that waits", waits).await.unwrap();
        sqlx::raw_sql("UNLOCK TABLES").execute(&mut blocker).await.unwrap();
    };
    let (upgraded, ()) = tokio::join!(store.upgrade(), release);
    upgraded.unwrap();
    store.check_schema().await.unwrap();
}

async fn refusal(settings: &MariaDbSettings) -> (String, bool) {
    let key = SecretKey::from_bytes(&KEY).unwrap();
    let error = MariaDbStore::connect(settings, key, TestClock::new()).await.unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let text = format!("{error} {cause} {error:?}");
    assert!(!text.contains("sesame"), "{text}");
    (text, matches!(error, StoreError::Unavailable { .. }))
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_without_the_password() {
    let Some((server, url)) = database().await else { return };
    let wrong = server.url_with_password("mysql", "sesame-wrong");
    let (text, passes) = refusal(&MariaDbSettings::at(wrong)).await;
    assert!(text.contains("Access denied") && !passes, "{text}");
    let (text, passes) = refusal(&MariaDbSettings::at(server.url("nowhere"))).await;
    assert!(text.contains("Access denied") && text.contains("nowhere") && !passes, "{text}");
    let (text, passes) = refusal(&MariaDbSettings::at("mysql://u:sesame@127.0.0.1:1/d".to_owned())).await;
    assert!(text.contains("refused") && passes, "{text}");
    let store = connect(&url, TestClock::new()).await;
    assert!(!format!("{store:?}").contains("sesame"));
}

#[tokio::test]
async fn a_server_that_takes_too_small_packets_is_refused_with_what_is_needed() {
    let Some((server, url)) = database().await else { return };
    let large = MariaDbSettings { max_call_bytes: 64 << 20, ..MariaDbSettings::at(url.clone()) };
    let (text, passes) = refusal(&large).await;
    assert!(text.contains("max_allowed_packet is 16777216 bytes") && !passes, "{text}");
    assert!(text.contains(&format!("need {}", 65 << 20)), "{text}");
    server.run(&format!("SET GLOBAL max_allowed_packet = {}", 128 << 20)).unwrap();
    let key = SecretKey::from_bytes(&KEY).unwrap();
    MariaDbStore::connect(&large, key, TestClock::new()).await.unwrap();
    server.run("SET GLOBAL max_allowed_packet = 16777216").unwrap();
}

#[tokio::test]
async fn the_servers_socket_serves_as_well_as_its_port() {
    let Some((server, url)) = database().await else { return };
    open(&url, TestClock::new()).await;
    let name = url.rsplit('/').next().unwrap();
    let store = connect(&server.url_of_socket(name), TestClock::new()).await;
    store.check_schema().await.unwrap();
}

/// Whatever the server's own defaults are, nothing is cut and nothing is compared without case.
#[tokio::test]
async fn a_server_with_lax_defaults_changes_nothing() {
    let Some((server, url)) = database().await else { return };
    server.run("SET GLOBAL sql_mode = '', GLOBAL tx_isolation = 'SERIALIZABLE'").unwrap();
    let store = open(&url, TestClock::new()).await;
    server.run("SET GLOBAL sql_mode = DEFAULT, GLOBAL tx_isolation = 'REPEATABLE-READ'").unwrap();
    let app = store.create_app(&new_app(&demo(), "hello"), MANY).await.unwrap();
    assert!(matches!(store.get_app(&demo(), "HELLO").await, Err(StoreError::NotFound)));
    assert!(matches!(store.get_app(&demo(), "hello ").await, Err(StoreError::NotFound)));
    assert_eq!(store.get_app(&demo(), "hello").await.unwrap().id, app.id);
}
