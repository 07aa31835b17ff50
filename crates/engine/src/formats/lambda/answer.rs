//! What a function's result means as an HTTP answer (Lambda developer guide, "Invoking Lambda
//! function URLs", response payload 2.0).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::formats::context::remove_hop_by_hop;

/// Most headers and cookies of one answer.
const MAX_HEADERS: usize = 256;
/// Most bytes of their names and values.
const MAX_HEAD_BYTES: usize = 64 * 1024;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Status and headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    /// The function's status.
    pub(super) status: StatusCode,
    /// Its headers, without those of its connection.
    pub(super) headers: HeaderMap,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    /// Status and headers.
    pub(super) head: Head,
    /// The body.
    pub(super) body: Bytes,
}

/// A structured result. Raw values, because only some of it must be understood.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Structured<'a> {
    #[serde(borrow)]
    status_code: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    is_base64_encoded: Option<&'a RawValue>,
}

/// The answer of a function URL: a structured result, or any other JSON value as it is. The error
/// says what is wrong with the result, in half a sentence.
pub(super) fn of_function_url(result: Bytes) -> Result<Whole, String> {
    let json: &RawValue =
        serde_json::from_slice(&result).map_err(|error| format!("its result is not JSON: {error}"))?;
    let structured = if json.get().starts_with('{') {
        // A result that repeats a key of ours is as good as broken.
        serde_json::from_str::<Structured<'_>>(json.get())
            .map_err(|error| format!("its result is not valid: {error}"))?
    } else {
        Structured::default()
    };
    if structured.status_code.is_none() {
        return Ok(of_run(result));
    }
    let mut head = head_of(&structured)?;
    head.headers.entry(header::CONTENT_TYPE).or_insert(JSON);
    let text = match structured.body.map(|body| parse::<Value>(body, "body")).transpose()? {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    let encoded = structured.is_base64_encoded.is_some_and(|value| value.get() == "true");
    let body = if encoded {
        let decoded = STANDARD.decode(text.as_bytes());
        decoded.map_err(|error| format!("its body is not base64: {error}"))?.into()
    } else {
        Bytes::from(text)
    };
    Ok(Whole { head, body })
}

/// The answer of a wrapped run: the result as it is.
pub(super) fn of_run(result: Bytes) -> Whole {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]);
    Whole { head: Head { status: StatusCode::OK, headers }, body: result }
}

/// The head in the prelude of a streamed answer.
pub(super) fn of_prelude(prelude: &[u8]) -> Result<Head, String> {
    let structured: Structured<'_> = serde_json::from_slice(prelude)
        .map_err(|error| format!("the prelude of its answer is not valid: {error}"))?;
    let mut head = head_of(&structured)?;
    head.headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    Ok(head)
}

fn head_of(structured: &Structured<'_>) -> Result<Head, String> {
    let status = match structured.status_code {
        None => StatusCode::OK,
        Some(value) => status_of(&parse(value, "statusCode")?)?,
    };
    let mut lines = Lines::default();
    if let Some(headers) = structured.headers {
        let headers: Option<serde_json::Map<String, Value>> = parse(headers, "headers")?;
        for (name, value) in headers.into_iter().flatten() {
            let name =
                HeaderName::try_from(&name).map_err(|_| format!("{name:.40?} is not a header's name"))?;
            match value {
                Value::Array(values) => {
                    for value in &values {
                        lines.add(&name, value)?;
                    }
                }
                value => lines.add(&name, &value)?,
            }
        }
    }
    if let Some(cookies) = structured.cookies {
        let cookies: Option<Vec<String>> = parse(cookies, "cookies")?;
        for cookie in cookies.into_iter().flatten() {
            lines.add(&header::SET_COOKIE, &Value::String(cookie))?;
        }
    }
    let mut headers = lines.headers;
    remove_hop_by_hop(&mut headers);
    // The body's length is ours to know.
    headers.remove(header::CONTENT_LENGTH);
    Ok(Head { status, headers })
}

/// A number or its text; only statuses that end an exchange.
fn status_of(value: &Value) -> Result<StatusCode, String> {
    let number = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let status =
        number.filter(|status| (200..=599).contains(status)).and_then(|status| u16::try_from(status).ok());
    status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .ok_or_else(|| "its statusCode is not a number from 200 to 599".to_owned())
}

fn parse<'a, T: Deserialize<'a>>(value: &'a RawValue, field: &str) -> Result<T, String> {
    serde_json::from_str(value.get()).map_err(|error| format!("its {field} is not valid: {error}"))
}

/// Headers within their bounds.
#[derive(Debug, Default)]
struct Lines {
    headers: HeaderMap,
    bytes: usize,
}

impl Lines {
    fn add(&mut self, name: &HeaderName, value: &Value) -> Result<(), String> {
        let text = match value {
            Value::Null => return Ok(()),
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Array(_) | Value::Object(_) => return Err(format!("its header {name} is not a text")),
        };
        self.bytes += name.as_str().len() + text.len();
        if self.headers.len() >= MAX_HEADERS || self.bytes > MAX_HEAD_BYTES {
            return Err(format!("its headers are more than {MAX_HEADERS} or {MAX_HEAD_BYTES} bytes"));
        }
        let value = HeaderValue::try_from(text)
            .map_err(|_| format!("its header {name} has characters no header can have"))?;
        self.headers.append(name, value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(result: &str) -> Whole {
        of_function_url(Bytes::from(result.to_owned())).unwrap()
    }

    fn refused(result: &str) -> String {
        of_function_url(Bytes::from(result.to_owned())).unwrap_err()
    }

    #[test]
    fn a_structured_result_sets_status_headers_cookies_and_body() {
        let answer = whole(
            r#"{"statusCode":201,"headers":{"X-One":"a","x-two":2,"X-None":null,"x-three":["b","c"],"Content-Length":"9","connection":"x-one2"},
               "cookies":["k=v; Secure","l=w"],"body":"hé"}"#,
        );
        assert_eq!(answer.head.status, StatusCode::CREATED);
        let headers = &answer.head.headers;
        assert_eq!(
            (&headers["x-one"], &headers["x-two"]),
            (&HeaderValue::from_static("a"), &HeaderValue::from_static("2"))
        );
        assert_eq!(headers.get_all("x-three").iter().count(), 2);
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["k=v; Secure", "l=w"]);
        assert_eq!(headers["content-type"], "application/json");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("connection"));
        assert_eq!(answer.body, "hé");
    }

    #[test]
    fn a_base64_body_is_decoded_and_an_object_is_written_as_json() {
        let answer = whole(
            r#"{"statusCode":"200","headers":{"content-type":"image/png"},"body":"AAH/","isBase64Encoded":true}"#,
        );
        assert_eq!(&answer.body[..], [0, 1, 255]);
        assert_eq!(answer.head.headers["content-type"], "image/png");
        assert_eq!(whole(r#"{"statusCode":200,"body":{"a":1}}"#).body, r#"{"a":1}"#);
        assert_eq!(whole(r#"{"statusCode":204}"#).body, "");
    }

    #[test]
    fn json_without_a_status_is_the_body_itself() {
        for result in [r#"{"message":"hi"}"#, "\"text\"", "7", "null", " [1] ", "{}"] {
            let answer = whole(result);
            assert_eq!(answer.head.status, StatusCode::OK, "{result}");
            assert_eq!(answer.head.headers["content-type"], "application/json");
            assert_eq!(answer.body, result);
        }
    }

    #[test]
    fn a_broken_result_is_named_and_never_half_used() {
        let many = (0..=MAX_HEADERS).map(|n| format!(r#""x-{n}":"","#)).collect::<Vec<_>>().concat();
        let cases = [
            ("", "not JSON"),
            ("{", "not JSON"),
            ("{} {}", "not JSON"),
            (r#"{"statusCode":100}"#, "statusCode"),
            (r#"{"statusCode":700}"#, "statusCode"),
            (r#"{"statusCode":"x"}"#, "statusCode"),
            (r#"{"statusCode":{}}"#, "statusCode"),
            (r#"{"statusCode":200,"statusCode":201}"#, "duplicate"),
            (r#"{"statusCode":200,"headers":[]}"#, "headers"),
            (r#"{"statusCode":200,"headers":{"a b":"c"}}"#, "header's name"),
            (r#"{"statusCode":200,"headers":{"a":"c\r\nd: e"}}"#, "header a"),
            (r#"{"statusCode":200,"headers":{"a":{}}}"#, "header a"),
            (r#"{"statusCode":200,"cookies":"k=v"}"#, "cookies"),
            (r#"{"statusCode":200,"cookies":["k\nv"]}"#, "set-cookie"),
            (r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#, "base64"),
            (&format!(r#"{{"statusCode":200,"headers":{{{many}"z":""}}}}"#), "more than"),
            (
                &format!(r#"{{"statusCode":200,"headers":{{"z":"{}"}}}}"#, "z".repeat(MAX_HEAD_BYTES)),
                "more than",
            ),
        ];
        for (result, reason) in cases {
            let refusal = refused(result);
            assert!(refusal.contains(reason), "{result:.60}: {refusal}");
        }
        assert!(of_function_url(Bytes::from_static(b"\"\xff\"")).is_err());
    }

    #[test]
    fn a_prelude_is_a_head_without_a_body() {
        let head =
            of_prelude(br#"{"statusCode":418,"headers":{"x-a":["1","2"]},"cookies":["a=b"]}"#).unwrap();
        assert_eq!(head.status, StatusCode::IM_A_TEAPOT);
        assert_eq!(head.headers.get_all("x-a").iter().count(), 2);
        assert_eq!(head.headers["content-type"], "application/octet-stream");
        assert_eq!(of_prelude(b"{}").unwrap().status, StatusCode::OK);
        assert!(of_prelude(b"[]x").is_err());
        assert!(of_prelude(b"").is_err());
    }
}
