//! Format `lambda` through the whole: AWS's own Rust runtime unchanged, and a runtime in a few
//! lines of shell for what a well-made one never does.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what cannot be set up fails the test")]

use std::time::Duration;

use futures_util::StreamExt;
use picasso_suites::cloud::{Answer, Cloud, ready};
use picasso_suites::host;
use picasso_testkit::guest::static_binary;
use picasso_testkit::picasso::Picasso;
use picasso_testkit::process::{TestDir, run, wait_until};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_mins(1);
const RUST_IMAGE: &str = "rust-lambda:1";

/// A Lambda runtime in shell: `ask` waits for a call, `answer` and `error` end it. Each request
/// has a connection of its own.
const SHELL_RUNTIME: &str = r#"
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime
ask() {
    b wget -S -qO /tmp/event "$api/invocation/next" 2>/tmp/head || exit 9
    id=$(b sed -n 's/^ *lambda-runtime-aws-request-id: \([^ ]*\).*/\1/p' /tmp/head | b tr -d '\r')
}
post() { b wget -qO- --post-data "$2" "$api/$1"; }
answer() { post "invocation/$id/response" "$1" >/dev/null; }
"#;

/// A cloud with the example `lambda` loaded.
async fn cloud_with_example() -> Cloud {
    let cloud = Cloud::start().await;
    let dir = TestDir::new("lambda").unwrap();
    let archive = dir.path().join("lambda.tar").display().to_string();
    let binary = static_binary("picasso-example-lambda").expect("the example builds");
    let file = format!("{}:/bootstrap", binary.display());
    let build = ["image", "build", "--file", &file, "--entrypoint", "/bootstrap", "--output", &archive];
    run(&Picasso::binary().display().to_string(), build).expect("picasso image build");
    cloud.picasso.load_image(archive.as_ref(), RUST_IMAGE).await.expect("the image loads");
    cloud
}

async fn rust_route(cloud: &Cloud, token: &str, app: &str, path: &str) {
    cloud.route(token, app, path, "", json!({"image": RUST_IMAGE, "format": "lambda"})).await;
}

async fn shell_route(cloud: &Cloud, token: &str, app: &str, path: &str, script: &str, more: Value) {
    let mut options = json!({"format": "lambda"});
    for (key, value) in more.as_object().into_iter().flatten() {
        options[key] = value.clone();
    }
    cloud.route(token, app, path, &format!("{SHELL_RUNTIME}\n{script}"), options).await;
}

/// Calls as the route's own project, which is told why a call failed.
async fn call_as_owner(cloud: &Cloud, token: &str, app: &str, path: &str) -> Answer {
    let project = cloud.project("demo1").await;
    let url = format!("{}/v1/f/{project}/{app}{path}", cloud.picasso.functions_url());
    cloud.send(cloud.http.get(url).header("X-Auth-Token", token)).await
}

fn kind(answer: &Answer) -> String {
    answer.json()["error"]["kind"].as_str().unwrap_or_default().to_owned()
}

fn message(answer: &Answer) -> String {
    answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_on_awss_own_runtime_runs_unchanged() {
    if !ready() {
        return;
    }
    let cloud = cloud_with_example().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "rust").await;
    for path in ["/hello", "/event", "/fail", "/count", "/plain"] {
        rust_route(&cloud, &token, &app, path).await;
    }

    let url = cloud.function_url(&app, "/hello?name=Ada");
    let hello = cloud.send(cloud.http.get(&url)).await;
    assert_eq!(hello.status, StatusCode::OK, "{}", hello.text());
    assert_eq!(hello.text(), "Hello, Ada!\n");
    assert_eq!(hello.headers["content-type"], "text/plain");

    let url = cloud.function_url(&app, "/event?a=1&a=2&b=x+y");
    let request = cloud.http.post(&url).body(vec![0xff, 0x00]);
    let request = request
        .header("Content-Type", "image/png")
        .header("X-Two", "a")
        .header("X-Two", "b")
        .header("Cookie", "k=v; l=w")
        .header("User-Agent", "suite/1")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let answer = cloud.send(request).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert_eq!(answer.headers["set-cookie"], "seen=yes");
    let deadline: i64 = answer.headers["x-deadline-ms"].to_str().unwrap().parse().unwrap();
    let event = answer.json();
    let now = event["requestContext"]["timeEpoch"].as_i64().unwrap();
    assert!((now..=now + 31_000).contains(&deadline), "{deadline} is not within 30 s of {now}");
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["rawPath"], "/event");
    assert_eq!(event["rawQueryString"], "a=1&a=2&b=x+y");
    assert_eq!(event["queryStringParameters"], json!({"a": "1,2", "b": "x y"}));
    assert_eq!(event["cookies"], json!(["k=v", "l=w"]));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("/wA="), &json!(true)));
    assert_eq!(event["headers"]["x-two"], "a,b");
    assert!(event["headers"]["traceparent"].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert!(!event["headers"]["fn-call-id"].as_str().unwrap().is_empty());
    let context = &event["requestContext"];
    assert_eq!(context["accountId"], cloud.project("demo1").await.as_str());
    assert_eq!(context["apiId"], app.as_str());
    assert_eq!(context["domainName"], "127.0.0.1");
    assert_eq!(context["http"]["method"], "POST");
    assert_eq!(context["http"]["userAgent"], "suite/1");
    assert_eq!(context["http"]["sourceIp"], "127.0.0.1");

    let failed = call_as_owner(&cloud, &token, &app, "/fail").await;
    assert_eq!((failed.status, kind(&failed).as_str()), (StatusCode::BAD_GATEWAY, "function_error"));
    assert!(message(&failed).contains("Function.Unwilling: call "), "{}", message(&failed));

    let project = cloud.project("demo1").await;
    let path = format!("/v1/r/{project}/{app}/plain");
    let run = cloud.api(Method::POST, &path, Some(&token), Some(json!({"n": [1]}))).await;
    assert_eq!(run.status, StatusCode::OK, "{}", run.text());
    assert_eq!(run.json()["result"], r#"{"n":[1]}"#, "the body is the event, the result is as it is");

    let big = cloud.http.post(cloud.function_url(&app, "/plain")).body(vec![b'x'; (6 << 20) + 1]);
    assert_eq!(cloud.send(big).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_answer_arrives_while_the_function_still_writes() {
    if !ready() {
        return;
    }
    let cloud = cloud_with_example().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "stream").await;
    rust_route(&cloud, &token, &app, "/count").await;
    let url = cloud.function_url(&app, "/count?to=20");
    let answer = cloud.http.get(&url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/plain");
    let mut body = answer.bytes_stream();
    let (mut text, mut pieces) = (Vec::new(), 0);
    while let Some(piece) = tokio::time::timeout(SOON, body.next()).await.unwrap() {
        text.extend_from_slice(&piece.unwrap());
        pieces += 1;
    }
    let expected = (1..=20).map(|number| format!("{number}\n")).collect::<Vec<_>>().concat();
    assert_eq!(String::from_utf8(text).unwrap(), expected);
    assert!(pieces > 1, "all of it came at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runtime_does_wrong_fails_its_call_with_a_reason() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "wrong").await;
    let none = json!({});
    let good = r#"while true; do ask; echo "held $id" >&2; echo "said $id"; answer "{\"statusCode\":203,\"body\":\"$AWS_LAMBDA_FUNCTION_NAME\"}"; done"#;
    shell_route(&cloud, &token, &app, "/good", good, none.clone()).await;
    let init_error =
        r#"post init/error '{"errorType":"Runtime.NoSuchHandler","errorMessage":"app.py is gone"}'; exit 1"#;
    shell_route(&cloud, &token, &app, "/init-error", init_error, none.clone()).await;
    shell_route(&cloud, &token, &app, "/init-exit", "exit 7", none.clone()).await;
    shell_route(&cloud, &token, &app, "/init-end", "exit 0", none.clone()).await;
    let crash = "ask; answer '\"well\"'; ask; exit 3";
    shell_route(&cloud, &token, &app, "/crash", crash, none.clone()).await;
    shell_route(&cloud, &token, &app, "/slow", "ask; b sleep 100", json!({"timeout": 1})).await;
    shell_route(&cloud, &token, &app, "/bad", "while true; do ask; answer 'not json'; done", none).await;

    let good = cloud.send(cloud.http.get(cloud.function_url(&app, "/good"))).await;
    assert_eq!(good.status.as_u16(), 203, "{}", good.text());
    assert_eq!(good.text().trim(), "wrong-good");
    let call_id = good.headers["picasso-call-id"].to_str().unwrap().to_owned();
    for line in ["held", "said"] {
        cloud.picasso.logged(&format!("{line} {call_id}"), SOON).await.unwrap();
    }

    let failed = call_as_owner(&cloud, &token, &app, "/init-error").await;
    assert_eq!((failed.status, kind(&failed).as_str()), (StatusCode::BAD_GATEWAY, "function_init_failed"));
    assert!(message(&failed).contains("Runtime.NoSuchHandler: app.py is gone"), "{}", message(&failed));

    let failed = call_as_owner(&cloud, &token, &app, "/init-exit").await;
    assert_eq!((failed.status, kind(&failed).as_str()), (StatusCode::BAD_GATEWAY, "function_exited"));
    let failed = call_as_owner(&cloud, &token, &app, "/init-end").await;
    assert_eq!((failed.status, kind(&failed).as_str()), (StatusCode::BAD_GATEWAY, "function_init_failed"));

    let first = call_as_owner(&cloud, &token, &app, "/crash").await;
    assert_eq!((first.status, first.text().as_str()), (StatusCode::OK, "\"well\""));
    let second = call_as_owner(&cloud, &token, &app, "/crash").await;
    assert_eq!((second.status, kind(&second).as_str()), (StatusCode::BAD_GATEWAY, "function_exited"));
    let third = call_as_owner(&cloud, &token, &app, "/crash").await;
    assert_eq!(third.status, StatusCode::OK, "a new sandbox: {}", third.text());

    let slow = call_as_owner(&cloud, &token, &app, "/slow").await;
    assert_eq!((slow.status, kind(&slow).as_str()), (StatusCode::GATEWAY_TIMEOUT, "function_timeout"));

    let bad = call_as_owner(&cloud, &token, &app, "/bad").await;
    assert_eq!((bad.status, kind(&bad).as_str()), (StatusCode::BAD_GATEWAY, "function_bad_answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sandbox_reaches_the_endpoint_of_another() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let app = cloud.app(&token, "walls").await;
    // Holds its call until the other has tried to answer it.
    let victim = r#"ask; echo "victim holds $id" >&2; b sleep 3; answer '"from the victim"'; ask"#;
    shell_route(&cloud, &token, &app, "/victim", victim, json!({})).await;
    // The call's body names the victim's call. Whatever wget finds, it is not the victim's endpoint.
    let thief = r#"ask; theirs=$(b sed -n 's/.*"rawQueryString":"\([^"]*\)".*/\1/p' /tmp/event)
        mine=$id; id=$theirs; if answer '"stolen"'; then told=taken; else told=refused; fi
        id=$mine; answer "\"$told\""; ask"#;
    shell_route(&cloud, &token, &app, "/thief", thief, json!({})).await;

    let url = cloud.function_url(&app, "/victim");
    let call = tokio::spawn(cloud.http.get(&url).send());
    let held = || async { held_id(&cloud.picasso.log()).is_some() };
    wait_until(SOON, "the victim holds its call", held).await.unwrap();
    let id = held_id(&cloud.picasso.log()).unwrap();
    let thief = cloud.send(cloud.http.get(cloud.function_url(&app, &format!("/thief?{id}")))).await;
    assert_eq!(thief.text(), "\"refused\"");
    let victim = call.await.unwrap().unwrap();
    assert_eq!(victim.text().await.unwrap(), "\"from the victim\"");
    assert!(
        tokio::net::TcpStream::connect("127.0.0.1:9001").await.is_err(),
        "the host itself has no such endpoint"
    );
    assert!(host::running_sandboxes(&cloud.picasso.instance()) >= 2, "both are kept");
}

/// The id that the victim says it holds.
fn held_id(log: &str) -> Option<String> {
    let rest = log.split("victim holds ").nth(1)?;
    Some(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect())
}
