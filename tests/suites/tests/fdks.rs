//! Functions written with the real frameworks - Fn's FDKs, Amazon's runtime interface clients,
//! Google's Functions Framework, Python's own server - run unchanged, and what a contract says of
//! status, headers, configuration, ids, errors and logs is so.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is the failed test")]

use std::time::Duration;

use picasso_suites::cloud::{Answer, Cloud, ready};
use picasso_testkit::guest::node_missing;
use picasso_testkit::process::require;
use reqwest::StatusCode;
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(30);
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An example that greets, as a route of its format.
struct Greeter {
    cloud: Cloud,
    app: String,
    token: String,
}

/// What becomes of a sandbox whose function raised an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterError {
    Lives,
    Ends,
}

impl Greeter {
    async fn start(example: &str, format: &str) -> Self {
        Self::start_with(example, format, json!({})).await
    }

    async fn start_with(example: &str, format: &str, more: Value) -> Self {
        let cloud = Cloud::start().await;
        let token = cloud.token("demo1-member").await;
        let image = cloud.load_example(example).await;
        let app = cloud.app(&token, "greeter").await;
        let mut route =
            json!({"image": image, "format": format, "memory": 256, "config": {"greeting": "Hej"}});
        for (key, value) in more.as_object().unwrap() {
            route[key] = value.clone();
        }
        cloud.route(&token, &app, "/greet", "", route).await;
        Self { cloud, app, token }
    }

    async fn greet(&self, body: Value) -> Answer {
        let url = format!("{}?loud=1", self.cloud.function_url(&self.app, "/greet"));
        let request = self.cloud.http.post(url).json(&body);
        self.cloud.send(request.header("X-Request-Id", "mine-1").header("traceparent", TRACE)).await
    }

    /// What every format promises, told by an example that tells what it was told.
    async fn keeps_the_contract(&self, status_of_an_error: StatusCode, after_error: AfterError) {
        let answer = self.greet(json!({"name": "Ada"})).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}\n{}", answer.text(), self.cloud.picasso.log());
        assert_eq!(answer.headers["x-greeted"], "Ada");
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("application/json"));
        let call_id = answer.headers["picasso-call-id"].to_str().unwrap().to_owned();
        assert_eq!(answer.headers["fn-call-id"], call_id.as_str());
        let told = answer.json();
        assert_eq!(told["message"], "Hej, Ada!");
        assert_eq!(told["method"], "POST");
        assert!(told["url"].as_str().unwrap().ends_with("/greet?loud=1"), "{told}");
        assert_eq!(told["call_id"], call_id.as_str());
        assert_eq!(told["request_id"], "mine-1");
        let traceparent = told["traceparent"].as_str().unwrap();
        assert!(traceparent.starts_with(&TRACE[..35]), "{told}");
        assert_eq!(told["calls_of_this_sandbox"], 1);
        self.logged("greeting Ada", &call_id).await;

        // The sandbox is used again, and its own status is passed on.
        assert_eq!(self.greet(json!({})).await.status, StatusCode::UNPROCESSABLE_ENTITY);
        let again = self.greet(json!({"name": "Grace"})).await;
        assert_eq!(again.json()["pid"], told["pid"]);
        assert_eq!(again.json()["calls_of_this_sandbox"], 3);
        assert_eq!(again.headers["x-greeted"], "Grace");

        // An error of the function's is its call's alone.
        let failed = self.greet(json!({"name": "nobody"})).await;
        assert_eq!(failed.status, status_of_an_error, "{}", failed.text());
        let failed_id = failed.headers["picasso-call-id"].to_str().unwrap();
        self.logged("nobody cannot be greeted", failed_id).await;
        let after = self.greet(json!({"name": "Alan"})).await.json();
        let calls = if after_error == AfterError::Lives { 5 } else { 1 };
        assert_eq!(after["calls_of_this_sandbox"], calls, "{after}");
    }

    /// Waits for a log line of the function that carries the call's id.
    async fn logged(&self, text: &str, call_id: &str) {
        let there = || async {
            self.cloud.picasso.log().lines().any(|line| line.contains(text) && line.contains(call_id))
        };
        picasso_testkit::process::wait_until(SOON, format!("{text:?} with {call_id} in the log"), there)
            .await
            .unwrap();
    }
}

fn node_ready() -> bool {
    ready() && require("Node.js and what builds its native modules", node_missing().as_deref())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_python_fdk_keeps_the_contract() {
    if !ready() {
        return;
    }
    let greeter = Greeter::start("python-http-stream", "http-stream").await;
    greeter.keeps_the_contract(StatusCode::BAD_GATEWAY, AfterError::Lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_node_fdk_keeps_the_contract() {
    if !node_ready() {
        return;
    }
    let greeter = Greeter::start("node-http-stream", "http-stream").await;
    greeter.keeps_the_contract(StatusCode::BAD_GATEWAY, AfterError::Lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lambda_function_with_awslambdaric_keeps_the_contract() {
    if !ready() {
        return;
    }
    let greeter = Greeter::start("python-lambda", "lambda").await;
    greeter.keeps_the_contract(StatusCode::BAD_GATEWAY, AfterError::Lives).await;
    let answer = greeter.greet(json!({"name": "Ada"})).await;
    assert_eq!(answer.headers["set-cookie"], "greeted=1; Path=/");
    let left = answer.json()["time_left_ms"].as_u64().unwrap();
    assert!((1..=30_000).contains(&left), "the route's timeout is 30 s, not {left} ms");
    let failed = greeter.greet(json!({"name": "nobody"})).await;
    assert!(
        !failed.text().contains("nobody cannot be greeted"),
        "a public caller sees no error of the code's"
    );
    // Who has a token may see the error's type.
    let project = greeter.cloud.project("demo1").await;
    let path = format!("/v1/f/{project}/{}/greet", greeter.app);
    let url = format!("{}{path}", greeter.cloud.picasso.functions_url());
    let request = greeter.cloud.http.post(url).header("X-Auth-Token", &greeter.token);
    let failed = greeter.cloud.send(request.json(&json!({"name": "nobody"}))).await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY);
    assert!(failed.text().contains("ValueError"), "{}", failed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lambda_function_with_aws_lambda_ric_keeps_the_contract() {
    if !node_ready() {
        return;
    }
    let greeter = Greeter::start("node-lambda", "lambda").await;
    greeter.keeps_the_contract(StatusCode::BAD_GATEWAY, AfterError::Lives).await;
    let answer = greeter.greet(json!({"name": "Ada"})).await;
    assert_eq!(answer.headers["set-cookie"], "greeted=1; Path=/");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lambda_function_that_cannot_load_its_handler_says_so() {
    if !ready() {
        return;
    }
    // The module raises an error while it is loaded: awslambdaric reports an init error.
    let config = json!({"config": {"loudness": "very"}});
    let greeter = Greeter::start_with("python-lambda", "lambda", config).await;
    let project = greeter.cloud.project("demo1").await;
    let url = format!("{}/v1/f/{project}/{}/greet", greeter.cloud.picasso.functions_url(), greeter.app);
    let request = greeter.cloud.http.post(url).header("X-Auth-Token", &greeter.token);
    let failed = greeter.cloud.send(request.json(&json!({"name": "Ada"}))).await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY, "{}", failed.text());
    assert!(failed.text().contains("ValueError"), "{}", failed.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_functions_framework_keeps_the_contract() {
    if !ready() {
        return;
    }
    // One call at a time: then its lines carry the call's id.
    let fields = json!({"concurrency": 1});
    let greeter = Greeter::start_with("python-functions-framework", "http-server", fields).await;
    // It catches its function's errors and answers them itself.
    greeter.keeps_the_contract(StatusCode::INTERNAL_SERVER_ERROR, AfterError::Lives).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_event_reaches_the_functions_framework_in_both_modes() {
    if !ready() {
        return;
    }
    let config = json!({"FUNCTION_TARGET": "hear", "FUNCTION_SIGNATURE_TYPE": "cloudevent"});
    let hear = json!({"config": config});
    let greeter = Greeter::start_with("python-functions-framework", "http-server", hear).await;
    let url = greeter.cloud.function_url(&greeter.app, "/greet");
    let binary = greeter.cloud.http.post(&url).json(&json!({"n": 1}));
    let binary = binary
        .header("ce-id", "id-1")
        .header("ce-type", "test.binary")
        .header("ce-source", "/suites")
        .header("ce-specversion", "1.0");
    let answer = greeter.cloud.send(binary).await;
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    greeter.cloud.picasso.logged("heard test.binary id-1 from /suites", SOON).await.unwrap();

    let event = json!({
        "specversion": "1.0", "id": "id-2", "type": "test.structured", "source": "/suites",
        "datacontenttype": "application/json", "data": {"n": 2},
    });
    let structured = greeter.cloud.http.post(&url).header("Content-Type", "application/cloudevents+json");
    let answer = greeter.cloud.send(structured.body(event.to_string())).await;
    assert!(answer.status.is_success(), "{} {}", answer.status, answer.text());
    greeter.cloud.picasso.logged("heard test.structured id-2 from /suites", SOON).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_own_http_server_is_a_function() {
    if !ready() {
        return;
    }
    let cloud = Cloud::start().await;
    let token = cloud.token("demo1-member").await;
    let image = cloud.load_example("python-http-server").await;
    let app = cloud.app(&token, "page").await;
    let route = json!({"image": image, "format": "http-server", "memory": 128, "config": {}});
    cloud.route(&token, &app, "/*path", "", route).await;
    let page = cloud.send(cloud.http.get(cloud.function_url(&app, "/index.html"))).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert_eq!(page.headers["content-type"], "text/html");
    assert!(page.text().contains("Hello from http.server!"));
    let missing = cloud.send(cloud.http.get(cloud.function_url(&app, "/none"))).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let posted = cloud.send(cloud.http.post(cloud.function_url(&app, "/index.html"))).await;
    assert_eq!(posted.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_function_in_plain_python_keeps_the_contract() {
    if !ready() {
        return;
    }
    let greeter = Greeter::start("python-json", "json").await;
    greeter.keeps_the_contract(StatusCode::BAD_GATEWAY, AfterError::Ends).await;
}
