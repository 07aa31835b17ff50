//! Every handler enforces one named policy rule, every rule guards a handler, and rules that an
//! operator puts in the place of the defaults decide.

use std::collections::{BTreeMap, BTreeSet};

use picasso_api::{EndpointFace, endpoints};
use picasso_identity::policy::defaults::DEFAULTS;
use picasso_identity::policy::{FileFault, Override, RuleSet, parse_text};
use serde_json::json;

use crate::support::{OTHER, Options, PROJECT, Server};

/// What asks for no token. Whoever adds an endpoint here says that anybody may use it.
const PUBLIC: &[&str] = &[
    "GET /",
    "GET /v1",
    "GET /healthcheck",
    "GET /api",
    "GET /api/swagger.json",
    "POST /r/{app}/{route}",
    "* /f/{app}/{route}",
    "POST /t/{hook}",
    "OPTIONS /t/{hook}",
];

/// What handlers ask for beside their own rule, for some requests.
pub const ASKED_WITHIN: &[&str] = &["functions:trigger:all_projects"];

#[test]
fn every_handler_enforces_a_named_rule_or_is_listed_as_public() {
    for endpoint in endpoints() {
        let path = endpoint.path.replace("{*", "{");
        let named = format!("{} {path}", endpoint.method);
        let is_public = PUBLIC.contains(&named.as_str()) || PUBLIC.contains(&format!("* {path}").as_str());
        match &endpoint.rule {
            None => assert!(is_public, "{named} enforces no rule and is not listed as public"),
            Some(rule) => {
                assert!(!is_public, "{named} is listed as public and enforces {rule}");
                assert!(DEFAULTS.iter().any(|default| default.name == rule), "{named}: there is no {rule}");
            }
        }
    }
}

#[test]
fn every_rule_lists_exactly_the_handlers_that_enforce_it() {
    let mut names = BTreeSet::new();
    for rule in DEFAULTS {
        assert!(names.insert(rule.name), "{} twice", rule.name);
        if ASKED_WITHIN.contains(&rule.name) {
            continue;
        }
        let listed: BTreeSet<_> = rule.operations.iter().map(|it| (it.method, it.path.to_owned())).collect();
        let enforced: BTreeSet<_> = endpoints()
            .into_iter()
            .filter(|endpoint| endpoint.rule.as_deref() == Some(rule.name))
            .map(|endpoint| (endpoint.method, endpoint.path.replace("{*", "{")))
            .collect();
        assert_eq!(listed, enforced, "{}", rule.name);
        assert!(!rule.scope_types.is_empty(), "{}", rule.name);
    }
}

#[tokio::test]
async fn what_a_handler_enforces_is_the_rule_that_its_documentation_names() {
    let server = Server::start().await;
    for endpoint in endpoints() {
        let Some(rule) = &endpoint.rule else { continue };
        let url = endpoint.path.replace("{project_id}", PROJECT).replace("{*", "{");
        let url = url.replace(['{', '}'], "");
        let client = match endpoint.face {
            EndpointFace::Api => &server.api,
            EndpointFace::Functions => &server.functions,
        };
        let reply = client.send(endpoint.method, &url, &[("x-auth-token", "stranger")], "").await;
        assert_eq!(reply.status, 403, "{} {}", endpoint.method, endpoint.path);
        if endpoint.method != "HEAD" {
            let told = reply.message();
            let expected = format!("{rule} is disallowed by policy");
            assert!(told.starts_with(&expected), "{} {}: {told}", endpoint.method, endpoint.path);
        }
    }
}

/// A server with rules of an operator's.
async fn server_with(rules: &[(&str, &str)]) -> Server {
    let overrides = rules.iter().map(|(name, text)| {
        let check = parse_text(text).0;
        ((*name).to_owned(), Override { text: (*text).to_owned(), check, place: "policy.yaml:1".to_owned() })
    });
    let rules = RuleSet::new(overrides.collect::<BTreeMap<_, _>>());
    Server::start_with(Options { rules, ..Options::default() }).await
}

#[tokio::test]
async fn an_operators_rule_takes_the_place_of_the_default() {
    let server = server_with(&[
        ("functions:app:create", "role:operator and project_id:%(project_id)s"),
        ("functions:app:get", "!"),
        ("functions:app:list", "role:operator"),
    ])
    .await;
    let apps = format!("/v1/{PROJECT}/apps");
    let body = json!({"app": {"name": "x"}});
    let refused = server.api.post(&apps, "member", &body).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "forbidden"));
    assert!(refused.message().contains("rule of their own"), "{}", refused.message());
    assert_eq!(server.api.post(&apps, "stranger", &body).await.status, 200);
    assert_eq!(server.api.get(&format!("{apps}/x"), "admin").await.status, 403);
    // Without the project in the rule it holds in every project.
    assert_eq!(server.api.get(&format!("/v1/{OTHER}/apps"), "stranger").await.status, 200);
    assert_eq!(server.api.post(&format!("/v1/{OTHER}/apps"), "stranger", &body).await.status, 404);
}

#[tokio::test]
async fn a_rule_sees_what_the_url_names_and_not_what_is_stored() {
    let server = server_with(&[("functions:app:get", "'mine':%(app)s or role:admin")]).await;
    let status =
        async |app: &str| server.api.get(&format!("/v1/{PROJECT}/apps/{app}"), "reader").await.status;
    assert_eq!((status("mine").await, status("yours").await), (404, 403));
}

#[tokio::test]
async fn a_policy_server_that_does_not_answer_is_neither_yes_nor_no() {
    let rules = [
        ("functions:app:list", "http://policy.example.org/%(project_id)s"),
        ("functions:app:create", "not http://policy.example.org/"),
    ];
    let server = server_with(&rules).await;
    let apps = format!("/v1/{PROJECT}/apps");
    let body = json!({"app": {"name": "x"}});
    for refused in [server.api.get(&apps, "admin").await, server.api.post(&apps, "admin", &body).await] {
        assert_eq!((refused.status, refused.kind().as_str()), (503, "policy_unavailable"));
        assert_eq!(refused.header("retry-after"), "5");
    }
}

#[tokio::test]
async fn policy_files_that_cannot_be_used_are_told_by_the_health_check_and_turn_nobody_away() {
    let server = Server::start().await;
    let fault = FileFault { place: "/etc/picasso/policy.yaml:3".to_owned(), reason: "sesame".to_owned() };
    server.state.policy.keep(fault);
    let ask = async |method, accept| server.api.send(method, "/healthcheck", &[("accept", accept)], "").await;
    let told = ask("GET", "text/plain").await;
    let reason = "The policy files cannot be used; the rules before them are in force";
    assert_eq!((told.status, told.text()), (200, format!("OK\n{reason}")));
    assert_eq!(ask("GET", "application/json").await.json()["reasons"], json!(["OK", reason]));
    assert_eq!(ask("HEAD", "*/*").await.status, 204);
    server.state.policy.replace(RuleSet::new(BTreeMap::new()));
    assert_eq!(ask("GET", "text/plain").await.text(), "OK");
}
