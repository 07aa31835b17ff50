//! Where ours differs on purpose: each row of docs/authentication.md, and both sides as it says.

use picasso_identity::KeystoneSettings;
use picasso_testkit::keystone::{Keystone, Scope};
use serde_json::json;

use super::verdict::SYSTEM_SCOPE;
use super::{Case, Sides};
use crate::support::{check, keystone_is_here, settings, validator};

const PAGE: &str = include_str!("../../../../../docs/authentication.md");

/// The row that begins so.
#[track_caller]
fn is_documented(row: &str) {
    assert!(PAGE.lines().any(|line| line.starts_with(&format!("| {row}"))), "no row: {row}");
}

fn case(settings: &'static str, target: &str, headers: &[(&'static str, &str)]) -> Case {
    Case {
        name: target.to_owned(),
        settings,
        request: ("GET", target.to_owned()),
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    }
}

#[tokio::test]
async fn access_rules_differ_from_keystonemiddlewares_where_the_page_says_so() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let sides = Sides::of(&keystone).await;
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let paths = ["/v1/a.c", "/v1/x}y", "/v1/*/apps", "/long/**"];
    let rules = paths.map(|path| json!({"service": "functions", "method": "GET", "path": path}));
    let credential = keystone.create_application_credential(&user.name, "demo1", Some(json!(rules)));
    let token = keystone.token_of(&credential.await.unwrap()).await.unwrap();
    let endless = format!("/long/{}", "a".repeat(2048));
    for (row, target, theirs, ours) in [
        ("other characters of a rule's path", "/v1/abc", 200, 401),
        ("a lone `{` or `}`", "/v1/xy", 200, 401),
        ("`%2F` in a request's path", "/v1/p%2Fq/apps", 401, 200),
        ("paths and lists of any length", &endless, 200, 401),
    ] {
        is_documented(row);
        let case = case("strict", target, &[("X-Auth-Token", &token)]);
        assert_eq!(sides.theirs(&case).await.status, theirs, "{row}");
        for verdict in sides.ours(&case).await {
            assert_eq!(verdict.status, ours, "{row}");
        }
    }
}

#[tokio::test]
async fn scopes_headers_and_tokens_differ_where_the_page_says_so() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let sides = Sides::of(&keystone).await;
    let user = keystone.token("demo1-member", "demo1").await.unwrap();
    let system = keystone.scoped_token("admin", Scope::System).await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    is_documented("a service token's system scope replaces the user's");
    for (user, by, theirs, ours) in
        [(&user, &system, Some("all"), None), (&system, &service, None, Some("all"))]
    {
        let case = case("any role", "/v1", &[("X-Auth-Token", user), ("X-Service-Token", by)]);
        let scope = sides.theirs(&case).await.identity.remove(SYSTEM_SCOPE);
        assert_eq!(scope.as_deref(), theirs);
        for mut verdict in sides.ours(&case).await {
            assert_eq!(verdict.identity.remove(SYSTEM_SCOPE).as_deref(), ours);
        }
    }
    is_documented("`X-Is-Admin-Project` is passed on");
    let ordinary = case("strict", "/v1", &[("X-Auth-Token", &user)]);
    let reached = sides.reached("strict", &ordinary).await;
    assert_eq!(reached.headers.get("HTTP_X_IS_ADMIN_PROJECT").map(String::as_str), Some("True"));
    let caller = check(&validator(settings(&keystone)), &user).await.unwrap();
    assert!(!caller.policy_values().contains_key("is_admin_project"));
    is_documented("a client's `OpenStack-System-Scope` is left in place");
    let forged = case("delayed", "/v1", &[("OpenStack-System-Scope", "all")]);
    let left = sides.reached("delayed", &forged).await;
    assert_eq!(left.headers.get(SYSTEM_SCOPE).map(String::as_str), Some("all"));
    is_documented("characters that no token has are passed over");
    let quoted = case("strict", "/v1", &[("X-Auth-Token", &format!("\"{user}\""))]);
    assert_eq!(sides.theirs(&quoted).await.status, 200);
    assert!(sides.ours(&quoted).await.iter().all(|verdict| verdict.status == 401));
    is_documented("tokens are cached for 300 s");
    assert_eq!(settings(&keystone).cache_time, KeystoneSettings::cache_time_of(60));
}
