//! Answers that no working Keystone gives: each is bounded and none lets anybody in.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Fault, FaultServer, LIMIT, check, is_unavailable, settings_at, token_document, validator,
};
use futures_util::future::join_all;
use picasso_identity::{AuthError, KeystoneSettings, KeystoneSettingsError, KeystoneValidator};
use picasso_testkit::process::wait_until;
use picasso_types::SystemClock;
use tokio::task::JoinSet;

fn quick(server: &FaultServer) -> KeystoneSettings {
    KeystoneSettings { retries: 2, ..settings_at(&server.auth_url, "any") }
}

fn token() -> String {
    "t".repeat(64)
}

async fn answer_to(fault: Fault) -> (bool, usize) {
    let server = FaultServer::start(fault).await;
    let answer = check(&validator(quick(&server)), &token()).await;
    (is_unavailable(&answer), server.requests())
}

#[tokio::test]
async fn the_fault_server_is_believed_when_it_has_no_fault() {
    let body = token_document().to_string().into_bytes();
    let server = FaultServer::start(Fault::Answer("200 OK", "", body)).await;
    assert_eq!(check(&validator(quick(&server)), &token()).await.unwrap().user_id, "u1");
}

#[tokio::test]
async fn statuses_that_are_no_verdict_are_503_and_are_not_asked_again() {
    for status in ["500 X", "502 X", "503 X", "400 X", "403 X", "429 X", "204 X", "300 X", "999 X"] {
        assert_eq!(answer_to(Fault::Answer(status, "", Vec::new())).await, (true, 1), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let body = token_document().to_string().into_bytes();
    let elsewhere = FaultServer::start(Fault::Answer("200 OK", "", body)).await;
    let location: &'static str = format!("Location: {}/auth/tokens\r\n", elsewhere.auth_url).leak();
    for status in ["301 X", "302 X", "307 X", "308 X"] {
        assert_eq!(answer_to(Fault::Answer(status, location, Vec::new())).await, (true, 1), "{status}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn an_answer_that_is_not_understood_lets_nobody_in() {
    let mut without_user = token_document();
    without_user["token"].as_object_mut().unwrap().remove("user");
    let mut strange_project = token_document();
    strange_project["token"]["project"]["id"] = "../x".into();
    let mut without_end = token_document();
    without_end["token"]["expires_at"] = serde_json::Value::Null;
    let deep = "[".repeat(100_000);
    for body in ["", "{}", "null", "<html>", &deep] {
        assert_eq!(answer_to(Fault::Answer("200 OK", "", body.into())).await, (true, 1), "{body:.20}");
    }
    for document in [without_user, strange_project, without_end] {
        let body = document.to_string().into_bytes();
        assert_eq!(answer_to(Fault::Answer("200 OK", "", body)).await, (true, 1), "{document}");
    }
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let huge = vec![b' '; 1024 * 1024];
    assert_eq!(answer_to(Fault::Answer("200 OK", "", huge)).await, (true, 1));
    assert_eq!(answer_to(Fault::Endless).await, (true, 1));
}

#[tokio::test]
async fn a_broken_connection_is_tried_again_as_often_as_configured() {
    let (unavailable, requests) = answer_to(Fault::HangUp).await;
    assert!(unavailable);
    // The HTTP library may add one of its own where a pooled connection was closed before use.
    assert!((3..=6).contains(&requests), "{requests} requests");
}

#[tokio::test]
async fn silence_ends_after_the_configured_attempts() {
    let server = FaultServer::start(Fault::Silence).await;
    let settings = KeystoneSettings { request_timeout: Duration::from_secs(1), retries: 1, ..quick(&server) };
    assert!(is_unavailable(&check(&validator(settings), &token()).await));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn our_own_token_refused_again_and_again_ends_after_one_more_try() {
    assert_eq!(answer_to(Fault::Answer("401 X", "", Vec::new())).await, (true, 2));
}

#[tokio::test]
async fn requests_to_keystone_are_bounded_and_what_does_not_fit_the_queue_is_sent_away_at_once() {
    let server = FaultServer::start(Fault::Silence).await;
    let settings = KeystoneSettings {
        max_parallel: 2,
        max_waiting: 3,
        request_timeout: LIMIT,
        total_timeout: LIMIT,
        ..quick(&server)
    };
    let validator = Arc::new(validator(settings));
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let validator = Arc::clone(&validator);
        callers.spawn(async move { check(&validator, &format!("{n:064}")).await });
    }
    for _ in 0..15 {
        let sent_away = callers.join_next().await.unwrap().unwrap();
        assert!(is_unavailable(&sent_away));
    }
    wait_until(LIMIT, "two requests at Keystone", async || server.requests() == 2).await.unwrap();
    assert_eq!(callers.len(), 5);
    assert!(callers.try_join_next().is_none());
}

#[tokio::test]
async fn a_caller_who_leaves_does_not_take_the_answer_from_the_others() {
    let body = token_document().to_string().into_bytes();
    let server = FaultServer::start(Fault::Answer("200 OK", "", body)).await;
    let validator = Arc::new(validator(quick(&server)));
    let leaver = {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { check(&validator, &token()).await })
    };
    tokio::task::yield_now().await;
    let others = join_all((0..10).map(|_| {
        let validator = Arc::clone(&validator);
        tokio::spawn(async move { check(&validator, &token()).await })
    }));
    leaver.abort();
    for answer in others.await {
        answer.unwrap().unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_is_503_with_a_time_to_come_back() {
    let port = picasso_testkit::process::free_port().unwrap();
    let settings = KeystoneSettings {
        retry_after: Duration::from_secs(7),
        ..settings_at(&format!("http://127.0.0.1:{port}"), "any")
    };
    let answer = check(&validator(settings), &token()).await;
    assert!(matches!(answer, Err(AuthError::Unavailable { retry_after }) if retry_after.as_secs() == 7));
}

#[test]
fn settings_that_cannot_work_are_refused_when_the_validator_is_made() {
    picasso_testkit::keystone::install_tls_provider();
    let make = |settings| KeystoneValidator::new(settings, Arc::new(SystemClock)).unwrap_err();
    assert!(matches!(make(settings_at("keystone", "x")), KeystoneSettingsError::Field(_)));
    let missing = KeystoneSettings {
        ca_file: Some("/nonexistent/ca.pem".into()),
        ..settings_at("https://keystone.example.org/v3", "x")
    };
    let error = make(missing);
    assert!(error.to_string().contains("/nonexistent/ca.pem"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("ca.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    let empty =
        KeystoneSettings { ca_file: Some(garbage), ..settings_at("https://keystone.example.org/v3", "x") };
    assert!(matches!(make(empty), KeystoneSettingsError::NoCertificates { .. }));
}
