//! The document that a function of format `json` writes. Specified in `docs/formats.md`.
//!
//! Faults are told by field and position, never by the bytes at fault: those go to the function's
//! owner only.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::formats::context;

/// More header lines are refused.
const MAX_HEADERS: usize = 128;
/// More bytes of names and values are refused.
const MAX_HEADER_BYTES: usize = 64 * 1024;

/// With or without `=` at the end.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a function answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct JsonAnswer {
    /// Its status; 200 where it named none.
    pub(crate) status: StatusCode,
    /// Its headers, without those of a connection.
    pub(crate) headers: HeaderMap,
    /// Its body.
    pub(crate) body: Bytes,
}

/// How an answer breaks the contract.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnswerFault {
    /// A sentence without its bytes.
    #[error("{0}")]
    Invalid(String),
    /// Its body is longer than the limit.
    #[error("its body is too long")]
    TooLarge,
}

/// Unknown fields are ignored; `null` is as good as a missing field.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    call_id: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    encoding: Option<&'a RawValue>,
}

fn invalid<T>(sentence: impl Into<String>) -> Result<T, AnswerFault> {
    Err(AnswerFault::Invalid(sentence.into()))
}

/// Reads the answer to the call `call_id`.
pub(crate) fn parse(text: &[u8], call_id: &str, max_body: u64) -> Result<JsonAnswer, AnswerFault> {
    let document: Document<'_> = match serde_json::from_slice(text) {
        Ok(document) => document,
        Err(error) => return invalid(not_json(&error)),
    };
    if let Some(id) = document.call_id
        && string(id).as_deref() != Some(call_id)
    {
        return invalid("its `call_id` is not that of the request");
    }
    let status = status(document.status)?;
    let mut headers = headers(document.headers)?;
    let body = body(document.body, document.encoding, &mut headers)?;
    if body.len() as u64 > max_body {
        return Err(AnswerFault::TooLarge);
    }
    context::remove_hop_by_hop(&mut headers);
    // The body says how long it is.
    headers.remove(header::CONTENT_LENGTH);
    Ok(JsonAnswer { status, headers, body })
}

fn not_json(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "has a field twice, or is not UTF-8",
        _ => "is not valid JSON",
    };
    format!("its answer {what}, at line {} column {}", error.line(), error.column())
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

fn status(value: Option<&RawValue>) -> Result<StatusCode, AnswerFault> {
    let Some(value) = value else { return Ok(StatusCode::OK) };
    match serde_json::from_str::<u16>(value.get()) {
        Ok(number @ 200..=599) => StatusCode::from_u16(number).or_else(|_| invalid("its `status` is none")),
        _ => invalid("its `status` is not a whole number from 200 to 599"),
    }
}

fn headers(value: Option<&RawValue>) -> Result<HeaderMap, AnswerFault> {
    let mut headers = HeaderMap::new();
    let Some(value) = value else { return Ok(headers) };
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) else {
        return invalid("its `headers` are not an object");
    };
    let mut bytes = 0;
    for (name, value) in fields {
        let told = || format!("the header \"{:.80}\"", name.escape_debug().to_string());
        let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
            return invalid(format!("{} of its answer has no valid name", told()));
        };
        let Some(values) = header_values(value) else {
            return invalid(format!("{} of its answer is neither a string nor an array of strings", told()));
        };
        for value in values {
            bytes += name.len() + value.len();
            if bytes > MAX_HEADER_BYTES || headers.len() == MAX_HEADERS {
                return invalid(format!(
                    "its answer has more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them"
                ));
            }
            let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
                return invalid(format!("{} of its answer has no valid value", told()));
            };
            headers.append(parsed.clone(), value);
        }
    }
    Ok(headers)
}

fn header_values(value: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    if let Some(one) = string(value) {
        return Some(vec![one]);
    }
    serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.into_iter().map(string).collect()
}

fn body(
    value: Option<&RawValue>,
    encoding: Option<&RawValue>,
    headers: &mut HeaderMap,
) -> Result<Bytes, AnswerFault> {
    let base64 = match encoding.map(string) {
        None => false,
        Some(Some(name)) if name == "base64" => true,
        Some(_) => return invalid("its `encoding` is not \"base64\""),
    };
    let Some(value) = value else { return Ok(Bytes::new()) };
    if !value.get().starts_with('"') {
        if base64 {
            return invalid("its `body` is not a string, which `encoding` says it is");
        }
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        return Ok(Bytes::copy_from_slice(value.get().as_bytes()));
    }
    let Some(text) = string(value) else {
        return invalid("its `body` is not valid text; bytes go with `\"encoding\": \"base64\"`");
    };
    if !base64 {
        return Ok(Bytes::from(text.into_owned()));
    }
    match BASE64.decode(text.as_bytes()) {
        Ok(bytes) => Ok(bytes.into()),
        Err(_) => invalid("its `body` is not valid base64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Result<JsonAnswer, AnswerFault> {
        parse(text.as_bytes(), "call", 100)
    }

    fn fault(text: &str) -> String {
        answer(text).unwrap_err().to_string()
    }

    #[test]
    fn a_missing_field_has_its_default() {
        let nothing = answer("{}").unwrap();
        assert_eq!((nothing.status, nothing.headers.len(), nothing.body.len()), (StatusCode::OK, 0, 0));
        let nulls = r#"{"status":null,"headers":null,"body":null,"encoding":null,"call_id":null}"#;
        assert_eq!(answer(nulls).unwrap(), nothing);
        assert_eq!(answer(r#"{"more":[1,{"a":2}]}"#).unwrap(), nothing, "unknown fields are ignored");
    }

    #[test]
    fn status_headers_and_body_are_the_functions() {
        let text = r#"{"status":404,"headers":{"X-A":["1","2"],"x-b":"3"},"body":"z\u00f6\ud83d\ude00"}"#;
        let answer = answer(text).unwrap();
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.headers.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(answer.headers["x-b"], "3");
        assert_eq!(answer.body, "zö😀");
    }

    #[test]
    fn a_body_that_is_no_string_is_json() {
        let object = answer(r#"{"body": {"b": 1.50, "a": [true]}}"#).unwrap();
        assert_eq!(object.body, r#"{"b": 1.50, "a": [true]}"#);
        assert_eq!(object.headers[header::CONTENT_TYPE], "application/json");
        let own =
            answer(r#"{"body": [1], "headers": {"Content-Type": "application/problem+json"}}"#).unwrap();
        assert_eq!(own.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer(r#"{"body": 7}"#).unwrap().body, "7");
    }

    #[test]
    fn base64_carries_any_bytes() {
        for text in ["/wAB", "/wABAg==", "/wABAg"] {
            let answer = answer(&format!(r#"{{"body":"{text}","encoding":"base64"}}"#)).unwrap();
            assert!(answer.body.starts_with(&[0xff, 0, 1]));
        }
        assert_eq!(fault(r#"{"body":"*","encoding":"base64"}"#), "its `body` is not valid base64");
    }

    #[test]
    fn each_fault_names_its_field_and_no_more() {
        for (text, part) in [
            (r#"{"status":101}"#, "`status`"),
            (r#"{"status":600}"#, "`status`"),
            (r#"{"status":"200"}"#, "`status`"),
            (r#"{"status":200.5}"#, "`status`"),
            (r#"{"headers":[]}"#, "`headers`"),
            (r#"{"headers":{"a b":"1"}}"#, "the header \"a b\""),
            (r#"{"headers":{"a":1}}"#, "the header \"a\""),
            (r#"{"headers":{"a":"1\n2"}}"#, "the header \"a\""),
            (r#"{"body":"\ud800"}"#, "`body`"),
            (r#"{"body":{},"encoding":"base64"}"#, "`body`"),
            (r#"{"encoding":"gzip"}"#, "`encoding`"),
            (r#"{"call_id":"secret"}"#, "`call_id`"),
            (r#"{"body":secret}"#, "line 1 column"),
            (r#"{"body":"a","body":"secret"}"#, "a field twice"),
        ] {
            let fault = fault(text);
            assert!(fault.contains(part), "{text}: {fault}");
            assert!(!fault.contains("secret"), "{fault}");
        }
        assert!(answer(r#"{"call_id":"call"}"#).is_ok());
    }

    #[test]
    fn headers_and_bodies_are_bounded() {
        let many: Vec<String> = (0..129).map(|n| format!("\"x-{n}\":\"\"")).collect();
        assert!(fault(&format!("{{\"headers\":{{{}}}}}", many.join(","))).contains("more than 128 headers"));
        let long = format!("{{\"headers\":{{\"a\":\"{}\"}}}}", "x".repeat(70_000));
        assert!(fault(&long).contains("65536 bytes"));
        assert!(answer(&format!(r#"{{"body":"{}"}}"#, "x".repeat(100))).is_ok());
        assert_eq!(answer(&format!(r#"{{"body":"{}"}}"#, "x".repeat(101))), Err(AnswerFault::TooLarge));
    }

    #[test]
    fn what_speaks_of_a_connection_is_not_passed_on() {
        let text = r#"{"headers":{"Connection":"x-gone","x-gone":"1","Content-Length":"9","transfer-encoding":"chunked","x-kept":"1"}}"#;
        assert_eq!(answer(text).unwrap().headers.len(), 1);
    }
}
