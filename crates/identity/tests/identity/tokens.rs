//! Which tokens of a real Keystone are accepted, for whom, and until when.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{
    Log, MovedClock, check, keystone_is_here, refusal, settings, settings_at, uncached, validator,
    validator_with_clock,
};
use picasso_identity::{Caller, Domain, KeystoneSettings, Scope as Seen, ServiceCredentials, TokenValidator};
use picasso_testkit::keystone::{Keystone, Scope};
use picasso_types::{Clock, SystemClock};
use tracing::instrument::WithSubscriber;

fn has_roles(caller: &Caller, roles: &[&str]) -> bool {
    roles.iter().all(|role| caller.roles.iter().any(|given| given == role))
}

#[tokio::test]
async fn a_valid_token_tells_user_project_roles_and_end() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let caller = check(&validator, &token).await.unwrap();
    assert_eq!(caller.user_id, keystone.user_id("demo1-member").await.unwrap());
    assert_eq!(caller.user_name, "demo1-member");
    assert_eq!(caller.project_id().unwrap().as_str(), keystone.project_id("demo1").await.unwrap());
    assert!(has_roles(&caller, &["member", "reader"]) && !has_roles(&caller, &["admin"]));
    let left = caller.expires_at.since(SystemClock.now());
    assert!((3_500_000_000..=3_600_000_000).contains(&left), "{left} µs left");
    assert_eq!(validator.auth_uri(), keystone.auth_url());
}

#[tokio::test]
async fn a_role_brings_those_that_it_implies() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    let personas = ["admin", "manager", "member", "reader"];
    for (user, roles) in [
        ("demo1-reader", &personas[3..]),
        ("demo1-member", &personas[2..]),
        ("demo1-admin", &personas[..]),
        ("demo1-nobody", &[]),
    ] {
        let token = keystone.token(user, "demo1").await.unwrap();
        let caller = check(&validator, &token).await.unwrap();
        let given: Vec<_> = personas.iter().filter(|role| has_roles(&caller, &[role])).collect();
        assert_eq!(given, roles.iter().collect::<Vec<_>>(), "{user} {:?}", caller.roles);
    }
}

#[tokio::test]
async fn garbage_is_refused() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let mut tampered = token.clone();
    tampered.replace_range(60..61, if &token[60..61] == "A" { "B" } else { "A" });
    for garbage in ["", "x", &"f0".repeat(16), &"gAAAAAB".repeat(30), &tampered, &token[..token.len() - 1]] {
        refusal(check(&validator, garbage).await);
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let token = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    assert!(refusal(check(&validator(settings(&keystone)), &token).await).contains("expired"));
}

#[tokio::test]
async fn a_cached_token_is_refused_once_it_has_expired() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let settings = KeystoneSettings { cache_time: Some(Duration::from_hours(3)), ..settings(&keystone) };
    let clock = Arc::new(MovedClock::default());
    let validator = validator_with_clock(settings, clock.clone());
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
    clock.move_to(3500);
    check(&validator, &token).await.unwrap();
    clock.move_to(3600);
    assert!(refusal(check(&validator, &token).await).contains("expired"));
}

#[tokio::test]
async fn without_a_cache_a_revoked_token_is_refused_at_once() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(uncached(settings(&keystone)));
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
    keystone.revoke(&token).await.unwrap();
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn with_a_cache_a_revoked_token_is_refused_at_its_bound() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let bound = KeystoneSettings { cache_time: Some(Duration::from_mins(10)), ..settings(&keystone) };
    let clock = Arc::new(MovedClock::default());
    let validator = validator_with_clock(bound, Arc::clone(&clock) as Arc<dyn Clock>);
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
    keystone.revoke(&token).await.unwrap();
    // Five minutes are left for the test itself to take.
    clock.move_to(5 * 60);
    check(&validator, &token).await.unwrap();
    clock.move_to(10 * 60);
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn tokens_of_a_disabled_user_are_refused() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(uncached(settings(&keystone)));
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let token = keystone.token(&user.name, "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
    keystone.set_user_enabled(&user.name, false).await.unwrap();
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn a_role_that_was_taken_away_is_gone_from_existing_tokens() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(uncached(settings(&keystone)));
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let token = keystone.token(&user.name, "demo1").await.unwrap();
    assert!(has_roles(&check(&validator, &token).await.unwrap(), &["member"]));
    keystone.remove_role(&user.name, "demo1", "member").await.unwrap();
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn an_application_credential_without_access_rules_acts_as_its_user() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(uncached(settings(&keystone)));
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let credential = keystone.create_application_credential(&user.name, "demo1", None).await.unwrap();
    let token = keystone.token_of(&credential).await.unwrap();
    assert_eq!(check(&validator, &token).await.unwrap().user_id, user.id);
    keystone.delete_application_credential(&credential).await.unwrap();
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn a_trust_token_acts_for_the_trustor_with_the_trusted_role_only() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(uncached(settings(&keystone)));
    let trustor = keystone.create_user("demo1", &["member"]).await.unwrap();
    let trust = keystone.create_trust(&trustor.name, "demo2-member", "demo1", "reader").await.unwrap();
    let token = keystone.scoped_token("demo2-member", Scope::Trust(&trust)).await.unwrap();
    let caller = check(&validator, &token).await.unwrap();
    assert_eq!(caller.user_id, trustor.id);
    assert_eq!(caller.project_id().unwrap().as_str(), keystone.project_id("demo1").await.unwrap());
    assert!(has_roles(&caller, &["reader"]) && !has_roles(&caller, &["member"]));
    let known = caller.trust.as_ref().unwrap();
    assert_eq!((&known.id, &known.trustor_user_id), (&trust, &trustor.id));
    assert_eq!(known.trustee_user_id, keystone.user_id("demo2-member").await.unwrap());
    keystone.delete_trust(&trustor.name, "demo1", &trust).await.unwrap();
    refusal(check(&validator, &token).await);
}

#[tokio::test]
async fn tokens_with_another_scope_than_a_project_are_identities_without_access() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    keystone.add_domain_role("demo2-member", "member").await.unwrap();
    let domain = Domain { id: "default".to_owned(), name: "Default".to_owned() };
    for (user, scope, seen) in [
        ("demo1-member", Scope::Unscoped, Seen::Unscoped),
        ("admin", Scope::System, Seen::System),
        ("demo2-member", Scope::Domain, Seen::Domain(domain)),
    ] {
        let token = keystone.scoped_token(user, scope).await.unwrap();
        let caller = check(&validator, &token).await.unwrap();
        assert_eq!((caller.user_name.as_str(), &caller.scope), (user, &seen));
        assert_eq!(caller.project_id(), None);
    }
}

#[tokio::test]
async fn the_service_itself_may_be_an_application_credential() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let own = keystone.create_application_credential("picasso", "service", None).await.unwrap();
    let credentials =
        ServiceCredentials::ApplicationCredential { id: own.id.clone(), secret: own.secret.clone().into() };
    let validator = validator(KeystoneSettings::new(keystone.url(), credentials));
    validator.log_in().await.unwrap();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    check(&validator, &token).await.unwrap();
}

#[tokio::test]
async fn no_token_or_password_shows_in_logs_debug_output_or_errors() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let token = keystone.token("demo1-member", "demo1").await.unwrap();
    let garbage = format!("{token}x");
    let log = Log::default();
    let shown = async {
        let good = validator(uncached(settings(&keystone)));
        let locked_out = validator(settings_at(&keystone.auth_url(), "a-wrong-password"));
        let nowhere = validator(KeystoneSettings { retries: 1, ..settings_at("http://127.0.0.1:9/v3", "x") });
        let answers = [
            check(&good, &token).await,
            check(&good, &garbage).await,
            check(&locked_out, &token).await,
            check(&nowhere, &token).await,
        ];
        format!("{good:?} {:?} {answers:?} {:?}", settings(&keystone), locked_out.log_in().await)
    }
    .with_subscriber(log.subscriber())
    .await;
    let log = log.text();
    assert!(log.contains("a token could not be validated"), "{log}");
    assert!(log.contains("TRACE"), "the libraries' messages are missing: {log}");
    for secret in [&token, &keystone.password("picasso"), "a-wrong-password"] {
        assert!(!shown.contains(secret), "a secret is in {shown}");
        assert!(!log.contains(secret), "a secret was logged");
    }
}
