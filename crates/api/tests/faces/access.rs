//! Secrets of apps and routes, and what public routes ask of callers without a token.

use std::process::Command;

use picasso_testkit::evidence::note_secret;
use picasso_types::ProjectId;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{OTHER, PROJECT, Server};

/// Prints what a function sees.
const ECHO: &str = "env | sort; echo --; cat";

fn apps() -> String {
    format!("/v1/{PROJECT}/apps")
}

fn line<'a>(reply: &'a str, name: &str) -> Option<&'a str> {
    reply.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn field(reply: &Reply) -> String {
    assert_eq!(reply.kind(), "invalid_field", "{}", reply.text());
    reply.message().split(": ").next().unwrap().to_owned()
}

#[tokio::test]
async fn secrets_reach_the_function_and_are_never_shown_again() {
    for value in ["hidden-of-the-app", "hidden-of-the-route", "hidden-and-newer"] {
        note_secret(value);
    }
    let server = Server::start().await;
    let body =
        json!({"app": {"name": "hello", "secrets": {"A": "hidden-of-the-app", "BOTH": "hidden-of-the-app"}}});
    let created = server.api.post(&apps(), "member", &body).await;
    assert_eq!(created.status, 200, "{}", created.text());
    let app = created.json()["app"]["name"].as_str().unwrap().to_owned();
    let fields = json!({"secrets": {"BOTH": {"value": "hidden-of-the-route", "as": "env"}}});
    let route = server.route("/a", ECHO, fields).await;
    let call = async || server.functions.send("GET", &format!("/f/{app}/a"), &[], "").await.text();
    let seen = call().await;
    assert_eq!(
        (line(&seen, "A"), line(&seen, "BOTH")),
        (Some("hidden-of-the-app"), Some("hidden-of-the-route"))
    );

    let set_at = route.json()["route"]["secrets"]["BOTH"]["set_at"].clone();
    assert_eq!(route.json()["route"]["secrets"], json!({"BOTH": {"as": "env", "set_at": set_at}}));
    let change = json!({"secrets": {"A": "hidden-and-newer", "BOTH": null}});
    let changed = server.api.put(&format!("{}/hello", apps()), "member", &change).await;
    assert_eq!(changed.json()["app"]["secrets"].as_object().unwrap().len(), 1);
    assert_eq!(line(&call().await, "A"), Some("hidden-and-newer"), "new calls see the new value");
    let url = format!("{}/hello/routes/a", apps());
    let without = server.api.put(&url, "member", &json!({"secrets": {"BOTH": ""}})).await;
    assert_eq!(without.json()["route"]["secrets"], json!({}));
    assert_eq!(line(&call().await, "BOTH"), None);

    let shown = [
        created.text(),
        route.text(),
        changed.text(),
        without.text(),
        server.api.get(&apps(), "reader").await.text(),
        server.api.get(&format!("{}/hello/routes", apps()), "reader").await.text(),
        server.api.get(&url, "reader").await.text(),
        format!(
            "{:?}",
            server.state.store.get_app(&ProjectId::parse(PROJECT).unwrap(), "hello").await.unwrap()
        ),
    ];
    for text in shown {
        assert!(!text.contains("hidden"), "{text}");
    }
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(6).any(|w| w == b"hidden"), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn refused_secrets_are_named_and_change_nothing() {
    let server = Server::start().await;
    server.app().await;
    let url = format!("{}/hello", apps());
    for (secrets, named) in [
        (json!({"1A": "x"}), "secrets"),
        (json!({"../A": "x"}), "secrets"),
        (json!({"A": 5}), "secrets.A"),
        (json!({"A": {"value": "x", "as": "odd"}}), "secrets.A"),
        (json!({"A": "x\u{0}y"}), "secrets.A"),
        (json!({"A": "x".repeat(40_000)}), "secrets"),
    ] {
        let reply = server.api.put(&url, "member", &json!({"secrets": secrets})).await;
        assert_eq!((reply.status, field(&reply).as_str()), (400, named), "{secrets}");
        let route = json!({"route": {"path": "/a", "image": "x", "secrets": secrets}});
        let reply = server.api.post(&format!("{url}/routes"), "member", &route).await;
        assert_eq!((reply.status, field(&reply)), (400, format!("route.{named}")), "{secrets}");
    }
    assert_eq!(server.api.get(&url, "reader").await.json()["app"]["secrets"], json!({}));
}

#[tokio::test]
async fn a_public_route_takes_calls_from_the_listed_addresses_only() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "echo yes", json!({"allowed_sources": ["198.51.100.0/24"]})).await;
    let public = async || server.functions.send("GET", &format!("/f/{app}/a"), &[], "").await;
    let refused = public().await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "source_not_allowed"));
    let run = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!((run.status, run.kind().as_str()), (403, "source_not_allowed"));
    let token = [("x-auth-token", "member")];
    let private = server.functions.send("GET", &format!("/v1/f/{PROJECT}/hello/a"), &token, "").await;
    assert_eq!(private.status, 200, "a token is let in from anywhere");

    let url = format!("{}/hello/routes/a", apps());
    let bad = server.api.put(&url, "member", &json!({"allowed_sources": ["localhost"]})).await;
    assert_eq!((bad.status, field(&bad).as_str()), (400, "allowed_sources"));
    let changed = server.api.put(&url, "member", &json!({"allowed_sources": ["127.0.0.0/8", "::1"]})).await;
    assert_eq!(changed.json()["route"]["allowed_sources"], json!(["127.0.0.0/8", "::1/128"]));
    assert_eq!(public().await.status, 200);
}

#[tokio::test]
async fn an_apps_rules_answer_preflights_and_pages_of_other_origins() {
    let server = Server::start().await;
    let rules = json!({"allow_origins": ["https://a.example"], "allow_methods": ["PUT"], "allow_headers": ["X-A"],
                       "expose_headers": ["Picasso-Call-Id"], "max_age": 60, "allow_credentials": true});
    let body = json!({"app": {"name": "hello", "cors": rules}});
    let created = server.api.post(&apps(), "member", &body).await.json();
    assert_eq!(created["app"]["cors"], rules);
    let app = created["app"]["name"].as_str().unwrap().to_owned();
    server.route("/a", "exit 3", json!({"methods": ["PUT"]})).await;
    server.route("/private", "echo no", json!({"is_public": false})).await;
    let url = format!("/f/{app}/a");

    let asks = |origin| [("origin", origin), ("access-control-request-method", "PUT")];
    let preflight = server.functions.send("OPTIONS", &url, &asks("https://a.example"), "").await;
    assert_eq!(
        (preflight.status, preflight.header("picasso-call-id")),
        (204, ""),
        "the function does not run"
    );
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "X-A"),
        ("access-control-max-age", "60"),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ] {
        assert_eq!(preflight.header(name), value, "{name}");
    }
    let foreign = server.functions.send("OPTIONS", &url, &asks("https://b.example"), "").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (204, ""));
    let private =
        server.functions.send("OPTIONS", &format!("/f/{app}/private"), &asks("https://a.example"), "").await;
    assert_eq!(private.status, 404);

    // Also of an error, or the page would not learn what is wrong.
    let failed = server.functions.send("PUT", &url, &[("origin", "https://a.example")], "").await;
    assert_eq!((failed.status, failed.kind().as_str()), (502, "function_exited"));
    assert_eq!(failed.header("access-control-allow-origin"), "https://a.example");
    assert_eq!(failed.header("access-control-expose-headers"), "Picasso-Call-Id");
    assert_eq!(failed.header("vary"), "Origin");
    let other = server.functions.send("PUT", &url, &[("origin", "https://b.example")], "").await;
    assert_eq!((other.header("access-control-allow-origin"), other.header("vary")), ("", "Origin"));

    let bad = json!({"cors": {"allow_origins": ["*"], "allow_credentials": true}});
    let refused = server.api.put(&format!("{}/hello", apps()), "member", &bad).await;
    assert_eq!((refused.status, field(&refused).as_str()), (400, "cors.allow_origins"));
    let none = server.api.put(&format!("{}/hello", apps()), "member", &json!({"cors": null})).await;
    assert_eq!(none.json()["app"]["cors"], Value::Null);
    let without = server.functions.send("OPTIONS", &url, &asks("https://a.example"), "").await;
    assert_eq!(without.status, 405, "without rules the function answers for itself");
}

/// A token made by Python's standard library.
pub fn jwt(alg: &str, key: &str, claims: &str) -> String {
    let script = "import base64,hashlib,hmac,sys\n\
                  a,k,c=sys.argv[1:]\n\
                  b=lambda x: base64.urlsafe_b64encode(x).rstrip(b'=')\n\
                  m=b(('{\"typ\":\"JWT\",\"alg\":\"'+a+'\"}').encode())+b'.'+b(c.encode())\n\
                  h={'HS256':'sha256','HS384':'sha384','HS512':'sha512'}.get(a)\n\
                  print((m+b'.'+(b(hmac.new(k.encode(),m,h).digest()) if h else b'')).decode())";
    let output = Command::new("python3").args(["-c", script, alg, key, claims]).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_route_with_a_jwt_key_takes_public_calls_with_a_good_token_only() {
    let server = Server::start().await;
    let app = server.app().await;
    let key = "a key of the test for JSON Web Tokens";
    note_secret(key);
    let route = server.route("/a", ECHO, json!({"jwt_key": key})).await;
    assert_eq!(route.json()["route"]["has_jwt_key"], true);
    assert!(!route.text().contains(key));
    let call = async |token: &str| {
        let value = format!("Bearer {token}");
        server.functions.send("POST", &format!("/f/{app}/a"), &[("authorization", &value)], "body").await
    };
    for alg in ["HS256", "HS384", "HS512"] {
        let reply = call(&jwt(alg, key, r#"{"exp":9999999999,"nbf":1}"#)).await;
        assert_eq!(reply.status, 200, "{alg}: {}", reply.text());
        assert_eq!(line(&reply.text(), "HEADER_AUTHORIZATION"), None, "it was for us");
    }
    for bad in [
        jwt("none", key, "{}"),
        jwt("HS256", "another-key-another-key-another-k", "{}"),
        jwt("HS256", key, r#"{"exp":1}"#),
        "x".to_owned(),
    ] {
        let reply = call(&bad).await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, "jwt_refused"), "{bad}");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"\"");
    }
    let without = server.api.send("POST", &format!("/r/{app}/a"), &[], "").await;
    assert_eq!((without.status, without.kind().as_str()), (401, "jwt_refused"));
    let token = [("x-auth-token", "member")];
    let private = server.functions.send("GET", &format!("/v1/f/{PROJECT}/hello/a"), &token, "").await;
    assert_eq!(private.status, 200, "a token of Keystone is enough");

    let url = format!("{}/hello/routes/a", apps());
    let short = server.api.put(&url, "member", &json!({"jwt_key": "short"})).await;
    assert_eq!((short.status, field(&short).as_str()), (400, "jwt_key"));
    let kept = server.api.put(&url, "member", &json!({"timeout": 7})).await;
    assert_eq!(kept.json()["route"]["has_jwt_key"], true);
    let none = server.api.put(&url, "member", &json!({"jwt_key": null})).await;
    assert_eq!(none.json()["route"]["has_jwt_key"], false);
    assert_eq!(call("x").await.status, 200);
}

async fn webhook_url(server: &Server, kind: &str) -> String {
    let route = server.api.get(&format!("{}/hello/routes/a", apps()), "reader").await.json();
    let id = route["route"]["id"].as_str().unwrap().to_owned();
    format!("/v1/{PROJECT}/routes/{id}/webhook-secrets/{kind}")
}

async fn new_secret(server: &Server, kind: &str) -> Value {
    let reply = server.api.post(&webhook_url(server, kind).await, "member", &json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    note_secret(reply.json()["webhook_secret"].as_str().unwrap());
    reply.json()
}

fn signature(key: &str, body: &str) -> String {
    let script = "import hashlib,hmac,sys\nprint(hmac.new(sys.argv[1].encode(),sys.argv[2].encode(),hashlib.sha256).hexdigest())";
    let output = Command::new("python3").args(["-c", script, key, body]).output().unwrap();
    format!("sha256={}", String::from_utf8(output.stdout).unwrap().trim())
}

#[tokio::test]
async fn a_signed_webhook_is_let_in_and_an_unsigned_one_is_not() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", "cat", json!({})).await;
    let first = new_secret(&server, "signature").await["webhook_secret"].as_str().unwrap().to_owned();
    let second = new_secret(&server, "signature").await["webhook_secret"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let send = async |value: &str| {
        let headers = [("x-hub-signature-256", value)];
        server.functions.send("POST", &format!("/f/{app}/a"), &headers, "payload").await
    };
    for key in [&first, &second] {
        let reply = send(&signature(key, "payload")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "payload"), "both are good for a while");
    }
    for bad in [signature(&first, "other"), signature("x", "payload"), "sha256=".to_owned()] {
        let reply = send(&bad).await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, "webhook_refused"), "{bad}");
    }
    for (face, url) in [(&server.functions, "/f/"), (&server.api, "/r/")] {
        let reply = face.send("POST", &format!("{url}{app}/a"), &[], "").await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, "webhook_refused"));
    }
    let route = server.api.get(&format!("{}/hello/routes/a", apps()), "reader").await;
    assert_eq!(route.json()["route"]["webhook_secrets"], json!(["signature"]));
    assert!(!route.text().contains(&second));
    let gone = server.api.delete(&webhook_url(&server, "signature").await, "member").await;
    assert_eq!(gone.status, 200);
    assert_eq!(send("x").await.status, 200, "a route without secrets asks for none");
}

#[tokio::test]
async fn a_token_in_the_url_lets_a_call_in_and_the_function_does_not_see_it() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/a", ECHO, json!({})).await;
    let made = new_secret(&server, "path").await;
    let (token, path) = (made["webhook_secret"].as_str().unwrap(), made["url_path"].as_str().unwrap());
    assert_eq!(path, format!("/f/{app}/~whp_{token}/a"));
    let reply = server.functions.send("POST", &format!("{path}?x=1"), &[], "body").await;
    let text = reply.text();
    assert_eq!(reply.status, 200, "{text}");
    assert!(!text.contains(token), "{text}");
    let url = format!("http://{}/f/{app}/a?x=1", server.functions_address);
    assert_eq!(line(&text, "REQUEST_URL"), Some(&*url));
    let run = server.api.send("POST", &path.replacen("/f/", "/r/", 1), &[], "").await;
    assert_eq!(run.status, 200, "{}", run.text());

    let wrong = path.replace(&token[..4], "0000");
    for bad in [format!("/f/{app}/a"), wrong, format!("/f/{app}/~whp_/a")] {
        let reply = server.functions.send("POST", &bad, &[], "").await;
        assert_eq!((reply.status, reply.kind().as_str()), (401, "webhook_refused"), "{bad}");
        assert!(!reply.text().contains("whp_"));
    }
    let missing = server.functions.send("POST", &format!("/f/{app}/~whp_{token}/b"), &[], "").await;
    assert_eq!(missing.status, 404);
    assert!(!missing.text().contains(token), "{}", missing.text());
    for file in std::fs::read_dir(server.folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            assert!(!bytes.windows(token.len()).any(|w| w == token.as_bytes()), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_public_alias_asks_for_what_its_route_asks_for() {
    let server = Server::start().await;
    let rules = json!({"allow_origins": ["https://a.example"], "allow_methods": ["PUT"]});
    let body = json!({"app": {"name": "hello", "cors": rules}});
    let app =
        server.api.post(&apps(), "member", &body).await.json()["app"]["name"].as_str().unwrap().to_owned();
    let key = "another key of the test for JSON Web Tokens";
    note_secret(key);
    // Only its alias is public.
    let fields = json!({"jwt_key": key, "allowed_sources": ["127.0.0.0/8", "::1"], "is_public": false});
    let route = server.route("/a", "cat", fields).await.json();
    let url = format!("/v1/{PROJECT}/routes/{}/aliases", route["route"]["id"].as_str().unwrap());
    let alias = json!({"alias": {"name": "live", "versions": [{"version": 1}], "is_public": true}});
    assert_eq!(server.api.post(&url, "member", &alias).await.status, 200);
    let made = new_secret(&server, "path").await;
    let token = made["webhook_secret"].as_str().unwrap();
    let bearer = format!("Bearer {}", jwt("HS256", key, "{}"));
    let call = async |path: &str, headers: &[(&'static str, &str)]| {
        server.functions.send("POST", &format!("/f/{app}@live{path}"), headers, "body").await
    };
    let with_token = format!("/~whp_{token}/a");
    let good = call(&with_token, &[("authorization", &bearer), ("origin", "https://a.example")]).await;
    assert_eq!((good.status, good.text().as_str()), (200, "body"));
    assert_eq!(good.header("access-control-allow-origin"), "https://a.example");
    let without_jwt = call(&with_token, &[]).await;
    assert_eq!((without_jwt.status, without_jwt.kind().as_str()), (401, "jwt_refused"));
    let without_secret = call("/a", &[("authorization", &bearer)]).await;
    assert_eq!((without_secret.status, without_secret.kind().as_str()), (401, "webhook_refused"));
    let asks = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    let preflight = server.functions.send("OPTIONS", &format!("/f/{app}@live/a"), &asks, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, "PUT"));
    let active = server.functions.send("OPTIONS", &format!("/f/{app}/a"), &asks, "").await;
    assert_eq!(active.status, 404, "the route itself is private");

    let elsewhere = json!({"allowed_sources": ["198.51.100.0/24"]});
    let changed = server.api.put(&format!("{}/hello/routes/a", apps()), "member", &elsewhere).await;
    assert_eq!(changed.status, 200, "{}", changed.text());
    let refused = call(&with_token, &[("authorization", &bearer)]).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "source_not_allowed"));
    let missing = server.functions.send("POST", &format!("/f/{app}@none/~whp_{token}/a"), &[], "").await;
    assert_eq!(missing.status, 404);
    assert!(!missing.text().contains(token), "{}", missing.text());
}

#[tokio::test]
async fn webhook_secrets_are_the_projects_own() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", "cat", json!({})).await;
    let url = webhook_url(&server, "path").await;
    let odd = server.api.post(&url.replace("/path", "/odd"), "member", &json!({})).await;
    assert_eq!((odd.status, field(&odd).as_str()), (400, "kind"));
    let theirs = server.api.post(&url.replace(PROJECT, OTHER), "other", &json!({})).await;
    let missing =
        server.api.post(&format!("/v1/{OTHER}/routes/none/webhook-secrets/path"), "other", &json!({})).await;
    assert_eq!((theirs.status, theirs.kind()), (missing.status, missing.kind()));
    assert_eq!(theirs.status, 404);
    assert_eq!(server.api.post(&url, "reader", &json!({})).await.status, 403);
}
