//! SQLite only: bodies are unreadable in the files, and bound to their call and key.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap in a test is the failed test")]
#![expect(dead_code, reason = "only the fixture of the conformance suite is used here")]

mod conformance;
mod sqlite_support;

use std::path::Path;
use std::sync::Arc;

use conformance::fixture::{Fixture, TestClock, succeeded};
use picasso_store::{SecretKey, SqliteSettings, SqliteStore, Store as _, StoreError};
use picasso_types::{CallOutput, CallState, InstanceId, NewCall};
use sqlite_support::{KEY, open, url};
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

const SECRET: &[u8] = b"correct horse battery staple";

async fn fixture(path: &Path) -> Fixture {
    let clock = TestClock::new();
    Fixture { store: Arc::new(open(path, clock.clone()).await), clock, url: url(path), _keep: Box::new(()) }
}

async fn accept_secret(f: &Fixture, name: &str) -> NewCall {
    let app = f.app(name).await;
    let route = f.ready_route(&app, "/hello").await;
    let mut call = f.new_call(&app, &route);
    call.envelope = [b"envelope with ", SECRET].concat();
    call.payload = [b"payload with ", SECRET].concat();
    f.store.accept_call(&call).await.unwrap();
    call
}

async fn run(path: &Path, sql: &'static str) -> u64 {
    let mut db = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::query(sql).execute(&mut db).await.unwrap().rows_affected()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test]
async fn neither_body_nor_key_is_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let f = fixture(&folder.path().join("picasso.db")).await;
    let call = accept_secret(&f, "hello").await;
    let mut found_call = false;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        found_call |= contains(&bytes, call.id.as_str().as_bytes());
        for secret in [SECRET, b"payload with", b"envelope with", &KEY] {
            assert!(!contains(&bytes, secret), "{path:?} holds a secret");
        }
    }
    assert!(found_call, "the call itself must be where the test looks");
}

#[tokio::test]
async fn neither_result_nor_log_is_in_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let f = fixture(&folder.path().join("picasso.db")).await;
    let call = accept_secret(&f, "hello").await;
    let owner = InstanceId::generate();
    f.store.claim_call(&call.id, &owner, f.lease()).await.unwrap().unwrap();
    let output = CallOutput {
        result: [b"result with ", SECRET].concat(),
        log: [b"log with ", SECRET].concat(),
        ..CallOutput::default()
    };
    assert!(f.store.finish_call(&call.id, &owner, &succeeded(), &output, &[]).await.unwrap());
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in [SECRET, b"result with", b"log with"] {
            assert!(!contains(&bytes, secret), "{path:?} holds a secret");
        }
    }
    assert_eq!(f.store.get_call_output(&call.id).await.unwrap(), Some(output));
}

#[tokio::test]
async fn another_key_does_not_open_a_body_and_the_call_stays_queued() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = fixture(&path).await;
    let call = accept_secret(&f, "hello").await;
    let other = SecretKey::from_bytes(&[1; 32]).unwrap();
    let stranger = SqliteStore::connect(&SqliteSettings::at(&path), other, f.clock.clone()).await.unwrap();
    let error = stranger.claim_call(&call.id, &InstanceId::generate(), f.lease()).await.unwrap_err();
    let StoreError::Damaged { what: "call body", detail } = &error else { panic!("{error:?}") };
    assert!(detail.contains(SecretKey::from_bytes(&KEY).unwrap().id()), "names the key: {detail}");
    assert_eq!(f.store.get_call(&call.id).await.unwrap().state, CallState::Queued);
    let claimed = f.store.claim_call(&call.id, &InstanceId::generate(), f.lease()).await.unwrap().unwrap();
    assert_eq!((claimed.envelope, claimed.payload), (call.envelope, call.payload));
}

#[tokio::test]
async fn a_body_that_was_given_to_another_call_in_the_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = fixture(&path).await;
    let (thief, victim) = (accept_secret(&f, "one").await, accept_secret(&f, "two").await);
    let changed = run(
        &path,
        "UPDATE call_bodies SET payload = (SELECT payload FROM call_bodies ORDER BY call_id DESC LIMIT 1)",
    )
    .await;
    assert_eq!(changed, 2);
    let owner = InstanceId::generate();
    let refused = f.store.claim_call(&thief.id, &owner, f.lease()).await;
    assert!(matches!(refused, Err(StoreError::Damaged { what: "call body", .. })));
    assert!(f.store.claim_call(&victim.id, &owner, f.lease()).await.unwrap().is_some());
}

#[tokio::test]
async fn the_success_of_a_call_deletes_its_body() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picasso.db");
    let f = fixture(&path).await;
    let owner = InstanceId::generate();
    let finished = accept_secret(&f, "one").await;
    let cancelled = accept_secret(&f, "two").await;
    accept_secret(&f, "three").await;
    f.store.claim_call(&finished.id, &owner, f.lease()).await.unwrap().unwrap();
    assert!(
        f.store.finish_call(&finished.id, &owner, &succeeded(), &CallOutput::default(), &[]).await.unwrap()
    );
    f.store.delete_route(&cancelled.route_id).await.unwrap();
    assert_eq!(run(&path, "UPDATE call_bodies SET key_id = key_id").await, 1);
}
