//! Changes of objects: whom they run, who may tell of them, and how a loop ends.

use std::time::Duration;

use picasso_testkit::process::wait_until;
use picasso_types::{IdentityGrant, RouteIdentity, Timestamp, TrustId};
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{OTHER, PROJECT, Server};

const SOON: Duration = Duration::from_secs(30);

struct World {
    server: Server,
    route: Value,
}

fn event(id: &str, object: &str) -> Value {
    json!({
        "id": id, "time": "2026-11-23T18:36:24.975Z", "operation": "put", "account": format!("AUTH_{PROJECT}"),
        "project_id": PROJECT, "container": "photos", "object": object, "size": 7, "user_id": "u1",
        "user_project_id": PROJECT,
    })
}

impl World {
    async fn new() -> Self {
        let server = Server::start().await;
        server.app().await;
        let route = server.route("/run", "cat", json!({"type": "async"})).await.json()["route"].clone();
        Self { server, route }
    }

    async fn trigger(&self, options: Value) {
        let fields =
            json!({"name": "photos", "app": "hello", "route": "/run", "kind": "object", "options": options});
        let url = format!("/v1/{PROJECT}/triggers");
        let made = self.server.api.post(&url, "member", &json!({"trigger": fields})).await;
        assert_eq!(made.status, 200, "{}", made.text());
    }

    async fn tell(&self, events: &[Value]) -> Reply {
        self.server.api.post("/v1/object-events", "service", &json!({ "events": events })).await
    }

    async fn accepted(&self, events: &[Value]) -> u64 {
        let told = self.tell(events).await;
        assert_eq!(told.status, 200, "{}", told.text());
        told.json()["accepted"].as_u64().unwrap()
    }

    async fn state(&self) -> Value {
        let shown = self.server.api.get(&format!("/v1/{PROJECT}/triggers/photos"), "reader").await;
        shown.json()["trigger"].clone()
    }
}

#[tokio::test]
async fn a_change_that_a_trigger_wants_makes_one_call_however_often_it_is_told() {
    let world = World::new().await;
    world.trigger(json!({"container": "photos", "prefix": "in/", "suffix": ".jpg"})).await;
    assert_eq!(world.accepted(&[event("e1", "in/cat.jpg")]).await, 1);
    assert_eq!(world.accepted(&[event("e1", "in/cat.jpg")]).await, 0);
    let mut deleted = event("e2", "in/cat.jpg");
    deleted["operation"] = json!("delete");
    assert_eq!(world.accepted(&[event("e3", "out/cat.jpg"), event("e4", "in/cat.png"), deleted]).await, 0);
    let calls = world.server.api.get(&format!("/v1/{PROJECT}/calls"), "reader").await.json();
    let call = calls["calls"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(calls["calls"].as_array().map(Vec::len), Some(1));
    let url = format!("/v1/{PROJECT}/calls/{call}");
    wait_until(SOON, "the call to run", async || {
        world.server.api.get(&url, "reader").await.json()["call"]["status"] == "succeeded"
    })
    .await
    .unwrap();
    let result = world.server.api.get(&format!("{url}/result?raw=true"), "reader").await.json();
    assert_eq!((&result["object"], &result["size"]), (&json!("in/cat.jpg"), &json!(7)));
}

#[tokio::test]
async fn another_projects_trigger_does_not_hear_of_it() {
    let world = World::new().await;
    world.trigger(json!({"container": "photos"})).await;
    let mut foreign = event("e1", "cat.jpg");
    foreign["project_id"] = json!(OTHER);
    assert_eq!(world.accepted(&[foreign]).await, 0);
}

#[tokio::test]
async fn only_services_tell_and_what_they_tell_is_checked() {
    let world = World::new().await;
    world.trigger(json!({"container": "photos"})).await;
    for token in ["reader", "member", "admin"] {
        let body = json!({"events": [event("e1", "cat.jpg")]});
        let refused = world.server.api.post("/v1/object-events", token, &body).await;
        assert_eq!(refused.status, 403, "{token}");
    }
    let mut long = event("e2", "cat.jpg");
    long["object"] = json!("x".repeat(1025));
    let refused = world.tell(&[event("e1", "cat.jpg"), long]).await;
    assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"));
    assert!(refused.message().starts_with("events[1].object"), "{}", refused.message());
    assert_eq!(world.tell(&[]).await.status, 400);
    assert_eq!(world.state().await["fired"], 0, "nothing of a refused request is taken");
}

#[tokio::test]
async fn what_the_functions_own_identity_changed_is_skipped_unless_the_trigger_says_otherwise() {
    let world = World::new().await;
    world.trigger(json!({"container": "photos"})).await;
    let store = &world.server.state.store;
    let route = picasso_types::RouteId::parse(world.route["id"].as_str().unwrap()).unwrap();
    let identity = RouteIdentity {
        route_id: route,
        project_id: picasso_types::ProjectId::parse(PROJECT).unwrap(),
        user_id: "user-member".to_owned(),
        grant: IdentityGrant::Trust { id: TrustId::parse("trust1").unwrap() },
        roles: vec!["member".to_owned()],
        granted_at: Timestamp(1),
        suspension: None,
    };
    store.set_identity(&identity, 1, None).await.unwrap();
    let by = |id: &str, trust: &str| {
        let mut event = event(id, "cat.jpg");
        event["trust_id"] = json!(trust);
        event
    };
    assert_eq!(world.accepted(&[by("e1", "trust1")]).await, 0);
    assert_eq!(world.accepted(&[by("e2", "another")]).await, 1);
    let change = json!({"options": {"container": "photos", "allow_self": true}});
    let url = format!("/v1/{PROJECT}/triggers/photos");
    assert_eq!(world.server.api.put(&url, "member", &change).await.status, 200);
    let (mut number, world_now) = (3, &world);
    wait_until(SOON, "the change of the trigger to be heard", || {
        number += 1;
        let event = by(&format!("e{number}"), "trust1");
        async move { world_now.accepted(&[event]).await == 1 }
    })
    .await
    .unwrap();
    wait_until(SOON, "the skipped event to be written down", async || {
        let firings = world.server.api.get(&format!("{url}/firings"), "reader").await.json();
        let all = firings["firings"].as_array().unwrap().clone();
        all.iter().any(|firing| firing["outcome"] == "skipped" && firing["event_id"] == "e1")
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_loop_stops_by_itself_and_the_trigger_says_why() {
    let world = World::new().await;
    world.trigger(json!({"container": "photos", "max_per_minute": 3})).await;
    let events: Vec<Value> = (0..5).map(|number| event(&format!("e{number}"), "cat.jpg")).collect();
    assert_eq!(world.accepted(&events).await, 3);
    let stopped = world.state().await;
    assert_eq!(stopped["state"], "stopped");
    assert!(stopped["state_reason"].as_str().unwrap().contains("max_per_minute"), "{stopped}");
    assert_eq!(world.accepted(&[event("e9", "cat.jpg")]).await, 0);
}

#[tokio::test]
async fn a_containers_metadata_and_a_clients_header_run_functions_that_the_project_has() {
    let world = World::new().await;
    let with = |id: &str, field: &str, value: Value| {
        let mut event = event(id, "cat.jpg");
        event[field] = value;
        event
    };
    let subscribed = |id, route: &str| with(id, "subscription", json!({"app": "hello", "route": route}));
    assert_eq!(world.accepted(&[subscribed("e1", "run"), subscribed("e2", "none")]).await, 1);
    assert_eq!(world.accepted(&[subscribed("e1", "/run")]).await, 0, "it came before");
    let app = world.server.api.get(&format!("/v1/{PROJECT}/apps/hello"), "reader").await.json();
    let full_name = app["app"]["name"].as_str().unwrap();
    let url = |id, url: String| with(id, "function_url", json!(url));
    assert_eq!(world.accepted(&[url("e3", format!("http://p:10001/r/{full_name}/run"))]).await, 1);
    let private = format!("http://p:10001/v1/r/{PROJECT}/hello/run");
    assert_eq!(world.accepted(&[url("e4", private.clone())]).await, 0, "nobody's roles allow it");
    for (id, roles, calls) in [("e4", json!(["reader"]), 0), ("e4", json!(["member"]), 1)] {
        let mut event = url(id, private.clone());
        event["user_roles"] = roles.clone();
        assert_eq!(world.accepted(&[event]).await, calls, "{roles}");
    }
    assert_eq!(world.accepted(&[url("e5", format!("http://p:10001/v1/r/{OTHER}/hello/run"))]).await, 0);
    assert_eq!(world.accepted(&[url("e6", "http://p:10001/r/none/run".to_owned())]).await, 0);
}
