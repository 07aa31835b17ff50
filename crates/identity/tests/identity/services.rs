//! Service tokens of a real Keystone: who brings them, and which user tokens they make good.

use picasso_identity::KeystoneSettings;
use picasso_testkit::keystone::Keystone;

use crate::support::{CountingProxy, keystone_is_here, refusal, settings, settings_at, shown, validator};

const ANY: (&str, &str) = ("GET", "/v1");

#[tokio::test]
async fn a_service_token_tells_which_service_passes_the_request_on() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    let tokens = [("x-auth-token", user.as_str()), ("x-service-token", service.as_str())];
    let caller = shown(&validator, &tokens, ANY).await.unwrap();
    assert_eq!(caller.user_name, "demo1-member");
    let by = caller.service.as_ref().unwrap();
    assert_eq!(by.user_id, keystone.user_id("picasso").await.unwrap());
    assert_eq!(by.project_id().unwrap().as_str(), keystone.project_id("service").await.unwrap());
    assert!(by.roles.iter().any(|role| role == "service"));
    assert_eq!(caller.policy_values()["service_user_id"], by.user_id);
    // The same user token from the cache, on a request of its own.
    let alone = shown(&validator, &tokens[..1], ANY).await.unwrap();
    assert_eq!(alone.service, None);
}

#[tokio::test]
async fn a_service_token_that_is_bad_or_of_no_service_refuses_the_request() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let validator = validator(settings(&keystone));
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let revoked = keystone.token("picasso", "service").await.unwrap();
    keystone.revoke(&revoked).await.unwrap();
    let expired = keystone.expired_token("picasso", "service").await.unwrap();
    for bad in ["x", "gAAAAAB", &"gAAAAAB".repeat(30), &revoked, &expired] {
        let answer = shown(&validator, &[("x-auth-token", &user), ("x-service-token", bad)], ANY).await;
        assert!(refusal(answer).contains("service token"), "{bad}");
    }
    let admin = keystone.token("demo1-admin", "demo1").await.unwrap();
    for other in [&user, &admin] {
        let answer = shown(&validator, &[("x-auth-token", &user), ("x-service-token", other)], ANY).await;
        assert!(refusal(answer).contains("roles of a service"));
    }
    let garbage = "gAAAAAC".repeat(30);
    let service = keystone.token("picasso", "service").await.unwrap();
    refusal(shown(&validator, &[("x-auth-token", &garbage), ("x-service-token", &service)], ANY).await);
}

#[tokio::test]
async fn an_expired_user_token_is_good_with_a_service_token_and_never_without() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let cached = validator(settings_at(&proxy.auth_url, &keystone.password("picasso")));
    let expired = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    let with = [("x-auth-token", expired.as_str()), ("x-service-token", service.as_str())];
    // Each way round, from Keystone and from both caches.
    for _ in 0..3 {
        assert!(refusal(shown(&cached, &with[..1], ANY).await).contains("expired"));
        assert_eq!(shown(&cached, &with, ANY).await.unwrap().user_name, "demo1-member");
    }
    assert_eq!(proxy.validations(), 3, "the service token, and the user's once each way");
    keystone.revoke(&service).await.unwrap();
    let another = keystone.token("picasso", "service").await.unwrap();
    let with = [("x-auth-token", expired.as_str()), ("x-service-token", another.as_str())];
    shown(&cached, &with, ANY).await.unwrap();
}

#[tokio::test]
async fn where_roles_are_not_required_any_token_is_a_service_token_but_makes_no_expired_one_good() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let lenient = KeystoneSettings { service_token_roles_required: false, ..settings(&keystone) };
    let validator = validator(lenient);
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let other = keystone.token("demo2-member", "demo2").await.unwrap();
    let expired = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    let shown = async |user: &str| {
        shown(&validator, &[("x-auth-token", user), ("x-service-token", &other)], ANY).await
    };
    assert_eq!(shown(&user).await.unwrap().service.as_ref().unwrap().user_name, "demo2-member");
    refusal(shown(&expired).await);
}

#[tokio::test]
async fn the_roles_of_service_tokens_are_the_configured_ones() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let roles = vec!["glance".to_owned(), "member".to_owned(), "Service".to_owned()];
    let validator = validator(KeystoneSettings { service_token_roles: roles, ..settings(&keystone) });
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let member = keystone.token("demo2-member", "demo2").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    shown(&validator, &[("x-auth-token", &user), ("x-service-token", &member)], ANY).await.unwrap();
    refusal(shown(&validator, &[("x-auth-token", &user), ("x-service-token", &service)], ANY).await);
}
