//! Who may call what: every endpoint of the routers with every kind of token, from a real
//! Keystone. The endpoints come from the routers; one without a [`sample`] here fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use picasso_api::{Endpoint, EndpointFace, endpoints};
use picasso_identity::policy::defaults::DEFAULTS;
use picasso_identity::{KeystoneSettings, KeystoneValidator, ServiceCredentials, Trusts};
use picasso_testkit::keystone::Keystone;
use picasso_testkit::process::{require, wait_until};
use picasso_types::{
    CallDelivery, CallId, Clock as _, NewCall, ProjectId, RequestId, RouteType, SystemClock, Trigger,
};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use crate::policy::ASKED_WITHIN;
use crate::support::client::Reply;
use crate::support::{Options, Server};

/// What a request of an endpoint looks like: the names it is about, and its body.
struct Sample {
    content_type: &'static str,
    body: Vec<u8>,
}

fn json_body(value: &serde_json::Value) -> Sample {
    Sample { content_type: "application/json", body: value.to_string().into_bytes() }
}

/// The request of an endpoint that succeeds for who may make it. Every endpoint has its line:
/// whoever adds an endpoint says here how it is called.
fn sample(endpoint: &Endpoint, fresh: &Fresh, image: &[u8]) -> Sample {
    let nothing = || Sample { content_type: "", body: Vec::new() };
    match (endpoint.method, endpoint.path.as_str()) {
        (
            "GET",
            "/"
            | "/v1"
            | "/healthcheck"
            | "/api"
            | "/api/swagger.json"
            | "/v1/{project_id}/apps"
            | "/v1/{project_id}/images"
            | "/v1/{project_id}/limits"
            | "/v1/{project_id}/triggers"
            | "/v1/{project_id}/triggers/{trigger}/firings"
            | "/v1/{project_id}/calls"
            | "/v1/{project_id}/calls/{call_id}"
            | "/v1/{project_id}/calls/{call_id}/log"
            | "/v1/{project_id}/calls/{call_id}/result"
            | "/v1/{project_id}/apps/{app}/routes"
            | "/v1/{project_id}/routes/{route_id}/versions"
            | "/v1/{project_id}/routes/{route_id}/versions/{version}"
            | "/v1/{project_id}/routes/{route_id}/aliases",
        )
        | (
            "POST",
            "/v1/{project_id}/calls/retry"
            | "/v1/{project_id}/calls/{call_id}/cancel"
            | "/v1/{project_id}/calls/{call_id}/retry"
            | "/v1/{project_id}/triggers/{trigger}/pause"
            | "/v1/{project_id}/triggers/{trigger}/resume"
            | "/v1/{project_id}/triggers/{trigger}/fire"
            | "/v1/{project_id}/triggers/{trigger}/secret"
            | "/v1/{project_id}/routes/{route_id}/identity/consent"
            | "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}",
        )
        | (
            "GET" | "DELETE",
            "/v1/{project_id}/apps/{app}"
            | "/v1/{project_id}/triggers/{trigger}"
            | "/v1/{project_id}/apps/{app}/routes/{*route}"
            | "/v1/{project_id}/routes/{route_id}/identity"
            | "/v1/{project_id}/routes/{route_id}/aliases/{alias}",
        )
        | (
            "DELETE",
            "/v1/{project_id}/images/{*name}" | "/v1/{project_id}/routes/{route_id}/webhook-secrets/{kind}",
        )
        | (_, "/t/{hook}" | "/f/{app}/{*route}" | "/v1/f/{project_id}/{app}/{*route}") => nothing(),
        ("POST", "/v1/{project_id}/apps") => {
            json_body(&json!({"app": {"name": format!("new-{}", fresh.app)}}))
        }
        ("POST", "/v1/object-events") => json_body(&json!({"events": [{
            "id": "1", "time": "2026-11-23T12:00:00Z", "operation": "put", "account": "AUTH_p",
            "project_id": "p", "container": "c", "object": "o",
        }]})),
        ("POST", "/v1/{project_id}/triggers") => json_body(&json!({
            "trigger": {"name": format!("new-{}", fresh.app), "app": fresh.app, "route": "/run", "kind": "webhook"}
        })),
        ("PUT", "/v1/{project_id}/triggers/{trigger}") => json_body(&json!({"enabled": false})),
        ("PUT", "/v1/{project_id}/apps/{app}") => json_body(&json!({"config": {"A": "1"}})),
        ("POST", "/v1/{project_id}/apps/{app}/routes") => {
            json_body(&json!({"route": {"path": "/new", "image": "shared:1"}}))
        }
        ("POST", "/v1/{project_id}/routes/{route_id}/rollback") => json_body(&json!({"version": 1})),
        ("POST", "/v1/{project_id}/routes/{route_id}/aliases") => {
            json_body(&json!({"alias": {"name": "new", "versions": [{"version": 1}]}}))
        }
        ("PUT", "/v1/{project_id}/routes/{route_id}/aliases/{alias}") => {
            json_body(&json!({"is_public": true}))
        }
        ("PUT", "/v1/{project_id}/routes/{route_id}/identity") => {
            json_body(&json!({"identity": {"type": "trust", "roles": ["reader"]}}))
        }
        ("PUT", "/v1/{project_id}/apps/{app}/routes/{*route}") => json_body(&json!({"timeout": 7})),
        (
            "POST",
            "/v1/{project_id}/apps/{app}/signing-key"
            | "/v1/r/{project_id}/{app}/{*route}"
            | "/r/{app}/{*route}",
        ) => json_body(&json!({})),
        ("PUT", "/v1/{project_id}/images/{*name}") => {
            Sample { content_type: "application/x-tar", body: image.to_vec() }
        }
        (method, path) => panic!("{method} {path} has no sample: say how it is called"),
    }
}

/// An app with a route that has an alias, two calls and an image of its own: what one request may change or delete.
struct Fresh {
    app: String,
    full_name: String,
    image: String,
    /// Of `/run`, with the alias `live`.
    route_id: String,
    /// Of `/idle`, with an identity that the member granted; it is not called.
    idle_route_id: String,
    /// Waits for longer than the test.
    waiting_call: String,
    /// Was cancelled.
    ended_call: String,
    /// The secret of the webhook's URL.
    hook: String,
}

impl Fresh {
    async fn in_project(server: &Server, project: &str, member: &str, image: &[u8]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let app = format!("a{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let made =
            server.api.post(&format!("/v1/{project}/apps"), member, &json!({"app": {"name": app}})).await;
        let full_name = made.json()["app"]["name"].as_str().unwrap_or_default().to_owned();
        let route = json!({"path": "/run", "image": "shared:1", "is_public": true});
        let other = json!({"path": "/idle", "image": "shared:1"});
        let mut route_ids = Vec::new();
        for route in [other, route] {
            let url = format!("/v1/{project}/apps/{app}/routes");
            let made = server.api.post(&url, member, &json!({"route": route})).await;
            assert_eq!(made.status, 200, "{}", made.text());
            route_ids.push(made.json()["route"]["id"].as_str().unwrap().to_owned());
        }
        let [idle_route_id, route_id]: [String; 2] = route_ids.try_into().unwrap();
        let alias = json!({"alias": {"name": "live", "versions": [{"version": 1}]}});
        let url = format!("/v1/{project}/routes/{route_id}/aliases");
        let made = server.api.post(&url, member, &alias).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let trigger = json!({"trigger": {
            "name": format!("hook-{app}"), "app": app, "route": "/run", "kind": "webhook",
        }});
        let made = server.api.post(&format!("/v1/{project}/triggers"), member, &trigger).await;
        assert_eq!(made.status, 200, "{}", made.text());
        let hook = made.json()["webhook"]["url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        let url = format!("/v1/{project}/routes/{idle_route_id}/identity");
        let granted = json!({"identity": {"type": "trust", "roles": ["reader"]}});
        let granted = server.api.put(&url, member, &granted).await;
        assert_eq!(granted.status, 200, "{}", granted.text());
        let name = format!("own-{app}:1");
        let headers = [("x-auth-token", member)];
        let url = format!("/v1/{project}/images/{name}");
        let loaded = server.api.send("PUT", &url, &headers, image.to_vec()).await;
        assert_eq!(loaded.status, 200, "{}", loaded.text());
        let waiting_call = call(server, project, &app).await.to_string();
        let ended_call = call(server, project, &app).await;
        let owner = ProjectId::parse(project).unwrap();
        server.state.store.cancel_call(&owner, &ended_call).await.unwrap();
        let ended_call = ended_call.to_string();
        Self { app, full_name, image: name, route_id, idle_route_id, waiting_call, ended_call, hook }
    }

    /// The endpoint's URL about these names in `project`.
    fn url(&self, endpoint: &Endpoint, project: &str) -> String {
        let public = !endpoint.path.contains("{project_id}");
        let has_identity = endpoint.path.contains("/identity");
        endpoint
            .path
            .replace("{project_id}", project)
            .replace("{app}", if public { &self.full_name } else { &self.app })
            .replace("{*route}", "run")
            .replace("{kind}", "signature")
            .replace("{*name}", &self.image)
            .replace("{route_id}", if has_identity { &self.idle_route_id } else { &self.route_id })
            .replace("{version}", "1")
            .replace("{alias}", "live")
            .replace("{trigger}", &format!("hook-{}", self.app))
            .replace("{hook}", &self.hook)
            .replace(
                "{call_id}",
                if endpoint.path.ends_with("/cancel") { &self.waiting_call } else { &self.ended_call },
            )
    }
}

/// A call of the app's route `/run` that is not due for longer than the test.
async fn call(server: &Server, project: &str, app: &str) -> CallId {
    let store = &server.state.store;
    let app = store.get_app(&ProjectId::parse(project).unwrap(), app).await.unwrap();
    let route = store.get_route(&app.id, "/run").await.unwrap();
    let new = NewCall {
        id: CallId::generate(),
        project_id: app.project_id.clone(),
        app_id: app.id.clone(),
        route_id: route.id.clone(),
        version_id: route.latest.id.clone(),
        trigger: Trigger::Run,
        call_type: RouteType::Async,
        request_id: RequestId::generate(),
        not_before: SystemClock.now().plus(Duration::from_hours(1)),
        priority: 1,
        delivery: CallDelivery::default(),
        depth: 0,
        idempotency: None,
        envelope: br#"{"method":"POST","url":"http://localhost/","params":[],"headers":[]}"#.to_vec(),
        payload: Vec::new(),
    };
    store.accept_call(&new).await.unwrap();
    new.id
}

async fn send(
    server: &Server,
    endpoint: &Endpoint,
    url: &str,
    token: Option<&str>,
    sample: &Sample,
) -> Reply {
    let client = match endpoint.face {
        EndpointFace::Api => &server.api,
        EndpointFace::Functions => &server.functions,
    };
    let mut headers = Vec::new();
    if let Some(token) = token {
        headers.push(("x-auth-token", token));
    }
    if !sample.content_type.is_empty() {
        headers.push(("content-type", sample.content_type));
    }
    client.send(endpoint.method, url, &headers, sample.body.clone()).await
}

/// Whether a request that succeeds leaves less to ask about for the next one.
fn changes_something(endpoint: &Endpoint) -> bool {
    endpoint.face == EndpointFace::Api && endpoint.method != "GET" && !endpoint.path.contains("/r/")
}

/// What the default of an endpoint's rule asks of a caller.
enum Asks {
    Nothing,
    ToRead,
    ToChange,
    ToInvoke,
    /// As a service of the cloud, whichever project it is in.
    ToTell,
}

/// Every rule has its line: whoever adds a rule says here whom its default is for.
fn asks(endpoint: &Endpoint) -> Asks {
    match endpoint.rule.as_deref() {
        None => Asks::Nothing,
        Some(
            "functions:app:list"
            | "functions:app:get"
            | "functions:route:list"
            | "functions:route:get"
            | "functions:call:list"
            | "functions:call:get"
            | "functions:call:get_log"
            | "functions:call:get_result"
            | "functions:image:list"
            | "functions:version:list"
            | "functions:version:get"
            | "functions:alias:list"
            | "functions:alias:get"
            | "functions:trigger:list"
            | "functions:trigger:get"
            | "functions:trigger:list_firings"
            | "functions:identity:get"
            | "functions:limit:get",
        ) => Asks::ToRead,
        Some(
            "functions:app:create"
            | "functions:app:update"
            | "functions:app:delete"
            | "functions:app:rotate_signing_key"
            | "functions:route:create"
            | "functions:route:update"
            | "functions:route:delete"
            | "functions:call:cancel"
            | "functions:call:retry"
            | "functions:image:load"
            | "functions:image:delete"
            | "functions:version:roll_back"
            | "functions:alias:create"
            | "functions:alias:update"
            | "functions:alias:delete"
            | "functions:trigger:create"
            | "functions:trigger:update"
            | "functions:trigger:delete"
            | "functions:trigger:pause"
            | "functions:trigger:resume"
            | "functions:trigger:fire"
            | "functions:trigger:rotate_secret"
            | "functions:identity:set"
            | "functions:identity:consent"
            | "functions:identity:delete"
            | "functions:webhook_secret:rotate"
            | "functions:webhook_secret:delete",
        ) => Asks::ToChange,
        Some("functions:function:invoke") => Asks::ToInvoke,
        Some("functions:object_event:create") => Asks::ToTell,
        Some(rule) => panic!("{rule} has no line: say whom it is for"),
    }
}

/// What an identity asks beside its rule: it is granted with a token of the function's project, by who
/// has its roles there, and only who granted it consents.
///
/// A webhook's URL is its own leave, and what is posted there is answered before its call runs.
fn beside_its_rule(endpoint: &Endpoint, who: &str) -> Option<u16> {
    if endpoint.path == "/t/{hook}" {
        return (endpoint.method == "POST").then_some(202);
    }
    match (endpoint.rule.as_deref()?, who) {
        ("functions:identity:set", "other project's admin") => Some(400),
        ("functions:identity:consent", "member") => None,
        ("functions:identity:consent", _) => Some(403),
        _ => None,
    }
}

/// Keystone, a server that asks it, and what all tests here need of both.
pub struct World {
    _turn: MutexGuard<'static, ()>,
    pub keystone: Arc<Keystone>,
    pub server: Server,
    pub project: String,
    other_project: String,
    pub member: String,
    image: Vec<u8>,
}

impl World {
    pub async fn new(cache_time: Option<Duration>) -> Self {
        // One after the other: a Keystone on SQLite answers 500 to writers that meet.
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let keystone = Keystone::shared().await.unwrap();
        let credentials = ServiceCredentials::Password {
            username: "picasso".to_owned(),
            user_domain: "Default".to_owned(),
            password: keystone.password("picasso").into(),
            project: "service".to_owned(),
            project_domain: "Default".to_owned(),
        };
        let patience = Duration::from_mins(1);
        let settings = KeystoneSettings {
            cache_time,
            refused_cache_time: Duration::ZERO,
            connect_timeout: patience,
            request_timeout: patience,
            total_timeout: patience,
            ..KeystoneSettings::new(keystone.auth_url(), credentials)
        };
        let tokens = Arc::new(KeystoneValidator::new(settings, Arc::new(SystemClock)).unwrap());
        let trusts = Some(Arc::new(Trusts::new(tokens.clone(), None)));
        let server = Server::start_with(Options { tokens, trusts, ..Options::default() }).await;
        server.image("shared:1", "cat").await;
        let image = server.image_tar("true");
        Self {
            _turn: turn,
            project: keystone.project_id("demo1").await.unwrap(),
            other_project: keystone.project_id("demo2").await.unwrap(),
            member: keystone.token("demo1-member", "demo1").await.unwrap(),
            keystone,
            server,
            image,
        }
    }

    async fn fresh(&self) -> Fresh {
        Fresh::in_project(&self.server, &self.project, &self.member, &self.image).await
    }
}

pub fn keystone_is_here() -> bool {
    require("Keystone", Keystone::missing().as_deref())
}

#[test]
fn every_endpoint_and_every_rule_has_its_row_in_the_matrix() {
    let text = || "x".to_owned();
    let names = Fresh {
        app: text(),
        full_name: text(),
        image: text(),
        route_id: text(),
        idle_route_id: text(),
        waiting_call: text(),
        ended_call: text(),
        hook: text(),
    };
    let mut rows = BTreeSet::new();
    for endpoint in endpoints() {
        // What has no row ends the test.
        sample(&endpoint, &names, &[]);
        asks(&endpoint);
        rows.extend(endpoint.rule);
    }
    for rule in DEFAULTS.iter().filter(|rule| !ASKED_WITHIN.contains(&rule.name)) {
        assert!(rows.contains(rule.name), "no endpoint enforces {}", rule.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_answers_every_kind_of_token_as_it_should() {
    if !keystone_is_here() {
        return;
    }
    let world = World::new(None).await;
    let keystone = &world.keystone;
    let revoked = keystone.token("demo1-member", "demo1").await.unwrap();
    let before = world.server.api.get(&format!("/v1/{}/apps", world.project), &revoked).await;
    assert_eq!(before.status, 200, "the token was good before it was revoked");
    keystone.revoke(&revoked).await.unwrap();
    let of_role = async |project: &'static str, role: &'static str| {
        let user = keystone.create_user(project, &[role]).await.unwrap();
        Some(keystone.token(&user.name, project).await.unwrap())
    };
    let unscoped = keystone.scoped_token("demo1-member", picasso_testkit::keystone::Scope::Unscoped);
    let system = keystone.scoped_token("admin", picasso_testkit::keystone::Scope::System);

    // Token, and what it gets: without a token, reading, changing, invoking.
    let callers = [
        ("no token", None, [200, 401, 401, 401]),
        ("garbage", Some("garbage".to_owned()), [200, 401, 401, 401]),
        (
            "expired",
            Some(keystone.expired_token("demo1-member", "demo1").await.unwrap()),
            [200, 401, 401, 401],
        ),
        ("revoked", Some(revoked), [200, 401, 401, 401]),
        ("unscoped", Some(unscoped.await.unwrap()), [200, 403, 403, 403]),
        ("system's admin", Some(system.await.unwrap()), [200, 403, 403, 403]),
        (
            "other project's member",
            Some(keystone.token("demo2-member", "demo2").await.unwrap()),
            [200, 404, 404, 404],
        ),
        ("reader", Some(keystone.token("demo1-reader", "demo1").await.unwrap()), [200, 200, 403, 403]),
        ("member", Some(world.member.clone()), [200, 200, 200, 200]),
        ("manager", of_role("demo1", "manager").await, [200, 200, 200, 200]),
        ("service", of_role("demo1", "service").await, [200, 403, 403, 200]),
        ("admin", Some(keystone.token("demo1-admin", "demo1").await.unwrap()), [200, 200, 200, 200]),
        ("other project's admin", of_role("demo2", "admin").await, [200, 200, 200, 200]),
        ("foreign role", Some(keystone.token("demo1-nobody", "demo1").await.unwrap()), [200, 403, 403, 403]),
        ("other project's service", of_role("demo2", "service").await, [200, 403, 403, 404]),
        ("other project's reader", of_role("demo2", "reader").await, [200, 404, 403, 403]),
        ("other project's manager", of_role("demo2", "manager").await, [200, 404, 404, 404]),
    ];
    let shared = world.fresh().await;
    let mut wrong = Vec::new();
    for endpoint in endpoints() {
        for (who, token, expected) in &callers {
            let expected = match asks(&endpoint) {
                Asks::Nothing => expected[0],
                Asks::ToRead => expected[1],
                Asks::ToChange => expected[2],
                Asks::ToInvoke => expected[3],
                Asks::ToTell if who.ends_with("service") => 200,
                Asks::ToTell => {
                    if expected[1] == 401 {
                        401
                    } else {
                        403
                    }
                }
            };
            let expected = beside_its_rule(&endpoint, who).filter(|_| expected == 200).unwrap_or(expected);
            let own = if expected == 200 && changes_something(&endpoint) {
                Some(world.fresh().await)
            } else {
                None
            };
            if let Some(own) = &own
                && endpoint.method == "DELETE"
                && endpoint.path.ends_with("/apps/{app}")
            {
                for route in ["run", "idle"] {
                    let url = format!("/v1/{}/apps/{}/routes/{route}", world.project, own.app);
                    assert_eq!(world.server.api.delete(&url, &world.member).await.status, 200);
                }
            }
            let about = own.as_ref().unwrap_or(&shared);
            let sample = sample(&endpoint, about, &world.image);
            let url = about.url(&endpoint, &world.project);
            let reply = send(&world.server, &endpoint, &url, token.as_deref(), &sample).await;
            if reply.status != expected {
                let (method, path) = (endpoint.method, &endpoint.path);
                wrong.push(format!(
                    "{method} {path}, {who}: {} instead of {expected}: {}",
                    reply.status,
                    reply.text()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_works_nowhere_once_the_cache_time_is_over() {
    if !keystone_is_here() {
        return;
    }
    let cache_time = Duration::from_secs(2);
    let world = World::new(Some(cache_time)).await;
    let token = world.keystone.token("demo1-member", "demo1").await.unwrap();
    let apps = format!("/v1/{}/apps", world.project);
    assert_eq!(world.server.api.get(&apps, &token).await.status, 200);
    let fresh = world.fresh().await;
    world.keystone.revoke(&token).await.unwrap();
    let refused = async || world.server.api.get(&apps, &token).await.status == 401;
    wait_until(cache_time + Duration::from_secs(20), "the end of the cache time", refused).await.unwrap();
    for endpoint in endpoints().iter().filter(|endpoint| endpoint.rule.is_some()) {
        let sample = sample(endpoint, &fresh, &world.image);
        let url = fresh.url(endpoint, &world.project);
        let reply = send(&world.server, endpoint, &url, Some(&token), &sample).await;
        assert_eq!(reply.status, 401, "{} {}", endpoint.method, endpoint.path);
    }
}

/// An answer without what may differ between two requests: ids, names of projects, the date.
fn comparable(reply: &Reply, replace: &[&str]) -> (u16, BTreeSet<String>, String) {
    let request = reply.header("x-openstack-request-id").to_owned();
    let plain = |text: String| {
        replace.iter().chain([&request.as_str()]).fold(text, |text, id| text.replace(id, "ID"))
    };
    let headers = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| plain(format!("{name}: {}", value.to_str().unwrap())))
        .collect();
    (reply.status, headers, plain(reply.text()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_resource_and_a_missing_one_answer_byte_for_byte_alike() {
    if !keystone_is_here() {
        return;
    }
    let world = World::new(Some(Duration::from_mins(1))).await;
    let fresh = world.fresh().await;
    let reader = world.keystone.create_user("demo2", &["reader"]).await.unwrap();
    let tokens = [
        world.keystone.token("demo2-member", "demo2").await.unwrap(),
        world.keystone.token(&reader.name, "demo2").await.unwrap(),
    ];
    // As long as a real id, so that lengths can be compared too.
    let nobodys_project = "f".repeat(world.project.len());
    let ids = [world.project.as_str(), &world.other_project, &nobodys_project];
    for endpoint in endpoints() {
        let names_a_resource =
            ["{app}", "{*name}", "{call_id}", "{route_id}"].iter().any(|part| endpoint.path.contains(part));
        for token in &tokens {
            let sample = sample(&endpoint, &fresh, &world.image);
            let ask = async |project: &str| {
                let url = fresh.url(&endpoint, project);
                let reply = send(&world.server, &endpoint, &url, Some(token), &sample).await;
                comparable(&reply, &ids)
            };
            if endpoint.rule.is_none() {
                continue;
            }
            let about = format!("{} {}", endpoint.method, endpoint.path);
            let foreign = ask(&world.project).await;
            assert!(matches!(foreign.0, 403 | 404), "{about}: {}", foreign.0);
            assert_eq!(foreign, ask(&nobodys_project).await, "{about}: a project that does not exist");
            // An upload makes what it names; there is no missing one of it.
            if names_a_resource && (endpoint.method, endpoint.path.contains("{*name}")) != ("PUT", true) {
                assert_eq!(foreign, ask(&world.other_project).await, "{about}: missing in the own project");
            }
        }
    }
}
