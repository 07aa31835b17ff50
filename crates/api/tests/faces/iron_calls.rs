//! Calls on the IronFunctions face, and `/tasks`.

use std::sync::Arc;
use std::time::Duration;

use picasso_engine::EngineSettings;
use picasso_testkit::evidence::note_secret;
use picasso_testkit::process::wait_until;
use serde_json::{Value, json};

use crate::access::jwt;
use crate::iron::{KEY, ask, token};
use crate::support::clock::AheadClock;
use crate::support::{Options, Server};

const SOON: Duration = Duration::from_mins(1);

/// Makes a route of the app `app` that runs a script.
async fn route(server: &Server, path: &str, script: &str, more: Value) {
    let image = format!("image{}:1", path.replace('/', "-"));
    let image = image.replace("image-", "image");
    server.image(&image, script).await;
    let mut route = json!({"path": path, "image": image});
    route.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let reply = ask(server, "POST", "/v1/apps/app/routes", &json!({"route": route})).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_call_sees_the_contracts_environment_and_its_answer_the_routes_headers() {
    let server = Server::start().await;
    let app = json!({"app": {"name": "app", "config": {"from-app": "a", "both": "app"}}});
    ask(&server, "POST", "/v1/apps", &app).await;
    let headers = json!({"X-First": ["1", "2"], "Content-Type": ["text/x-mine"]});
    route(&server, "/env", "env; cat", json!({"config": {"both": "route"}, "headers": headers})).await;
    let sent = [("x-two", "a"), ("x-two", "b"), ("x-auth-token", "secret"), ("x-user-id", "forged")];
    let reply = server.iron.send("POST", "/r/app//env/?q=1", &sent, "the body").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((reply.header("x-first"), reply.header("content-type")), ("1", "text/x-mine"));
    let text = reply.text();
    let lines: Vec<&str> = text.lines().collect();
    for line in ["METHOD=POST", "ROUTE=/env", "FROM_APP=a", "BOTH=route", "HEADER_X_TWO=a b", "the body"] {
        assert!(lines.contains(&line), "{line} is not in {text}");
    }
    let url = lines.iter().find(|line| line.starts_with("REQUEST_URL=http://127.0.0.1:")).unwrap();
    assert!(url.ends_with("/r/app//env/?q=1"), "{url}");
    assert!(!text.contains("secret") && !text.contains("forged"), "{text}");
}

#[tokio::test]
async fn a_route_with_a_jwt_key_takes_calls_with_a_good_token_only() {
    let server = Server::start().await;
    let key = "a key of the test for routes of IronFunctions";
    note_secret(key);
    route(&server, "/closed", "env", json!({"jwt_key": key})).await;
    let call = async |authorization: &str| {
        server.iron.send("POST", "/r/app/closed", &[("authorization", authorization)], "").await
    };
    let good = format!("Bearer {}", jwt("HS256", key, r#"{"exp":9999999999,"nbf":1}"#));
    let reply = call(&good).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(!reply.text().contains("AUTHORIZATION"), "the token was for us: {}", reply.text());
    let url = "/v1/apps/app/routes/closed";
    let patched = ask(&server, "PATCH", url, &json!({"route": {"timeout": 7, "jwt_key": ""}})).await;
    assert_eq!(patched.status, 200, "{}", patched.text());
    assert!(!patched.text().contains(key), "a key is never shown");
    for bad in ["", "Bearer x", &format!("Bearer {}", jwt("none", key, "{}"))] {
        let reply = call(bad).await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, "Bearer realm=\"\""), "{bad}");
        assert!(reply.json()["error"]["message"].is_string(), "{}", reply.text());
    }
    let short = ask(&server, "PATCH", url, &json!({"route": {"jwt_key": "short"}})).await;
    assert_eq!(short.status, 400);
    assert!(short.text().contains("jwt_key"), "{}", short.text());
    assert_eq!(call(&good).await.status, 200, "what was refused changed nothing");
}

#[tokio::test]
async fn what_reaches_standard_input_depends_on_the_method() {
    let server = Server::start().await;
    route(&server, "/cat", "cat", json!({})).await;
    for (method, path, stdin) in [
        ("POST", "/r/app/cat?payload=x", "body"),
        ("GET", "/r/app/cat?payload=a%20b%2Bc", "a b+c"),
        ("GET", "/r/app/cat", ""),
        ("PUT", "/r/app/cat?payload=x", ""),
        ("DELETE", "/r/app/cat", ""),
    ] {
        let reply = server.iron.send(method, path, &[], "body").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, stdin), "{method} {path}");
    }
}

#[tokio::test]
async fn failures_have_ironfunctions_texts_and_name_their_call() {
    let server = Server::start().await;
    route(&server, "/exit", "exit 3", json!({})).await;
    route(&server, "/slow", "exec sleep 60", json!({"timeout": 1})).await;
    route(&server, "/memory", "kill -9 $$", json!({})).await;
    for (path, status, message) in
        [("/exit", 500, "exit code 3"), ("/slow", 504, "Timed out"), ("/memory", 500, "out of memory error")]
    {
        let reply = server.iron.send("GET", &format!("/r/app{path}"), &[], "").await;
        let id = reply.header("picasso-call-id").to_owned();
        assert_eq!(reply.status, status, "{path}");
        assert_eq!(reply.json(), json!({"request_id": id, "error": {"message": message}}), "{path}");
    }
    let missing = |path, message| (path, 404, message);
    for (path, status, message) in [
        missing("/r/none/x", "App not found"),
        missing("/r/app-ironfunctions/exit", "App not found"),
        missing("/r/app/none", "Route not found on that application"),
    ] {
        let reply = server.iron.send("GET", path, &[], "").await;
        assert_eq!((reply.status, reply.json()), (status, json!({"error": {"message": message}})), "{path}");
    }
}

#[tokio::test]
async fn an_apps_name_alone_leads_to_its_root() {
    let server = Server::start().await;
    route(&server, "/", "echo root", json!({})).await;
    assert_eq!(server.iron.send("GET", "/r/app/", &[], "").await.text(), "root\n");
    for (method, status) in [("GET", 301), ("POST", 307)] {
        let reply = server.iron.send(method, "/r/app?a=b", &[], "").await;
        assert_eq!((reply.status, reply.header("location")), (status, "/r/app/?a=b"));
    }
}

/// Answers every request with a status and a header of its own.
const HOT: &str = r#"
cr=$(printf '\r')
while read -r first; do
  while read -r line && [ "${line%"$cr"}" != "" ]; do :; done
  printf 'HTTP/1.1 418 x\r\nX-Own: y\r\nContent-Length: 4\r\n\r\nhot\n'
done"#;

#[tokio::test]
async fn a_hot_function_answers_with_its_body_alone() {
    let server = Server::start().await;
    route(&server, "/hot", HOT, json!({"format": "http", "headers": {"X-Route": ["r"]}})).await;
    for _ in 0..2 {
        let reply = server.iron.send("GET", "/r/app/hot", &[], "").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hot\n"));
        assert_eq!((reply.header("x-own"), reply.header("x-route")), ("", "r"));
    }
    assert_eq!(server.sandbox.running(), 1, "one sandbox took both");
}

/// Answers every request with its body.
const HOT_CAT: &str = r#"
cr=$(printf '\r')
while read -r first; do
  n=0
  while read -r line && [ "${line%"$cr"}" != "" ]; do
    case $(printf %s "$line" | tr A-Z a-z) in
      content-length:*) n=$(printf %s "${line#*: }" | tr -d '\r') ;;
    esac
  done
  printf 'HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n' "$n"
  dd bs=1 count="$n" 2>/dev/null
done"#;

#[tokio::test]
async fn a_hot_function_reads_the_payload_or_nothing_where_the_body_is_not_passed_on() {
    let server = Server::start().await;
    route(&server, "/hot", HOT_CAT, json!({"format": "http"})).await;
    for (method, path, answer) in [
        ("PUT", "/r/app/hot", ""),
        ("GET", "/r/app/hot?payload=a%20b", "a b"),
        ("DELETE", "/r/app/hot?payload=x", ""),
        ("POST", "/r/app/hot?payload=x", "the body"),
        ("GET", "/r/app/hot", ""),
    ] {
        let reply = server.iron.send(method, path, &[], "the body").await;
        assert_eq!((reply.status, reply.text().as_str()), (200, answer), "{method} {path}");
    }
    assert_eq!(server.sandbox.running(), 1, "one sandbox took all of them");
}

async fn stats(server: &Server) -> Value {
    server.iron.send("GET", "/stats", &[], "").await.json()
}

#[tokio::test]
async fn an_asynchronous_call_is_accepted_and_counted_to_its_end() {
    let server = Server::start().await;
    let seen = server.folder.path().join("seen");
    route(&server, "/later", &format!("cat > {}", seen.display()), json!({"type": "async"})).await;
    let reply = server.iron.send("POST", "/r/app/later", &[], "payload").await;
    let id = reply.header("picasso-call-id").to_owned();
    assert_eq!((reply.status, reply.json()), (202, json!({"call_id": id})));
    let ended = || async { stats(&server).await == json!({"Queue": 0, "Running": 0, "Complete": 1}) };
    wait_until(SOON, "its end", ended).await.unwrap();
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "payload");
}

async fn tasks(server: &Server, method: &str, body: &Value) -> (u16, Value) {
    let reply = server
        .iron
        .send(method, "/tasks", &[("authorization", &token(KEY, &json!({})))], body.to_string())
        .await;
    (reply.status, reply.json())
}

async fn manage(server: &Server, path: &str, body: &Value) {
    let reply =
        server.iron.send("POST", path, &[("authorization", &token(KEY, &json!({})))], body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[tokio::test]
async fn a_waiting_call_is_handed_out_once_and_runs_here_when_nobody_takes_it() {
    let clock = Arc::new(AheadClock::default());
    let engine = EngineSettings { async_places: 1, async_project_places: 1, ..EngineSettings::default() };
    let options = Options { iron_key: Some(KEY), engine, clock: clock.clone(), ..Options::default() };
    let server = Server::start_with(options).await;
    let (gate, ran) = (server.folder.path().join("gate"), server.folder.path().join("ran"));
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; cat >> {}", gate.display(), ran.display());
    server.image("wait:1", &script).await;
    let route =
        json!({"route": {"path": "/wait", "image": "wait:1", "type": "async", "config": {"a-b": "c"}}});
    manage(&server, "/v1/apps/app/routes", &route).await;
    let send = async |body: &'static str| {
        let reply = server.iron.send("POST", "/r/app/wait", &[], body).await;
        reply.json()["call_id"].as_str().unwrap().to_owned()
    };

    assert_eq!(tasks(&server, "GET", &json!({})).await, (202, Value::Null));
    send("first;").await;
    wait_until(SOON, "the only place is taken", || async { server.sandbox.running() == 1 }).await.unwrap();
    let taken = send("taken;").await;
    let (status, task) = tasks(&server, "GET", &json!({})).await;
    assert_eq!((status, &task["id"]), (202, &json!(taken)));
    for (field, value) in [("image", "wait:1"), ("path", "/wait"), ("app_name", "app"), ("payload", "taken;")]
    {
        assert_eq!(task[field], value);
    }
    assert_eq!((&task["env_vars"]["A_B"], &task["env_vars"]["METHOD"]), (&json!("c"), &json!("POST")));
    assert_eq!(tasks(&server, "GET", &json!({})).await, (202, Value::Null));
    assert_eq!(tasks(&server, "DELETE", &task).await, (202, task.clone()));
    let missing = json!({"error": {"message": "Task not found"}});
    assert_eq!(tasks(&server, "DELETE", &task).await, (404, missing.clone()));
    assert_eq!(tasks(&server, "DELETE", &json!({"id": "no-such-task"})).await, (404, missing));

    let left = send("left;").await;
    assert_eq!(tasks(&server, "GET", &json!({})).await.1["id"], json!(left));
    std::fs::write(&gate, "").unwrap();
    let text = || std::fs::read_to_string(&ran).unwrap_or_default();
    wait_until(SOON, "the end of the first", || async {
        server.sandbox.running() == 0 && text() == "first;"
    })
    .await
    .unwrap();
    clock.pass(61);
    wait_until(SOON, "the one that nobody took", || async { text() == "first;left;" }).await.unwrap();
}
