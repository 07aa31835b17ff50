//! Tokens that are kept: asked for once, renewed in time, never longer believed than Keystone gives them.

use std::sync::Arc;

use crate::support::{
    CountingProxy, MovedClock, keystone_is_here, settings, settings_at, validator, validator_with_clock,
};
use crate::trusts::trust;
use picasso_identity::{GrantedTokens, KeystoneSettings, TrustError, Trusts};
use picasso_testkit::keystone::Keystone;
use picasso_types::Clock;
use secrecy::ExposeSecret;

/// Tokens of a Keystone at this address, by a clock that can be moved.
fn tokens(settings: KeystoneSettings, clock: &Arc<MovedClock>) -> GrantedTokens {
    let keystone = validator_with_clock(settings, clock.clone());
    GrantedTokens::new(Arc::new(Trusts::new(Arc::new(keystone), None)), clock.clone(), 100)
}

#[tokio::test]
async fn a_hundred_sandboxes_of_one_trust_ask_keystone_once_and_again_when_it_is_time() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let maker = Trusts::new(Arc::new(validator(settings(&keystone))), None);
    let (_, trust) = trust(&keystone, &maker, &["member"], &["member"]).await;
    let proxy = CountingProxy::before(&keystone).await;
    let clock = Arc::new(MovedClock::default());
    let tokens = Arc::new(tokens(settings_at(&proxy.auth_url, &keystone.password("picasso")), &clock));
    let ask = async || {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (tokens, trust) = (tokens.clone(), trust.clone());
                tokio::spawn(async move { tokens.by_trust(&trust).await.unwrap() })
            })
            .collect();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        assert!(all.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
        all.pop().unwrap()
    };
    let first = ask().await;
    // One of our own, one of the trust.
    assert_eq!(proxy.log_ins(), 2);
    let life = first.expires_at.since(first.issued_at) / 1_000_000;
    clock.move_to(life * 7 / 10);
    assert!(Arc::ptr_eq(&first, &tokens.by_trust(&trust).await.unwrap()), "three tenths are left");
    clock.move_to(life * 85 / 100);
    let second = ask().await;
    assert_ne!(first.secret.expose_secret(), second.secret.expose_secret());
    assert!(proxy.log_ins() <= 4, "{}", proxy.log_ins());
    tokens.forget_trust(&trust).await;
    assert!(!Arc::ptr_eq(&second, &tokens.by_trust(&trust).await.unwrap()));
}

#[tokio::test]
async fn while_keystone_is_away_a_token_is_given_out_until_shortly_before_its_end() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::start().await.unwrap();
    let maker = Trusts::new(Arc::new(validator(settings(&keystone))), None);
    let (_, trust) = trust(&keystone, &maker, &["member"], &["member"]).await;
    let clock = Arc::new(MovedClock::default());
    let tokens = tokens(KeystoneSettings { retries: 0, ..settings(&keystone) }, &clock);
    let first = tokens.by_trust(&trust).await.unwrap();
    let life = first.expires_at.since(first.issued_at) / 1_000_000;
    keystone.stop();
    clock.move_to(life * 9 / 10);
    assert!(Arc::ptr_eq(&first, &tokens.by_trust(&trust).await.unwrap()));
    clock.move_to(life - 10);
    assert!(clock.now() < first.expires_at);
    assert!(matches!(tokens.by_trust(&trust).await, Err(TrustError::Unavailable(_))));
}

#[tokio::test]
async fn a_refusal_ends_what_was_kept_and_is_remembered_for_a_moment() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let maker = Trusts::new(Arc::new(validator(settings(&keystone))), None);
    let (_, trust) = trust(&keystone, &maker, &["member"], &["member"]).await;
    let proxy = CountingProxy::before(&keystone).await;
    let clock = Arc::new(MovedClock::default());
    let tokens = tokens(settings_at(&proxy.auth_url, &keystone.password("picasso")), &clock);
    tokens.by_trust(&trust).await.unwrap();
    maker.delete(&trust).await.unwrap();
    clock.move_to(3600 * 9 / 10);
    let asked = proxy.log_ins();
    for _ in 0..10 {
        assert!(matches!(tokens.by_trust(&trust).await, Err(TrustError::Refused(_))));
    }
    // The refused one, and our own, renewed or tried again.
    assert!(proxy.log_ins() <= asked + 4, "{}", proxy.log_ins() - asked);
}
