//! How often a real Keystone is asked, and what happens when it goes away or refuses us.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    CountingProxy, LIMIT, MovedClock, check, is_unavailable, keystone_is_here, refusal, settings,
    settings_at, uncached, validator, validator_with_clock,
};
use futures_util::future::join_all;
use picasso_identity::{KeystoneError, KeystoneSettings};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::wait_until;

/// The validator's settings with `proxy` between it and Keystone.
fn through(proxy: &CountingProxy, keystone: &Keystone) -> KeystoneSettings {
    settings_at(&proxy.auth_url, &keystone.password("picasso"))
}

#[tokio::test]
async fn a_hundred_requests_with_one_new_token_ask_keystone_once() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(through(&proxy, &keystone));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let answers = join_all((0..100).map(|_| check(&validator, &token))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((proxy.validations(), proxy.log_ins()), (1, 1));
}

#[tokio::test]
async fn many_new_tokens_at_once_share_one_log_in() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(through(&proxy, &keystone));
    let tokens: Vec<_> = join_all((0..8).map(|_| keystone.token("demo1-member", "demo1"))).await;
    let tokens: Vec<_> = tokens.into_iter().map(Result::unwrap).collect();
    let answers = join_all(tokens.iter().map(|token| check(&validator, token))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!((proxy.validations(), proxy.log_ins()), (8, 1));
}

#[tokio::test]
async fn without_a_cache_every_request_asks_keystone() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(uncached(through(&proxy, &keystone)));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    for _ in 0..3 {
        check(&validator, &token).await.unwrap();
    }
    assert_eq!((proxy.validations(), proxy.log_ins()), (3, 1));
}

#[tokio::test]
async fn a_refused_token_is_not_asked_about_again_for_a_while() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let garbage = "gAAAAAB".repeat(30);
    let long = Duration::from_mins(1);
    let remembering = validator(KeystoneSettings { refused_cache_time: long, ..through(&proxy, &keystone) });
    for _ in 0..20 {
        refusal(check(&remembering, &garbage).await);
    }
    assert_eq!(proxy.validations(), 1);

    let short = Duration::from_millis(300);
    let forgetful = validator(KeystoneSettings { refused_cache_time: short, ..through(&proxy, &keystone) });
    wait_until(LIMIT, "another look-up when the time is over", async || {
        refusal(check(&forgetful, &garbage).await);
        proxy.validations() == 3
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn text_that_cannot_be_a_token_is_never_sent_to_keystone() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(through(&proxy, &keystone));
    for text in ["", "short", &"a".repeat(5000), &("a".repeat(40) + "\r\nX: y"), &"ü".repeat(50)] {
        refusal(check(&validator, text).await);
    }
    assert_eq!((proxy.validations(), proxy.log_ins()), (0, 0));
}

#[tokio::test]
async fn when_our_own_token_is_revoked_we_log_in_again_once() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(uncached(through(&proxy, &keystone)));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
    keystone.revoke(&proxy.own_token()).await.unwrap();
    let answers = join_all((0..4).map(|_| check(&validator, &token))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(proxy.log_ins(), 2);
}

#[tokio::test]
async fn our_own_token_is_renewed_before_it_ends() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let clock = Arc::new(MovedClock::default());
    let validator = validator_with_clock(through(&proxy, &keystone), clock.clone());
    validator.log_in().await.unwrap();
    clock.move_to(3500);
    validator.log_in().await.unwrap();
    assert_eq!(proxy.log_ins(), 1);
    clock.move_to(3550);
    validator.log_in().await.unwrap();
    assert_eq!(proxy.log_ins(), 2);
}

#[tokio::test]
async fn our_own_token_is_used_to_its_end_while_it_cannot_be_renewed() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let clock = Arc::new(MovedClock::default());
    let validator = validator_with_clock(settings(&keystone), clock.clone());
    validator.log_in().await.unwrap();
    keystone.stop();
    clock.move_to(3550);
    validator.log_in().await.unwrap();
    clock.move_to(3600);
    assert!(matches!(validator.log_in().await, Err(KeystoneError::Unreachable(_))));
}

#[tokio::test]
async fn while_keystone_is_down_cached_tokens_go_on_and_new_ones_are_told_when_to_come_back() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let validator = validator(settings(&keystone));
    let known = keystone.token("demo1-member", "demo1").await.unwrap();
    let new = keystone.token("demo1-reader", "demo1").await.unwrap();
    check(&validator, &known).await.unwrap();
    keystone.stop();
    check(&validator, &known).await.unwrap();
    assert!(is_unavailable(&check(&validator, &new).await));
    keystone.restart().await.unwrap();
    check(&validator, &new).await.unwrap();
}

#[tokio::test]
async fn a_keystone_that_hangs_is_waited_for_no_longer_than_the_bound() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let settings = KeystoneSettings {
        request_timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(4),
        ..settings(&keystone)
    };
    let validator = validator(settings);
    let known = keystone.token("demo1-member", "demo1").await.unwrap();
    let new = keystone.token("demo1-reader", "demo1").await.unwrap();
    // On a busy machine also an answer of a sound Keystone may take longer than the bound.
    wait_until(LIMIT * 4, "an answer", async || check(&validator, &known).await.is_ok()).await.unwrap();
    keystone.pause();
    let started = std::time::Instant::now();
    let answer = check(&validator, &new).await;
    let waited = started.elapsed();
    check(&validator, &known).await.unwrap();
    keystone.resume();
    assert!(is_unavailable(&answer), "{answer:?}");
    assert!(waited < LIMIT, "waited {waited:?}");
    wait_until(LIMIT * 4, "Keystone's return", async || check(&validator, &new).await.is_ok()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_of_ours_is_503_for_callers_and_is_not_tried_at_every_call() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let settings = KeystoneSettings {
        retry_after: Duration::from_mins(1),
        ..settings_at(&proxy.auth_url, "not-the-password")
    };
    let validator = Arc::new(validator(settings));
    let refused = validator.log_in().await.unwrap_err();
    assert!(matches!(refused, KeystoneError::CredentialsRefused));
    assert!(!refused.to_string().contains("not-the-password"));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    for _ in 0..5 {
        assert!(is_unavailable(&check(&validator, &token).await));
    }
    assert_eq!((proxy.validations(), proxy.log_ins()), (0, 1));
}

#[tokio::test]
async fn a_service_user_without_the_service_role_is_503_for_callers() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let user = keystone.create_user("service", &["reader"]).await.unwrap();
    let settings = uncached(settings(&keystone));
    let credentials = picasso_identity::ServiceCredentials::Password {
        username: user.name.clone(),
        user_domain: "Default".to_owned(),
        password: keystone.password(&user.name).into(),
        project: "service".to_owned(),
        project_domain: "Default".to_owned(),
    };
    let validator = validator(KeystoneSettings { credentials, ..settings });
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    assert!(is_unavailable(&check(&validator, &token).await));
}
