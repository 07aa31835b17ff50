//! What an FDK's answer means.

use futures_util::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use picasso_types::Failure;
use picasso_types::text::cut;
use serde::Deserialize;

use super::request::PREFIX;
use crate::formats::context;
use crate::formats::exchange::{AnswerBody, Stream};
use crate::hot::link::{HotAnswer, LinkFault};

/// The function's own status.
const STATUS: &str = "fn-http-status";
/// Most of a failed function's account of itself that is read, bytes.
const MAX_ACCOUNT: usize = 64 * 1024;
/// Most of it that is passed on, bytes.
const MAX_MESSAGE: usize = 4096;

/// The function's answer, unpacked. The status on the wire speaks of the FDK: 200 is an answer,
/// 502 a function that failed, 504 one that exceeded its time; anything else is a fault.
pub(super) async fn of<S: Stream>(
    response: Response<AnswerBody<S>>,
    limit_s: u32,
) -> Result<HotAnswer, LinkFault> {
    let (parts, body) = response.into_parts();
    let failure = match parts.status {
        StatusCode::OK => match own_status(&parts.headers) {
            Some(status) => {
                return Ok(HotAnswer { status, headers: own_headers(&parts.headers), body: Box::pin(body) });
            }
            None => bad_answer("its Fn-Http-Status is no HTTP status".to_owned()),
        },
        StatusCode::BAD_GATEWAY => function_error(&account(body).await),
        StatusCode::GATEWAY_TIMEOUT => Failure::Timeout { limit_s },
        status => bad_answer(format!("its FDK answered with status {}", status.as_u16())),
    };
    Err(LinkFault::Failed(failure))
}

fn bad_answer(reason: String) -> Failure {
    Failure::BadAnswer { reason }
}

fn own_status(headers: &HeaderMap) -> Option<StatusCode> {
    let Some(value) = headers.get(STATUS) else { return Some(StatusCode::OK) };
    StatusCode::from_bytes(value.as_bytes()).ok().filter(|status| !status.is_informational())
}

/// The function's headers for its caller: those with the prefix, without it, and the type and
/// length of the body as it is sent.
fn own_headers(wire: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(wire.len());
    let mut copy = |name: HeaderName, value: &HeaderValue| headers.append(name, value.clone());
    for (name, value) in wire {
        if let Some(name) = name.as_str().strip_prefix(PREFIX)
            && let Ok(name) = name.parse()
        {
            copy(name, value);
        }
    }
    context::remove_hop_by_hop(&mut headers);
    headers.remove(header::CONTENT_LENGTH);
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        if let Some(value) = wire.get(&name)
            && !headers.contains_key(&name)
        {
            headers.insert(name, value.clone());
        }
    }
    headers
}

/// What an FDK says of a function that failed.
#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: String,
}

async fn account<S: Stream>(mut body: AnswerBody<S>) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < MAX_ACCOUNT
        && let Some(Ok(piece)) = body.next().await
    {
        read.extend_from_slice(&piece);
    }
    read
}

fn function_error(account: &[u8]) -> Failure {
    let text = match serde_json::from_slice::<Account>(account) {
        Ok(account) if !account.detail.is_empty() => account.detail,
        Ok(account) if !account.message.is_empty() => account.message,
        _ => String::from_utf8_lossy(account).into_owned(),
    };
    let mut message = cut(text.trim(), MAX_MESSAGE);
    if message.is_empty() {
        message = "function failed";
    }
    Failure::FunctionError { error_type: "FunctionFailed".to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_prefixed_headers_and_the_type_of_the_body_reach_the_caller() {
        let own = own_headers(&headers(&[
            ("content-type", "application/json"),
            ("content-length", "2"),
            ("date", "now"),
            ("fn-fdk-version", "fdk-node/1"),
            ("fn-http-status", "201"),
            ("fn-http-h-location", "/there"),
            ("fn-http-h-connection", "x-gone"),
            ("fn-http-h-x-gone", "1"),
            ("fn-http-h-content-length", "7"),
            ("fn-http-h-", "nameless"),
        ]));
        let names: Vec<_> = own.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["location", "content-type", "content-length"]);
        assert_eq!(own[header::CONTENT_LENGTH], "2");
    }

    #[test]
    fn the_status_is_the_functions_own() {
        assert_eq!(own_status(&headers(&[])), Some(StatusCode::OK));
        assert_eq!(own_status(&headers(&[("fn-http-status", "404")])), Some(StatusCode::NOT_FOUND));
        for none in ["", "teapot", "99", "100", "1000"] {
            assert_eq!(own_status(&headers(&[("fn-http-status", none)])), None, "{none}");
        }
    }

    #[test]
    fn a_failed_function_is_told_in_its_own_words() {
        let message = |account: &str| match function_error(account.as_bytes()) {
            Failure::FunctionError { message, .. } => message,
            other => other.to_string(),
        };
        assert_eq!(message(r#"{"message": "failed", "detail": "ZeroDivisionError"}"#), "ZeroDivisionError");
        assert_eq!(message(r#"{"message": "failed"}"#), "failed");
        assert_eq!(message("boom\n"), "boom");
        assert_eq!(message(""), "function failed");
        assert_eq!(message(&"ä".repeat(MAX_MESSAGE)).len(), MAX_MESSAGE);
    }
}
