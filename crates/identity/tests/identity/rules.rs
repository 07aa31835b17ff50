//! Access rules of application credentials of a real Keystone.

use picasso_identity::KeystoneSettings;
use picasso_testkit::keystone::Keystone;
use serde_json::{Value, json};

use crate::support::{
    CountingProxy, Fault, FaultServer, check, keystone_is_here, refusal, settings, settings_at, shown,
    token_document, validator,
};

/// A token that is restricted by `rules`.
async fn restricted(keystone: &Keystone, rules: Value) -> String {
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let credential = keystone.create_application_credential(&user.name, "demo1", Some(rules)).await.unwrap();
    keystone.token_of(&credential).await.unwrap()
}

#[tokio::test]
async fn a_token_with_access_rules_may_send_what_they_list_and_nothing_else() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let proxy = CountingProxy::before(&keystone).await;
    let validator = validator(settings_at(&proxy.auth_url, &keystone.password("picasso")));
    let rules = json!([
        {"service": "functions", "method": "POST", "path": "/v1/*/apps"},
        {"service": "functions", "method": "GET", "path": "/v1/**"},
        {"service": "compute", "method": "DELETE", "path": "/v1/**"},
    ]);
    let token = restricted(&keystone, rules).await;
    for (method, path, allowed) in [
        ("POST", "/v1/p/apps", true),
        ("GET", "/v1/p/apps/a/routes/b", true),
        ("POST", "/v1/p/apps/a", false),
        ("HEAD", "/v1/p/apps", false),
        ("DELETE", "/v1/p/apps/a", false),
        ("GET", "/v1", false),
    ] {
        let answer = shown(&validator, &[("x-auth-token", &token)], (method, path)).await;
        assert_eq!(answer.is_ok(), allowed, "{method} {path}");
        if !allowed {
            assert!(refusal(answer).contains("access rules"), "{method} {path}");
        }
    }
    assert_eq!(proxy.validations(), 2, "once without the catalog and once with it");
    let service = keystone.token("picasso", "service").await.unwrap();
    let with_service = [("x-auth-token", token.as_str()), ("x-service-token", service.as_str())];
    shown(&validator, &with_service, ("DELETE", "/v1/p/apps/a")).await.unwrap();
    let with_bad_service = [("x-auth-token", token.as_str()), ("x-service-token", token.as_str())];
    refusal(shown(&validator, &with_bad_service, ("GET", "/v1/p/apps")).await);
}

#[tokio::test]
async fn an_empty_list_of_access_rules_allows_nothing() {
    // A real Keystone keeps an empty list as none at all; its documentation says what one means.
    let mut document = token_document();
    document["token"]["application_credential"] = json!({"id": "ac", "name": "ac", "access_rules": []});
    document["token"]["catalog"] = json!([{"id": "s", "type": "functions", "name": "f", "endpoints": []}]);
    let server = FaultServer::start(Fault::Answer("200 OK", "", document.to_string().into_bytes())).await;
    let validator = validator(settings_at(&server.auth_url, "any"));
    assert!(refusal(check(&validator, &"t".repeat(64)).await).contains("access rules"));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn access_rules_allow_nothing_where_the_catalog_lacks_our_service() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let token = restricted(&keystone, json!([{"service": "other", "method": "GET", "path": "/**"}])).await;
    let other = KeystoneSettings { service_type: "other".to_owned(), ..settings(&keystone) };
    let validator = validator(other);
    assert!(refusal(check(&validator, &token).await).contains("access rules"));
    let service = keystone.token("picasso", "service").await.unwrap();
    let tokens = [("x-auth-token", token.as_str()), ("x-service-token", service.as_str())];
    refusal(shown(&validator, &tokens, ("GET", "/v1")).await);
}
