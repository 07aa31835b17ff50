//! Versions and aliases: listed, shown, rolled back to, called, and by whom.

use std::collections::BTreeSet;

use picasso_api::ApiSettings;
use picasso_types::Bounds;
use serde_json::{Value, json};

use crate::support::client::Reply;
use crate::support::{OTHER, Options, PROJECT, Server};

/// A route `/say` of the app `hello` whose versions say their own numbers.
struct Said {
    server: Server,
    app: String,
    route: String,
}

impl Said {
    async fn with_versions(versions: u32, fields: Value) -> Self {
        Self::started(Server::start().await, versions, fields).await
    }

    async fn started(server: Server, versions: u32, mut fields: Value) -> Self {
        let app = server.app().await;
        fields["config"] = json!({"WORD": "1"});
        let made = server.route("/say", "echo $WORD", fields).await;
        let route = made.json()["route"]["id"].as_str().unwrap().to_owned();
        let said = Self { server, app, route };
        for number in 2..=versions {
            said.deploy(&number.to_string()).await;
        }
        said
    }

    async fn deploy(&self, word: &str) -> Value {
        let url = format!("/v1/{PROJECT}/apps/hello/routes/say");
        let reply = self.server.api.put(&url, "member", &json!({"config": {"WORD": word}})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["route"].clone()
    }

    fn url(&self, rest: &str) -> String {
        format!("/v1/{PROJECT}/routes/{}/{rest}", self.route)
    }

    async fn get(&self, rest: &str) -> Reply {
        self.server.api.get(&self.url(rest), "reader").await
    }

    async fn roll_back(&self, version: u32) -> Reply {
        self.server.api.post(&self.url("rollback"), "member", &json!({"version": version})).await
    }

    async fn create_alias(&self, fields: &Value) -> Reply {
        self.server.api.post(&self.url("aliases"), "member", &json!({"alias": fields})).await
    }

    async fn alias(&self, fields: Value) {
        let made = self.create_alias(&fields).await;
        assert_eq!(made.status, 200, "{}", made.text());
    }

    /// A call without a token.
    async fn public(&self, selector: &str, headers: &[(&str, &str)]) -> Reply {
        let url = format!("/f/{}{selector}/say", self.app);
        self.server.functions.send("POST", &url, headers, "").await
    }

    /// A call with a token.
    async fn private(&self, selector: &str) -> Reply {
        let url = format!("/v1/f/{PROJECT}/hello{selector}/say");
        self.server.functions.send("POST", &url, &[("x-auth-token", "member")], "").await
    }
}

fn word(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.text().trim().to_owned()
}

#[tokio::test]
async fn aliases_are_listed_in_pages_by_filter_and_order() {
    let said = Said::with_versions(1, json!({})).await;
    for (name, public) in [("a", true), ("b", false), ("c", true)] {
        said.alias(json!({"name": name, "versions": [{"version": 1}], "is_public": public})).await;
    }
    for (query, names) in [
        ("", &["a", "b", "c"][..]),
        ("?limit=2", &["a", "b"]),
        ("?limit=2&marker=b", &["c"]),
        ("?sort=name:desc&is_public=true", &["c", "a"]),
        ("?name=in:b,c&created_at=gt:2020-01-01T00:00:00Z", &["b", "c"]),
    ] {
        let listed = said.get(&format!("aliases{query}")).await.json();
        let seen: Vec<_> = listed["aliases"].as_array().unwrap().iter().map(|each| &each["name"]).collect();
        assert_eq!(seen, names, "{query}");
        assert_eq!(listed.get("aliases_links").is_some(), query == "?limit=2", "{listed}");
    }
    for (query, field) in [("limit=0", "limit"), ("marker=gone", "marker"), ("colour=red", "colour")] {
        let refused = said.get(&format!("aliases?{query}")).await;
        assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"), "{query}");
        assert!(refused.message().starts_with(&format!("{field}: ")), "{}", refused.message());
    }
}

#[tokio::test]
async fn of_many_changes_of_one_state_of_an_alias_one_is_made() {
    let said = Said::with_versions(2, json!({})).await;
    said.alias(json!({"name": "live", "versions": [{"version": 1}]})).await;
    let url = said.url("aliases/live");
    let tag = said.get("aliases/live").await.header("etag").to_owned();
    let conditional = async |method, name, tag: &str, body: String| {
        let headers = [("x-auth-token", "member"), ("content-type", "application/json"), (name, tag)];
        said.server.api.send(method, &url, &headers, body).await
    };
    let changes = (1..=6).map(|weight| {
        let body = json!({"versions": [{"version": 1}, {"version": 2, "weight": weight}]});
        conditional("PUT", "if-match", &tag, body.to_string())
    });
    let mut made = Vec::new();
    for reply in futures_util::future::join_all(changes).await {
        match reply.status {
            200 => made.push(reply.header("etag").to_owned()),
            _ => assert_eq!((reply.status, reply.kind().as_str()), (412, "precondition_failed")),
        }
    }
    let now = said.get("aliases/live").await.header("etag").to_owned();
    assert_eq!(made, std::slice::from_ref(&now));
    assert_ne!(now, tag);
    assert_eq!(conditional("GET", "if-none-match", &now, String::new()).await.status, 304);
    assert_eq!(conditional("DELETE", "if-match", &tag, String::new()).await.status, 412);
    assert_eq!(conditional("DELETE", "if-match", "oops", String::new()).await.status, 400);
    assert_eq!(conditional("DELETE", "if-match", &now, String::new()).await.status, 200);
}

#[tokio::test]
async fn versions_are_listed_in_pages_and_shown() {
    let said = Said::with_versions(3, json!({})).await;
    said.alias(json!({"name": "old", "versions": [{"version": 1}, {"version": 2, "weight": 0}]})).await;
    let page = said.get("versions?limit=2").await.json();
    let of = |page: &Value, field: &str| {
        page["versions"].as_array().unwrap().iter().map(|each| each[field].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of(&page, "version"), [3, 2]);
    assert_eq!(of(&page, "is_active"), [true, false]);
    assert_eq!(of(&page, "aliases"), [json!([]), json!(["old"])]);
    let next = page["versions_links"][0]["href"].as_str().unwrap();
    let next = &next[next.find("/v1/").unwrap()..];
    let last = said.server.api.get(next, "reader").await.json();
    assert_eq!((of(&last, "version"), last.get("versions_links")), (vec![json!(1)], None));
    let shown = said.get("versions/1").await;
    let url = said.url("versions/1");
    let known = [("x-auth-token", "reader"), ("if-none-match", shown.header("etag"))];
    assert_eq!(said.server.api.send("GET", &url, &known, "").await.status, 304);
    let shown = shown.json();
    assert_eq!(shown["version"], last["versions"][0]);
    assert_eq!(shown["version"]["config"], json!({"WORD": "1"}));
    assert_eq!(
        (&shown["version"]["state"], &shown["version"]["rolled_back_to"]),
        (&json!("ready"), &Value::Null)
    );
    for bad in ["0", "4", "x", "01"] {
        let missing = said.get(&format!("versions/{bad}")).await;
        assert_eq!((missing.status, missing.kind().as_str()), (404, "version_not_found"), "{bad}");
    }
    for (query, field) in [("limit=0", "limit"), ("limit=201", "limit"), ("marker=x", "marker"), ("a=1", "a")]
    {
        let refused = said.get(&format!("versions?{query}")).await;
        assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"));
        assert!(refused.message().starts_with(field), "{}", refused.message());
    }
}

#[tokio::test]
async fn a_route_is_rolled_back_to_the_very_image_of_then() {
    let said = Said::with_versions(2, json!({})).await;
    let first = said.get("versions/1").await.json()["version"]["digest"].clone();
    // The name means another image by now.
    said.server.image("imagesay:1", "echo other; echo $WORD").await;
    let third = said.deploy("3").await;
    assert_ne!(third["digest"], first);
    assert_eq!(said.public("", &[]).await.text(), "other\n3\n");

    let rolled_back = said.roll_back(1).await;
    assert_eq!(rolled_back.status, 200, "{}", rolled_back.text());
    let route = &rolled_back.json()["route"];
    assert_eq!((&route["version"], &route["active_version"]), (&json!(4), &json!(4)));
    assert_eq!((&route["digest"], &route["state"]), (&first, &json!("ready")));
    assert_eq!(said.public("", &[]).await.text(), "1\n");
    assert_eq!(said.get("versions/4").await.json()["version"]["rolled_back_to"], 1);

    let missing = said.roll_back(9).await;
    assert_eq!((missing.status, missing.kind().as_str()), (404, "version_not_found"));
    let url = said.url("rollback");
    for (body, field) in
        [(json!({}), "version"), (json!({"version": -1}), "version"), (json!({"to": 1}), "to")]
    {
        let refused = said.server.api.post(&url, "member", &body).await;
        assert!(refused.status == 400 && refused.message().contains(field), "{}", refused.text());
    }
    assert_eq!(said.get("versions/4").await.json()["version"]["is_active"], true, "nothing changed");
}

#[tokio::test]
async fn a_version_that_never_was_ready_is_not_rolled_back_to_and_has_no_alias() {
    let said = Said::with_versions(1, json!({})).await;
    let url = format!("/v1/{PROJECT}/apps/hello/routes/say");
    let image = json!({"image": "imagesay:1", "config": {"WORD": "2"}});
    assert_eq!(said.server.api.put(&url, "member", &image).await.status, 200);
    let store = &said.server.state.store;
    let route = store.get_route_by_id(&picasso_types::RouteId::parse(&said.route).unwrap()).await.unwrap();
    let change = picasso_types::RouteChange {
        methods: route.methods.clone(),
        route_type: route.route_type,
        is_public: route.is_public,
        rate_limit: route.rate_limit,
        delivery: route.delivery.clone(),
        access: route.access.clone(),
        spec: route.latest.spec.clone(),
        created_by: "me".to_owned(),
        expected: None,
    };
    let broken = store.update_route(&route.id, &change, None).await.unwrap();
    store.set_version_failed(&broken.latest.id, "no such image").await.unwrap();
    let alias = json!({"name": "live", "versions": [{"version": 3}]});
    for refused in [said.roll_back(3).await, said.create_alias(&alias).await] {
        assert_eq!((refused.status, refused.kind().as_str()), (409, "version_not_ready"));
    }
    let called = said.private("@3").await;
    assert_eq!((called.status, called.kind().as_str()), (502, "function_image_failed"));
    assert_eq!(word(&said.private("").await), "2");
}

#[tokio::test]
async fn an_alias_lives() {
    let said = Said::with_versions(3, json!({})).await;
    let fields = json!({"name": "live", "versions": [{"version": 2, "weight": 900}, {"version": 3, "weight": 100}],
        "is_public": "true", "sticky": {"header": "X-User"}});
    let made = said.create_alias(&fields).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let alias = &made.json()["alias"];
    assert_eq!(alias["versions"], fields["versions"]);
    assert_eq!((&alias["name"], &alias["is_public"]), (&json!("live"), &json!(true)));
    assert_eq!((&alias["sticky"], &alias["route_id"]), (&json!({"header": "x-user"}), &json!(said.route)));
    assert_eq!(said.get("aliases/live").await.json()["alias"], *alias);
    assert_eq!(said.get("aliases").await.json()["aliases"], json!([alias]));
    let again = said.create_alias(&fields).await;
    assert_eq!((again.status, again.kind().as_str()), (409, "alias_exists"));

    let url = said.url("aliases/live");
    let change = json!({"versions": [{"version": 1}], "sticky": null});
    let changed = said.server.api.put(&url, "member", &change).await.json()["alias"].clone();
    assert_eq!(changed["versions"], json!([{"version": 1, "weight": 1}]));
    assert_eq!((&changed["sticky"], &changed["is_public"]), (&Value::Null, &json!(true)));
    for (change, kind) in [
        (json!({"versions": [{"version": 9}]}), "version_not_found"),
        (json!({"versions": []}), "invalid_field"),
        (json!({"versions": [{"version": 1, "weight": 1001}]}), "invalid_field"),
        (json!({"sticky": {"cookie": "picasso"}}), "invalid_field"),
        (json!({"name": "other"}), "invalid_field"),
    ] {
        assert_eq!(said.server.api.put(&url, "member", &change).await.kind(), kind, "{change}");
    }
    assert_eq!(said.get("aliases/live").await.json()["alias"], changed, "nothing changed");

    let deleted = said.server.api.delete(&url, "member").await;
    assert_eq!(deleted.json(), json!({"message": "Alias successfully deleted"}));
    for missing in ["aliases/live", "aliases/3", "aliases/A"] {
        let reply = said.get(missing).await;
        assert_eq!((reply.status, reply.kind().as_str()), (404, "alias_not_found"), "{missing}");
    }
    assert_eq!(said.public("@live", &[]).await.status, 404);
}

#[tokio::test]
async fn the_limit_of_aliases_is_told() {
    let bounds = Bounds { max_aliases_per_route: 1, ..Bounds::default() };
    let options = Options { api: ApiSettings { bounds, ..ApiSettings::default() }, ..Options::default() };
    let said = Said::started(Server::start_with(options).await, 1, json!({})).await;
    said.alias(json!({"name": "a", "versions": [{"version": 1}]})).await;
    let refused = said.create_alias(&json!({"name": "b", "versions": [{"version": 1}]})).await;
    assert_eq!((refused.status, refused.kind().as_str()), (403, "limit_reached"));
    assert!(refused.message().contains("1 aliases"), "{}", refused.message());
}

#[tokio::test]
async fn versions_are_called_by_number_with_a_token_and_by_a_public_alias_without_one() {
    let said = Said::with_versions(3, json!({})).await;
    said.alias(json!({"name": "shown", "versions": [{"version": 2}], "is_public": true})).await;
    said.alias(json!({"name": "hidden", "versions": [{"version": 1}]})).await;
    assert_eq!(word(&said.public("", &[]).await), "3");
    assert_eq!(word(&said.public("@shown", &[]).await), "2");
    for (selector, expected) in
        [("", "3"), ("@1", "1"), ("@2", "2"), ("@3", "3"), ("@shown", "2"), ("@hidden", "1")]
    {
        assert_eq!(word(&said.private(selector).await), expected, "{selector}");
    }
    let comparable = |reply: &Reply, written: &str| {
        let id = reply.header("x-openstack-request-id").to_owned();
        (reply.status, reply.text().replace(&id, "ID").replace(written, "APP"))
    };
    let nobody = format!("hello-{}", "f".repeat(24));
    let missing = said.server.functions.send("POST", &format!("/f/{nobody}/say"), &[], "").await;
    let missing = comparable(&missing, &nobody);
    for selector in ["@1", "@3", "@9", "@hidden", "@none", "@", "@0", "@A", "@shown@1", "@-"] {
        let reply = said.public(selector, &[]).await;
        assert_eq!(comparable(&reply, &format!("{}{selector}", said.app)), missing, "{selector}");
    }
    for selector in ["@9", "@none", "@", "@0", "@A", "@shown@1"] {
        let reply = said.private(selector).await;
        assert_eq!((reply.status, reply.kind().as_str()), (404, "function_not_found"), "{selector}");
    }
    let strange = format!("/v1/f/{OTHER}/hello@1/say");
    let reply = said.server.functions.send("POST", &strange, &[("x-auth-token", "other")], "").await;
    assert_eq!(reply.kind(), "function_not_found");
}

#[tokio::test]
async fn a_public_alias_shows_a_private_route_and_tells_only_its_own_methods() {
    let said = Said::with_versions(1, json!({"is_public": false, "methods": ["POST"]})).await;
    said.alias(json!({"name": "shown", "versions": [{"version": 1}], "is_public": true})).await;
    said.alias(json!({"name": "hidden", "versions": [{"version": 1}]})).await;
    assert_eq!(said.public("", &[]).await.status, 404);
    assert_eq!(word(&said.public("@shown", &[]).await), "1");
    let get = async |selector: &str| {
        said.server.functions.send("GET", &format!("/f/{}{selector}/say", said.app), &[], "").await
    };
    let shown = get("@shown").await;
    assert_eq!((shown.status, shown.header("allow")), (405, "POST"));
    assert_eq!((get("@hidden").await.status, get("@1").await.status), (404, 404));
}

#[tokio::test]
async fn weights_share_the_calls_out_and_a_change_is_there_when_it_is_answered() {
    let said = Said::with_versions(2, json!({})).await;
    let versions = |one: u32, two: u32| json!([{"version": 1, "weight": one}, {"version": 2, "weight": two}]);
    said.alias(json!({"name": "live", "versions": versions(1, 1), "is_public": true})).await;
    let mut words = BTreeSet::new();
    for _ in 0..40 {
        words.insert(word(&said.public("@live", &[]).await));
    }
    // One in 2^39 that this is chance.
    assert_eq!(words, BTreeSet::from(["1".to_owned(), "2".to_owned()]));
    for (one, two) in [(0, 1), (5, 0), (0, 3)] {
        let url = said.url("aliases/live");
        let changed = said.server.api.put(&url, "member", &json!({"versions": versions(one, two)})).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        for _ in 0..5 {
            assert_eq!(word(&said.public("@live", &[]).await), if one == 0 { "2" } else { "1" });
        }
    }
}

#[tokio::test]
async fn a_sticky_alias_gives_one_client_one_version() {
    let said = Said::with_versions(2, json!({})).await;
    let versions = json!([{"version": 1}, {"version": 2}]);
    said.alias(
        json!({"name": "who", "versions": versions, "is_public": true, "sticky": {"header": "X-User"}}),
    )
    .await;
    said.alias(
        json!({"name": "site", "versions": versions, "is_public": true, "sticky": {"cookie": "seat"}}),
    )
    .await;
    let mut seen = BTreeSet::new();
    for client in 0..20 {
        let client = format!("client-{client}");
        let first = word(&said.public("@who", &[("x-user", &client)]).await);
        for _ in 0..3 {
            assert_eq!(word(&said.public("@who", &[("x-user", &client)]).await), first);
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both versions have clients");

    let mut seen = BTreeSet::new();
    for _ in 0..20 {
        let new = said.public("@site", &[]).await;
        let set = new.header("set-cookie").to_owned();
        assert!(set.ends_with(&format!("; Path=/f/{}@site; HttpOnly; SameSite=Lax", said.app)), "{set}");
        let cookie = set.split(';').next().unwrap();
        let first = word(&new);
        for _ in 0..3 {
            let again = said.public("@site", &[("cookie", cookie)]).await;
            assert_eq!((word(&again), again.header("set-cookie")), (first.clone(), ""));
        }
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2, "both versions have clients");
    let with_token = said.private("@site").await;
    assert_eq!((with_token.status, with_token.header("set-cookie")), (200, ""));
}

#[tokio::test]
async fn an_asynchronous_call_keeps_the_version_that_its_alias_drew() {
    let said = Said::with_versions(2, json!({"type": "async"})).await;
    said.alias(json!({"name": "live", "versions": [{"version": 1}]})).await;
    let accepted = said.private("@live").await;
    assert_eq!(accepted.status, 202, "{}", accepted.text());
    let id = accepted.json()["call_id"].as_str().unwrap().to_owned();
    let moved = json!({"versions": [{"version": 2}]});
    assert_eq!(said.server.api.put(&said.url("aliases/live"), "member", &moved).await.status, 200);
    let call = said.server.api.get(&format!("/v1/{PROJECT}/calls/{id}"), "reader").await.json();
    assert_eq!(call["call"]["version"], 1, "{call}");
}

#[tokio::test]
async fn another_projects_route_id_answers_as_a_missing_one() {
    let said = Said::with_versions(1, json!({})).await;
    said.alias(json!({"name": "live", "versions": [{"version": 1}]})).await;
    let missing = picasso_types::RouteId::generate().to_string();
    let requests = [
        ("GET", "versions"),
        ("GET", "versions/1"),
        ("GET", "aliases"),
        ("GET", "aliases/live"),
        ("POST", "rollback"),
        ("POST", "aliases"),
        ("PUT", "aliases/live"),
        ("DELETE", "aliases/live"),
    ];
    for (method, rest) in requests {
        for body in [r#"{"version":1}"#, "{broken"] {
            let ask = async |project: &str, route: &str| {
                let headers = [("x-auth-token", "other"), ("content-type", "application/json")];
                let url = format!("/v1/{project}/routes/{route}/{rest}");
                let reply = said.server.api.send(method, &url, &headers, body).await;
                let id = reply.header("x-openstack-request-id").to_owned();
                (reply.status, reply.text().replace(&id, "ID").replace(route, "ROUTE"))
            };
            let expected = ask(OTHER, &missing).await;
            assert_eq!(expected.0, 404, "{method} {rest}: {}", expected.1);
            for (project, route) in [(OTHER, &said.route), (PROJECT, &said.route), (PROJECT, &missing)] {
                assert_eq!(ask(project, route).await, expected, "{method} {rest}");
            }
        }
    }
    assert_eq!(said.get("aliases/live").await.status, 200);
}
