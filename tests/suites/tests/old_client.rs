//! The requests of the `openstack fn …` plug-in of 2017, sent exactly as it sends them, with real
//! tokens, and what it needs of the answers.

use picasso_suites::cloud::{Answer, Cloud, SHELL_IMAGE, ready};
use picasso_suites::host;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// What `python-picassoclient` needs: a JSON object in every answer, and the message.
fn message(answer: &Answer) -> String {
    assert!(answer.json().is_object(), "not a JSON object: {}", answer.text());
    assert!(answer.headers.contains_key("x-openstack-request-id"), "no request id");
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

fn fault(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::too_many_lines, reason = "one session of the client, in its order")]
async fn the_plug_in_of_2017_gets_the_answers_it_expects() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let project = cloud.project("demo1").await;
    let api = |method: Method, path: String, body: Option<Value>| {
        let (cloud, token) = (&cloud, token.clone());
        async move { cloud.api(method, &path, Some(&token), body).await }
    };
    let apps = format!("/v1/{project}/apps");

    // openstack fn apps list | create | show | update
    let answer = api(Method::GET, apps.clone(), None).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(message(&answer), "Successfully listed applications");
    assert_eq!(answer.json()["apps"], json!([]));

    let body = json!({"app": {"name": "testapp", "config": {"A": "1"}}});
    let answer = api(Method::POST, apps.clone(), Some(body.clone())).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "App successfully created"));
    let app = answer.json()["app"].clone();
    let name = app["name"].as_str().unwrap().to_owned();
    assert_eq!(name, format!("testapp-{project}")[..30]);
    assert_eq!(app["description"], format!("App for project {project}"));
    assert_eq!(app["project_id"], project.as_str());
    assert_eq!(app["config"], json!({"A": "1"}), "the configuration of a create is kept");
    for field in ["id", "created_at", "updated_at"] {
        assert!(app[field].is_string(), "{field} is missing");
    }
    let answer = api(Method::POST, apps.clone(), Some(body)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(fault(&answer), "App testapp already exists");

    let answer = api(Method::GET, format!("{apps}/{name}"), None).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "Successfully loaded app"));
    let answer = api(Method::GET, format!("{apps}/testapp"), None).await;
    assert_eq!(answer.json()["app"]["name"], name.as_str(), "the short name answers, too");
    let answer =
        api(Method::PUT, format!("{apps}/{name}"), Some(json!({"config": {"A": "", "B": "2"}}))).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "App successfully updated"));
    assert_eq!(answer.json()["app"]["config"], json!({"B": "2"}));
    let answer = api(Method::GET, format!("{apps}/nothing"), None).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::NOT_FOUND, "App nothing not found"));

    // openstack fn routes create | list | show | update | execute | expose-url
    let routes = format!("{apps}/{name}/routes");
    let script = "cat_all() { while read -r line || [ -n \"$line\" ]; do echo \"$line\"; done; }; cat_all";
    let route = json!({"route": {
        "type": "sync", "path": "/hello", "image": SHELL_IMAGE, "memory": 128, "timeout": 30,
        "max_concurrency": 1, "is_public": "false", "config": {"SCRIPT": script},
    }});
    let answer = api(Method::POST, routes.clone(), Some(route.clone())).await;
    assert_eq!(
        (answer.status, message(&answer).as_str()),
        (StatusCode::OK, "App route successfully created")
    );
    let shown = answer.json()["route"].clone();
    assert_eq!(shown["is_public"], json!(false), "a boolean, whatever the client sent");
    for (field, value) in [
        ("path", json!("/hello")),
        ("type", json!("sync")),
        ("image", json!(SHELL_IMAGE)),
        ("memory", json!(128)),
        ("timeout", json!(30)),
        ("max_concurrency", json!(1)),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert!(shown["config"].is_object());
    let answer = api(Method::POST, routes.clone(), Some(route)).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(fault(&answer), format!("App {name} route /hello already exist"));

    let answer = api(Method::GET, routes.clone(), None).await;
    assert_eq!(
        (answer.status, message(&answer).as_str()),
        (StatusCode::OK, "Successfully loaded app routes")
    );
    assert_eq!(answer.json()["routes"].as_array().map(Vec::len), Some(1));
    let answer = api(Method::GET, format!("{routes}/hello"), None).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "App route successfully loaded"));
    let answer = api(Method::GET, format!("{routes}/nothing"), None).await;
    assert_eq!((answer.status, fault(&answer).as_str()), (StatusCode::NOT_FOUND, "Route /nothing not found"));

    let run = format!("/v1/r/{project}/{name}/hello");
    let data = json!({"name": "Ada", "OS_TOKEN": "supplied-by-the-caller"});
    let answer = api(Method::POST, run.clone(), Some(data.clone())).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(message(&answer), format!("App {name} sync route /hello execution finished"));
    let result = answer.json()["result"].as_str().unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&result).unwrap(), data);

    // A public run of a private route, then of a public one.
    let answer = cloud.api(Method::POST, &format!("/r/{name}/hello"), None, Some(json!({}))).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(fault(&answer), "Unable to execute private route /hello");
    let answer = api(Method::PUT, format!("{routes}/hello"), Some(json!({"is_public": "true"}))).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "Route successfully updated"));
    assert_eq!(answer.json()["route"]["is_public"], json!(true));
    let answer = cloud.api(Method::POST, &format!("/r/{name}/hello"), None, Some(json!({"x": 1}))).await;
    assert_eq!(answer.status, StatusCode::OK, "a change is seen by the next call: {}", answer.text());
    assert_eq!(answer.json()["result"], "{\"x\":1}\n");
    let answer = cloud.api(Method::POST, "/r/testapp/hello", None, None).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "/r takes the full name only");

    // Several segments arrive unescaped.
    let deep = json!({"route": {"type": "async", "path": "/a/b", "image": SHELL_IMAGE, "is_public": "false",
        "config": {"SCRIPT": "exit 0"}}});
    api(Method::POST, routes.clone(), Some(deep)).await;
    let answer = api(Method::GET, format!("{routes}/a/b"), None).await;
    assert_eq!(answer.json()["route"]["path"], "/a/b");
    let answer = api(Method::POST, format!("/v1/r/{project}/{name}/a/b"), None).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.json()["call_id"].is_string(), "an asynchronous run answers its call id");

    // openstack fn routes delete, apps delete
    let answer = api(Method::DELETE, format!("{apps}/{name}"), None).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(fault(&answer), format!("Unable to delete app {name} with routes"));
    let answer = api(Method::DELETE, format!("{routes}/hello"), None).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "Route successfully deleted"));
    let answer = api(Method::GET, routes.clone(), None).await;
    assert_eq!(answer.json()["routes"].as_array().map(Vec::len), Some(1), "the other route stays");
    api(Method::DELETE, format!("{routes}/a/b"), None).await;
    let answer = api(Method::DELETE, format!("{apps}/{name}"), None).await;
    assert_eq!((answer.status, message(&answer).as_str()), (StatusCode::OK, "App successfully deleted"));

    // The plug-in's own first request, without a token, and what makes it authenticate again.
    let answer = cloud.api(Method::GET, "/", None, None).await;
    assert!(answer.status.is_success(), "version discovery: {}", answer.text());
    let answer = cloud.api(Method::GET, &apps, Some("gAAAAABgarbage-garbage-garbage"), None).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(fault(&answer).starts_with("Not authorized. Reason: "), "{}", answer.text());
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Keystone uri="));

    no_secret_shows_on_the_host(&cloud, &[&token]);
}

/// Command lines and environments of the server's processes hold no token and no password.
fn no_secret_shows_on_the_host(cloud: &Cloud, more: &[&str]) {
    let password = cloud.keystone.password("picasso");
    assert!(password.len() >= 8, "the service user has a password");
    let ours = host::descendants(cloud.picasso.pid());
    for (pid, text) in host::command_lines().into_iter().chain(host::environments()) {
        if pid != cloud.picasso.pid() && !ours.contains(&pid) {
            continue;
        }
        for secret in more.iter().copied().chain([password.as_str()]) {
            assert!(!text.contains(secret), "process {pid} shows a secret");
        }
    }
}
