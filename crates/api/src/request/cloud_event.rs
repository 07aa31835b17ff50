//! CloudEvents on their way to a hot function: always in the binary mode of the HTTP binding, so
//! that a function finds an event where it finds any request - attributes in `ce-…` headers, data
//! in the body - whichever way its sender wrote it.

use axum::body::Body as HttpBody;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use picasso_engine::Body;
use picasso_types::cloud_event::{BinaryEvent, ContentMode, EventFault, check_binary, parse_structured};

use super::body::{read_all, ready, streamed};
use crate::error::ApiError;
use crate::settings::ApiSettings;

/// Says that a request carries an event in its headers.
const SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

/// The body for the function. A structured event is read whole and taken apart into `headers` and
/// body; an event in headers is checked; a batch and everything else passes as it is.
pub(crate) async fn unfolded(
    headers: &mut HeaderMap,
    body: HttpBody,
    settings: &ApiSettings,
) -> Result<Body, ApiError> {
    let mode = headers
        .get(header::CONTENT_TYPE)
        .map_or(ContentMode::Binary, |value| ContentMode::of(value.as_bytes()));
    match mode {
        ContentMode::Structured => {
            let json = read_all(body, settings.max_run_body_bytes, settings.body_timeout).await?;
            let event = parse_structured(&json).map_err(ApiError::InvalidEvent)?;
            return Ok(take_apart(event, headers));
        }
        ContentMode::OtherFormat => {
            return Err(ApiError::InvalidEvent(EventFault {
                attribute: String::new(),
                message: "is in a format that is not understood here; send application/cloudevents+json, \
                          or its attributes in ce- headers"
                    .to_owned(),
            }));
        }
        ContentMode::Binary if headers.contains_key(SPECVERSION) => {
            let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            check_binary(pairs).map_err(ApiError::InvalidEvent)?;
        }
        ContentMode::Binary | ContentMode::Batch => {}
    }
    Ok(streamed(body, settings.max_function_body_bytes, settings.body_timeout))
}

fn take_apart(event: BinaryEvent, headers: &mut HeaderMap) -> Body {
    let stale: Vec<_> = headers.keys().filter(|name| name.as_str().starts_with("ce-")).cloned().collect();
    for name in stale {
        headers.remove(name);
    }
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(event.body.len()));
    let content_type = event.content_type.map(|value| (header::CONTENT_TYPE.as_str().to_owned(), value));
    for (name, value) in event.headers.into_iter().chain(content_type) {
        // Checked already: names are letters and digits, values visible ASCII.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    ready(event.body.into())
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn sent(headers: &[(&str, &str)], body: &str) -> Result<(HeaderMap, Vec<u8>), ApiError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let settings = ApiSettings { max_run_body_bytes: 1000, ..ApiSettings::default() };
        let body = unfolded(&mut map, HttpBody::from(body.to_owned()), &settings).await?;
        let pieces: Vec<_> = body.try_collect().await.unwrap();
        Ok((map, pieces.concat()))
    }

    const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"a":1}}"#;

    #[tokio::test]
    async fn a_structured_event_arrives_in_headers_and_body() {
        let length = EVENT.len().to_string();
        let headers = [STRUCTURED, ("content-length", length.as_str()), ("ce-id", "forged"), ("x-mine", "1")];
        let (headers, body) = sent(&headers, EVENT).await.unwrap();
        assert_eq!(body, br#"{"a":1}"#);
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["content-length"], "7");
        assert_eq!(
            (&headers["ce-id"], &headers["ce-specversion"]),
            (&"1".parse().unwrap(), &"1.0".parse().unwrap())
        );
        assert_eq!(headers["x-mine"], "1");
        assert_eq!(headers.get_all("ce-id").iter().count(), 1);
    }

    #[tokio::test]
    async fn a_claimed_but_invalid_event_is_refused_by_its_attribute() {
        let Err(ApiError::InvalidEvent(fault)) = sent(&[STRUCTURED], r#"{"specversion":"1.0"}"#).await else {
            panic!("taken");
        };
        assert_eq!(fault.to_string(), "The event's id is missing");
        let Err(ApiError::InvalidEvent(fault)) = sent(&[("ce-specversion", "0.3")], "").await else {
            panic!("taken");
        };
        assert_eq!(fault.attribute, "specversion");
        let avro = [("content-type", "application/cloudevents+avro")];
        assert!(matches!(sent(&avro, "").await, Err(ApiError::InvalidEvent(_))));
    }

    #[tokio::test]
    async fn a_batch_and_what_is_no_event_pass_as_they_are() {
        for content_type in ["application/cloudevents-batch+json", "application/json"] {
            let (headers, body) = sent(&[("content-type", content_type)], "[1]").await.unwrap();
            assert_eq!((headers.len(), body.as_slice()), (1, &b"[1]"[..]));
        }
    }

    #[tokio::test]
    async fn a_structured_event_is_bounded() {
        let long = EVENT.replace("{\"a\":1}", &format!("\"{}\"", "x".repeat(1000)));
        assert!(matches!(sent(&[STRUCTURED], &long).await, Err(ApiError::BodyTooLarge(1000))));
    }
}
