//! Requests that both sides must judge alike.

use picasso_testkit::keystone::{Keystone, Scope};
use serde_json::json;

use super::verdict::{SERVICE_STATUS, USER_STATUS, Verdict};
use super::{Case, Sides};
use crate::support::keystone_is_here;

const USER: &str = "X-Auth-Token";
const SERVICE: &str = "X-Service-Token";

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// A request with these headers, to be changed by what follows.
    fn add(&mut self, name: &str, headers: &[(&'static str, &str)]) -> &mut Case {
        self.0.push(Case {
            name: name.to_owned(),
            settings: "strict",
            request: ("GET", "/v1/p/apps".to_owned()),
            headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        });
        self.0.last_mut().unwrap()
    }
}

#[tokio::test]
async fn keystonemiddleware_and_picasso_judge_the_same_requests_alike() {
    if !keystone_is_here() {
        return;
    }
    let keystone = Keystone::shared().await.unwrap();
    let sides = Sides::of(&keystone).await;
    let mut cases = Cases::default();
    shapes(&keystone, &mut cases).await;
    services(&keystone, &mut cases).await;
    scopes(&keystone, &mut cases).await;
    changes(&keystone, &mut cases).await;
    access_rules(&keystone, &mut cases).await;
    assert!(cases.0.len() >= 150, "{} cases", cases.0.len());
    let (mut let_in, mut refused, mut unlike) = (0, 0, Vec::new());
    for case in &cases.0 {
        let theirs = sides.theirs(case).await;
        for ours in sides.ours(case).await {
            if ours != theirs {
                unlike.push(format!("{} {:?}: {ours:?}, theirs: {theirs:?}", case.name, case.request));
            }
        }
        if case.settings == "strict" {
            let delayed = Verdict::from(sides.reached("delayed", case).await);
            if !is_decided_later(&theirs, &delayed) {
                unlike.push(format!("{}: {theirs:?}, delayed: {delayed:?}", case.name));
            }
        }
        match theirs.status {
            200 => let_in += 1,
            _ => refused += 1,
        }
    }
    assert!(unlike.is_empty(), "{unlike:#?}");
    assert!(let_in >= 50 && refused >= 80, "{let_in} let in, {refused} refused");
}

/// Whether a request reaches an application with `delay_auth_decision` so that it can decide as the
/// middleware does without: by the status of user and service. Of a user whose token is bad nothing
/// else is told, which is nobody, as whom public functions are called here.
fn is_decided_later(at_once: &Verdict, delayed: &Verdict) -> bool {
    let of_user = |name: &&String| name.starts_with("HTTP_X_") && !name.starts_with("HTTP_X_SERVICE_");
    let is_nobody = || delayed.identity.keys().filter(of_user).eq([USER_STATUS]);
    let is_no_service = || !delayed.identity.contains_key("HTTP_X_SERVICE_USER_ID");
    let is_invalid = |status| delayed.identity.get(status).is_some_and(|status| status == "Invalid");
    delayed.status == 200
        && (at_once.status == 200) == delayed.is_confirmed()
        && (at_once.status != 200 || at_once == delayed)
        && (!is_invalid(USER_STATUS) || is_nobody())
        && (!is_invalid(SERVICE_STATUS) || is_no_service())
}

/// What a token header may hold.
async fn shapes(keystone: &Keystone, cases: &mut Cases) {
    let good = keystone.token("demo1-member", "demo1").await.unwrap();
    let other = keystone.token("demo2-member", "demo2").await.unwrap();
    let mut tampered = good.clone();
    tampered.replace_range(60..61, if &good[60..61] == "A" { "B" } else { "A" });
    let expired = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    cases.add("no token", &[]);
    cases.add("a good token", &[(USER, &good)]);
    cases.add("a good token under another case", &[("x-aUtH-tOkEn", &good)]);
    cases.add("a good token for an admin", &[(USER, &keystone.token("demo1-admin", "demo1").await.unwrap())]);
    cases.add(
        "a good token without known roles",
        &[(USER, &keystone.token("demo1-nobody", "demo1").await.unwrap())],
    );
    cases.add("an expired token", &[(USER, &expired)]);
    for (name, text) in [
        ("one letter", "x".to_owned()),
        ("the shape of a UUID token", "f0".repeat(16)),
        ("the shape of a Fernet token", "gAAAAAB".repeat(30)),
        ("a tampered token", tampered),
        ("a token cut off", good[..good.len() - 1].to_owned()),
        ("a token with another behind", format!("{good},{other}")),
        ("a token with a space inside", format!("{} {}", &good[..50], &good[50..])),
        ("5000 bytes", "a".repeat(5000)),
        ("a path", format!("../users/{}", "a".repeat(40))),
        ("Bearer", format!("Bearer {good}")),
        ("nothing", String::new()),
        ("spaces", "   ".to_owned()),
    ] {
        cases.add(name, &[(USER, &text)]);
        cases.add(
            &format!("{name}, with a good service's"),
            &[(USER, &text), (SERVICE, &keystone.token("picasso", "service").await.unwrap())],
        );
    }
    cases.add("spaces around it", &[(USER, &format!("  {good}  "))]);
    cases.add("a tab before it", &[(USER, &format!("\t{good}"))]);
    cases.add("the same token twice", &[(USER, &good), (USER, &good)]);
    cases.add("two tokens", &[(USER, &good), (USER, &other)]);
    cases.add("Swift's name", &[("X-Storage-Token", &good)]);
    cases.add("Swift's name twice", &[("X-Storage-Token", &good), ("X-Storage-Token", &good)]);
    cases.add("both names", &[(USER, &good), ("X-Storage-Token", &other)]);
    cases.add("both names, the second bad", &[(USER, &good), ("X-Storage-Token", "x")]);
    cases.add("both names, the first empty", &[(USER, ""), ("X-Storage-Token", &good)]);
    cases.add("an underscore in the name", &[("X_Auth_Token", &good)]);
    cases.add("Authorization", &[("Authorization", &format!("Bearer {good}"))]);
    cases.add("X-Subject-Token", &[("X-Subject-Token", &good)]);
    cases.add("Keystone away", &[(USER, &good)]).settings = "nowhere";
    let admin = keystone.user_id("demo1-admin").await.unwrap();
    for (name, headers) in [
        ("forged headers", vec![(USER, good.as_str())]),
        ("forged headers, no token", vec![]),
        ("forged headers, an expired token", vec![(USER, expired.as_str())]),
    ] {
        let forged = [
            ("X-User-Id", admin.as_str()),
            ("X-User-Name", "admin"),
            ("X-Roles", "admin"),
            ("X-Role", "admin"),
            ("X-User", "admin"),
            ("X-Tenant-Id", "forged"),
            ("X-Tenant", "forged"),
            ("X-Project-Id", "forged"),
            ("X-Domain-Id", "forged"),
            ("X-Identity-Status", "Confirmed"),
            ("X-Is-Admin-Project", "True"),
            ("X-Service-User-Id", admin.as_str()),
            ("X-Service-Roles", "service"),
            ("X-Service-Identity-Status", "Confirmed"),
        ];
        cases.add(name, &[headers.as_slice(), &forged].concat());
    }
}

/// Service tokens.
async fn services(keystone: &Keystone, cases: &mut Cases) {
    let good = keystone.token("demo1-member", "demo1").await.unwrap();
    let member = keystone.token("demo2-member", "demo2").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    let expired = keystone.expired_token("demo1-member", "demo1").await.unwrap();
    let expired_service = keystone.expired_token("picasso", "service").await.unwrap();
    let revoked_service = keystone.token("picasso", "service").await.unwrap();
    keystone.revoke(&revoked_service).await.unwrap();
    let revoked = keystone.token("demo1-member", "demo1").await.unwrap();
    keystone.revoke(&revoked).await.unwrap();
    let garbage = "gAAAAAB".repeat(30);
    cases.add("a service's alone", &[(SERVICE, &service)]);
    cases.add("a service's as the user's", &[(USER, &service)]);
    cases.add("a service's as both", &[(USER, &service), (SERVICE, &service)]);
    cases.add("the same service's twice", &[(USER, &good), (SERVICE, &service), (SERVICE, &service)]);
    for (of_user, user) in [("good", &good), ("expired", &expired), ("revoked", &revoked)] {
        for (of_service, brought) in [
            ("good", service.as_str()),
            ("without the role", &member),
            ("expired", &expired_service),
            ("revoked", &revoked_service),
            ("garbage", &garbage),
            ("short", "x"),
            ("empty", ""),
            ("of spaces", "  "),
        ] {
            let name = format!("{of_user} user, {of_service} service");
            cases.add(&name, &[(USER, user), (SERVICE, brought)]);
        }
        for settings in ["any role", "member"] {
            for (of_service, brought) in [("good", &service), ("of a member", &member)] {
                let name = format!("{of_user} user, {of_service} service, {settings}");
                cases.add(&name, &[(USER, user), (SERVICE, brought)]).settings = settings;
            }
        }
    }
}

/// Scopes and trusts.
async fn scopes(keystone: &Keystone, cases: &mut Cases) {
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    keystone.add_domain_role(&user.name, "reader").await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    for (name, user, scope) in [
        ("a token of a domain", user.name.as_str(), Scope::Domain),
        ("a token without scope", user.name.as_str(), Scope::Unscoped),
        ("a token of the system", "admin", Scope::System),
    ] {
        let token = keystone.scoped_token(user, scope).await.unwrap();
        cases.add(name, &[(USER, &token)]);
        if !matches!(scope, Scope::System) {
            cases.add(&format!("{name} behind a service"), &[(USER, &token), (SERVICE, &service)]);
            let good = keystone.token("demo1-member", "demo1").await.unwrap();
            cases.add(&format!("{name} as a service's"), &[(USER, &good), (SERVICE, &token)]).settings =
                "any role";
        }
    }
    let trust = keystone.create_trust(&user.name, "demo2-member", "demo1", "reader").await.unwrap();
    let token = keystone.scoped_token("demo2-member", Scope::Trust(&trust)).await.unwrap();
    cases.add("a token of a trust", &[(USER, &token)]);
    cases.add("a token of a trust behind a service", &[(USER, &token), (SERVICE, &service)]);
    let ended = keystone.create_trust(&user.name, "demo2-member", "demo1", "member").await.unwrap();
    let token = keystone.scoped_token("demo2-member", Scope::Trust(&ended)).await.unwrap();
    keystone.delete_trust(&user.name, "demo1", &ended).await.unwrap();
    cases.add("a token of a trust that was deleted", &[(USER, &token)]);
    let trustor = keystone.create_user("demo1", &["member"]).await.unwrap();
    let trust = keystone.create_trust(&trustor.name, "demo2-member", "demo1", "member").await.unwrap();
    let token = keystone.scoped_token("demo2-member", Scope::Trust(&trust)).await.unwrap();
    keystone.set_user_enabled(&trustor.name, false).await.unwrap();
    cases.add("a token of a trust of a disabled user", &[(USER, &token)]);
}

/// Tokens that were good once.
async fn changes(keystone: &Keystone, cases: &mut Cases) {
    let member = async |project: &str| {
        let user = keystone.create_user(project, &["member"]).await.unwrap();
        let token = keystone.token(&user.name, project).await.unwrap();
        (user.name, token)
    };
    let (user, token) = member("demo1").await;
    keystone.set_user_enabled(&user, false).await.unwrap();
    cases.add("a disabled user", &[(USER, &token)]);
    let service = keystone.token("picasso", "service").await.unwrap();
    cases.add("a disabled user behind a service", &[(USER, &token), (SERVICE, &service)]);
    let (user, token) = member("demo1").await;
    keystone.delete_user(&user).await.unwrap();
    cases.add("a deleted user", &[(USER, &token)]);
    let (user, token) = member("demo1").await;
    keystone.remove_role(&user, "demo1", "member").await.unwrap();
    cases.add("a user without the last role", &[(USER, &token)]);
    let (user, token) = member("demo1").await;
    keystone.add_role(&user, "demo1", "reader").await.unwrap();
    keystone.remove_role(&user, "demo1", "member").await.unwrap();
    cases.add("a user with another role than before", &[(USER, &token)]);
    let project = keystone.create_project().await.unwrap();
    let (_, token) = member(&project).await;
    keystone.set_project_enabled(&project, false).await.unwrap();
    cases.add("a disabled project", &[(USER, &token)]);
    let (user, _) = member("demo1").await;
    let credential = keystone.create_application_credential(&user, "demo1", None).await.unwrap();
    let token = keystone.token_of(&credential).await.unwrap();
    cases.add("an application credential", &[(USER, &token)]);
    let credential = keystone.create_application_credential(&user, "demo1", None).await.unwrap();
    let token = keystone.token_of(&credential).await.unwrap();
    keystone.delete_application_credential(&credential).await.unwrap();
    cases.add("a deleted application credential", &[(USER, &token)]);
}

/// Access rules of application credentials.
async fn access_rules(keystone: &Keystone, cases: &mut Cases) {
    let user = keystone.create_user("demo1", &["member"]).await.unwrap();
    let rules = json!([
        {"service": "functions", "method": "POST", "path": "/v1/*/apps"},
        {"service": "functions", "method": "PUT", "path": "/v1/{project_id}/apps/{app}"},
        {"service": "functions", "method": "GET", "path": "/v1/**"},
        {"service": "functions", "method": "DELETE", "path": "/v1/p/apps/a-*_x~1"},
        {"service": "functions", "method": "PATCH", "path": "/v1/**/routes/*"},
        {"service": "other", "method": "DELETE", "path": "/v1/**"},
    ]);
    let credential = keystone.create_application_credential(&user.name, "demo1", Some(rules)).await.unwrap();
    let token = keystone.token_of(&credential).await.unwrap();
    let service = keystone.token("picasso", "service").await.unwrap();
    for (method, target) in [
        ("POST", "/v1/p/apps"),
        ("POST", "/v1/p/apps?x=/v1"),
        ("POST", "/v1/p/apps/"),
        ("POST", "/v1//apps"),
        ("POST", "/v1/p/q/apps"),
        ("POST", "/x/v1/p/apps"),
        ("POST", "/v1/p/Apps"),
        ("POST", "/v1/%70/a%70ps"),
        ("POST", "/v1/j%C3%BCrgen/apps"),
        ("PUT", "/v1/p/apps/a"),
        ("PUT", "/v1/p/apps/"),
        ("PUT", "/v1/p/apps/a/b"),
        ("GET", "/v1/"),
        ("GET", "/v1"),
        ("GET", "/v1/p/apps/a/routes/b"),
        ("HEAD", "/v1/p/apps"),
        ("OPTIONS", "/v1/p/apps"),
        ("DELETE", "/v1/p/apps/a-b_x~1"),
        ("DELETE", "/v1/p/apps/a-b%5Fx%7E1"),
        ("DELETE", "/v1/p/apps/a"),
        ("PATCH", "/v1/p/apps/a/routes/r"),
        ("PATCH", "/v1//routes/r"),
        ("PATCH", "/v1/routes/r"),
        ("PATCH", "/v1/p/apps/a/routes/r/s"),
    ] {
        cases.add("access rules", &[(USER, &token)]).request = (method, target.to_owned());
        let behind = cases.add("access rules behind a service", &[(USER, &token), (SERVICE, &service)]);
        behind.request = (method, target.to_owned());
    }
    let no_service = cases.add("access rules behind no service", &[(USER, &token), (SERVICE, &token)]);
    no_service.request.0 = "DELETE";
    let any = cases.add("access rules behind any token", &[(USER, &token), (SERVICE, &token)]);
    any.request.0 = "DELETE";
    any.settings = "any role";
    for headers in [&[(USER, token.as_str())][..], &[(USER, &token), (SERVICE, &service)]] {
        cases.add("access rules for a type that the catalog lacks", headers).settings = "other type";
    }
}
