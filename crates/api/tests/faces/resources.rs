//! Apps and routes, as existing clients use them.

use serde_json::{Value, json};

use crate::support::{PROJECT, Server};

fn apps() -> String {
    format!("/v1/{PROJECT}/apps")
}

fn routes() -> String {
    format!("/v1/{PROJECT}/apps/hello/routes")
}

#[tokio::test]
async fn an_app_lives_with_the_messages_of_the_old_service() {
    let server = Server::start().await;
    let body = json!({"app": {"name": "hello", "config": {"A": "1"}}});
    let created = server.api.post(&apps(), "member", &body).await;
    assert_eq!(created.status, 200);
    assert_eq!(created.json()["message"], "App successfully created");
    let app = &created.json()["app"];
    let name = app["name"].as_str().unwrap();
    assert_eq!(name, format!("hello-{}", &PROJECT[..24]));
    assert_eq!(app["description"], format!("App for project {PROJECT}"));
    assert_eq!(app["config"], json!({"A": "1"}));
    assert_eq!(app["project_id"], PROJECT);
    assert_eq!(app["created_at"], app["updated_at"]);
    assert!(app["created_at"].as_str().unwrap().ends_with('Z'));

    for by in ["hello", name] {
        let loaded = server.api.get(&format!("{}/{by}", apps()), "reader").await;
        assert_eq!((loaded.status, &loaded.json()["app"]), (200, app));
        assert_eq!(loaded.json()["message"], "Successfully loaded app");
    }
    let listed = server.api.get(&apps(), "reader").await.json();
    assert_eq!(listed["message"], "Successfully listed applications");
    assert_eq!(listed["apps"], json!([app]));

    let again = server.api.post(&apps(), "member", &json!({"app": {"name": "hello"}})).await;
    assert_eq!((again.status, again.message().as_str()), (409, "App hello already exists"));

    let body = json!({"config": {"A": "", "B": "2"}});
    let updated = server.api.put(&format!("{}/hello", apps()), "member", &body).await.json();
    assert_eq!(updated["message"], "App successfully updated");
    assert_eq!(updated["app"]["config"], json!({"B": "2"}));
    assert_eq!(updated["app"]["description"], app["description"]);

    let deleted = server.api.delete(&format!("{}/hello", apps()), "member").await;
    assert_eq!(deleted.json(), json!({"message": "App successfully deleted"}));
    let gone = server.api.get(&format!("{}/{name}", apps()), "reader").await;
    assert_eq!((gone.status, gone.message()), (404, format!("App {name} not found")));
}

#[tokio::test]
async fn a_route_lives_with_the_messages_of_the_old_service() {
    let server = Server::start().await;
    server.app().await;
    server.image("iron/hello", "cat").await;
    let sent = json!({"route": {"type": "sync", "path": "/hello", "image": "iron/hello", "memory": 128,
        "timeout": 30, "max_concurrency": 1, "is_public": "false", "config": {}}});
    let created = server.api.post(&routes(), "member", &sent).await;
    assert_eq!(created.status, 200, "{}", created.text());
    assert_eq!(created.json()["message"], "App route successfully created");
    let route = &created.json()["route"];
    for (field, value) in [
        ("path", json!("/hello")),
        ("type", json!("sync")),
        ("image", json!("iron/hello")),
        ("is_public", json!(false)),
        ("memory", json!(128)),
        ("timeout", json!(30)),
        ("max_concurrency", json!(1)),
        ("config", json!({})),
        ("state", json!("ready")),
        ("version", json!(1)),
    ] {
        assert_eq!(route[field], value, "{field}");
    }
    assert!(route["digest"].as_str().unwrap().starts_with("sha256:"));

    let again = server.api.post(&routes(), "member", &sent).await;
    assert_eq!((again.status, again.message().as_str()), (409, "App hello route /hello already exist"));

    let loaded = server.api.get(&format!("{}/hello", routes()), "reader").await.json();
    assert_eq!(loaded["message"], "App route successfully loaded");
    assert_eq!(&loaded["route"], route);
    let listed = server.api.get(&routes(), "reader").await.json();
    assert_eq!(listed["message"], "Successfully loaded app routes");
    assert_eq!(listed["routes"], json!([route]));

    let change = json!({"is_public": "true", "config": {"A": "1"}});
    let updated = server.api.put(&format!("{}/hello", routes()), "member", &change).await.json();
    assert_eq!(updated["message"], "Route successfully updated");
    assert_eq!(updated["route"]["is_public"], true);
    assert_eq!(updated["route"]["version"], 2);

    let with_routes = server.api.delete(&format!("{}/hello", apps()), "member").await;
    assert_eq!(
        (with_routes.status, with_routes.message().as_str()),
        (403, "Unable to delete app hello with routes")
    );
    let deleted = server.api.delete(&format!("{}/hello", routes()), "member").await;
    assert_eq!(deleted.json(), json!({"message": "Route successfully deleted"}));
    let gone = server.api.get(&format!("{}/hello", routes()), "reader").await;
    assert_eq!((gone.status, gone.message().as_str()), (404, "Route /hello not found"));
}

#[tokio::test]
async fn deleting_one_route_leaves_the_others() {
    let server = Server::start().await;
    server.app().await;
    server.route("/a", "cat", json!({})).await;
    server.route("/b", "cat", json!({})).await;
    server.api.delete(&format!("{}/a", routes()), "member").await;
    let left = server.api.get(&routes(), "reader").await.json();
    let paths: Vec<&Value> = left["routes"].as_array().unwrap().iter().map(|r| &r["path"]).collect();
    assert_eq!(paths, ["/b"]);
}

#[tokio::test]
async fn routes_with_several_segments_and_the_root_are_reached() {
    let server = Server::start().await;
    server.app().await;
    for (path, url) in [("/a/b", "/a/b"), ("/users/:id", "/users/:id"), ("/", "/"), ("/f/*rest", "/f/*rest")]
    {
        server.route(path, "cat", json!({})).await;
        let loaded = server.api.get(&format!("{}{url}", routes()), "reader").await;
        assert_eq!(loaded.json()["route"]["path"], path, "{}", loaded.text());
        let changed = server.api.put(&format!("{}{url}", routes()), "member", &json!({"timeout": 5})).await;
        assert_eq!(changed.json()["route"]["timeout"], 5, "{}", changed.text());
    }
    assert_eq!(server.api.delete(&format!("{}/a/b", routes()), "member").await.status, 200);
    assert_eq!(server.api.delete(&format!("{}/", routes()), "member").await.status, 200);
}

#[tokio::test]
async fn an_image_that_nobody_has_is_refused_by_its_field() {
    let server = Server::start().await;
    server.app().await;
    for image in ["nowhere:1", "registry.example.org/x:1"] {
        let body = json!({"route": {"path": "/a", "image": image}});
        let refused = server.api.post(&routes(), "member", &body).await;
        assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"));
        assert!(refused.message().starts_with("route.image: "), "{}", refused.message());
    }
    server.route("/a", "cat", json!({})).await;
    let refused = server.api.put(&format!("{}/a", routes()), "member", &json!({"image": "nowhere:1"})).await;
    assert!(refused.message().starts_with("image: "), "{}", refused.message());
}

#[tokio::test]
async fn egress_is_refused_where_the_driver_cannot_give_it() {
    let server = Server::start().await;
    server.app().await;
    server.image("x:1", "cat").await;
    let body = json!({"route": {"path": "/a", "image": "x:1", "network": "egress"}});
    let refused = server.api.post(&routes(), "member", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.message().starts_with("route.network: "), "{}", refused.message());
}

#[tokio::test]
async fn a_format_that_the_runtime_does_not_carry_is_refused_with_those_it_does() {
    let server = Server::start().await;
    server.app().await;
    server.image("x:1", "cat").await;
    server.route("/stored", "cat", json!({})).await;
    for format in ["http-stream", "lambda", "http-server"] {
        let body = json!({"route": {"path": "/a", "image": "x:1", "format": format}});
        let refused = server.api.post(&routes(), "member", &body).await;
        assert_eq!((refused.status, refused.kind().as_str()), (400, "invalid_field"));
        let told = format!(
            "format: \"{format}\" is not carried by this cloud's sandbox runtime process; it carries \
             \"default\", \"http\", \"json\""
        );
        assert_eq!(refused.message(), format!("route.{told}"));
        let url = format!("{}/stored", routes());
        let refused = server.api.put(&url, "member", &json!({"format": format})).await;
        assert_eq!((refused.status, refused.message()), (400, told));
    }
    for format in ["http", "json"] {
        let body = json!({"route": {"path": format!("/{format}"), "image": "x:1", "format": format}});
        assert_eq!(server.api.post(&routes(), "member", &body).await.status, 200, "{format}");
    }
}

#[tokio::test]
async fn a_change_of_the_apps_configuration_reaches_its_functions_at_once() {
    let server = Server::start().await;
    let app = server.app().await;
    server.route("/env", "printf %s \"$GREETING\"", json!({})).await;
    let url = format!("/f/{app}/env");
    for greeting in ["one", "two"] {
        let body = json!({"config": {"GREETING": greeting}});
        server.api.put(&format!("{}/hello", apps()), "member", &body).await;
        assert_eq!(server.functions.send("GET", &url, &[], "").await.text(), greeting);
    }
}

#[tokio::test]
async fn a_typo_in_a_field_is_told() {
    let server = Server::start().await;
    let refused = server.api.post(&apps(), "member", &json!({"app": {"name": "a", "confg": {}}})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.message().contains("confg"), "{}", refused.message());
}
