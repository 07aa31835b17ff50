//! A function on AWS's own Rust runtime, unchanged from what runs on AWS Lambda.
//!
//! `GET /hello?name=Ada` greets, `/fail` reports an error, `/count?to=3` streams a line for each
//! number as soon as it is there, `/event` answers with the event itself.

use std::time::Duration;

use http::HeaderValue;
use http::header::CONTENT_TYPE;
use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Diagnostic, Error, FunctionResponse, LambdaEvent, service_fn};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(call: LambdaEvent<Value>) -> Result<FunctionResponse<Value, Body>, Diagnostic> {
    let LambdaEvent { payload: event, context } = call;
    let parameters = &event["queryStringParameters"];
    let whole = match event["rawPath"].as_str().unwrap_or_default() {
        "/fail" => {
            return Err(Diagnostic {
                error_type: "Function.Unwilling".to_owned(),
                error_message: format!("call {} was asked to fail", context.request_id),
            });
        }
        "/count" => {
            let to = parameters["to"].as_str().and_then(|to| to.parse().ok()).unwrap_or(3);
            return Ok(FunctionResponse::StreamingResponse(count(to)));
        }
        "/event" => json!({
            "statusCode": 200,
            "headers": {"content-type": "application/json", "x-deadline-ms": context.deadline},
            "cookies": ["seen=yes"],
            "body": event.to_string(),
        }),
        "/hello" => {
            let name = parameters["name"].as_str().unwrap_or("World");
            json!({"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": format!("Hello, {name}!\n")})
        }
        // Whatever is no structured answer is the answer's JSON.
        _ => event,
    };
    Ok(FunctionResponse::BufferedResponse(whole))
}

/// Lines that go out one by one.
fn count(to: u32) -> Response<Body> {
    let (mut lines, body) = channel();
    tokio::spawn(async move {
        for number in 1..=to {
            // The caller may be gone.
            if lines.send_data(format!("{number}\n").into()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut response = Response::from(body);
    response.metadata_prelude.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
