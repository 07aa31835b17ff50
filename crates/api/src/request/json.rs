//! JSON bodies of the API: declared as JSON, bounded, parsed with the field named that is wrong.

use std::collections::HashSet;
use std::fmt;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, header};
use picasso_types::FieldFault;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};

use super::body::read_all;
use super::json_objects::Objects;
use crate::error::ApiError;
use crate::state::ApiState;

/// A request body that is to be parsed after the resource of the URL was found: a broken body
/// must not tell a missing app from one of another project.
pub(crate) struct JsonBody(Result<Bytes, ApiError>);

impl FromRequest<ApiState> for JsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let settings = &state.settings;
        Ok(Self(match read_all(body, settings.max_api_body_bytes, settings.body_timeout).await {
            Ok(bytes) => check_content_type(&parts.headers, &bytes).map(|()| bytes),
            Err(error) => Err(error),
        }))
    }
}

impl JsonBody {
    /// Parses the body; a fault names the field.
    pub(crate) fn parse<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        parse(&self.0?)
    }
}

impl JsonBody {
    /// The same where there may be no body.
    pub(crate) fn parse_optional<T: DeserializeOwned>(self) -> Result<Option<T>, ApiError> {
        let bytes = self.0?;
        if bytes.is_empty() { Ok(None) } else { parse(&bytes).map(Some) }
    }
}

/// The old service's rule: whoever sends a body declares it as JSON.
pub(crate) fn check_content_type(headers: &HeaderMap, body: &[u8]) -> Result<(), ApiError> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let is_json = declared.is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
    });
    if body.is_empty() || is_json { Ok(()) } else { Err(ApiError::InvalidContentType) }
}

/// Parses JSON that says each thing once; a fault names the field.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // Of two values of one key, readers take the first or the last as they like.
    read::<UniqueKeys>(body)?;
    read(body)
}

/// JSON in which no object has a key twice; its depth is bounded by the parser.
struct UniqueKeys;

impl<'de> Deserialize<'de> for UniqueKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueKeysVisitor)
    }
}

struct UniqueKeysVisitor;

impl<'de> Visitor<'de> for UniqueKeysVisitor {
    type Value = UniqueKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueKeys, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                let key: String = key.chars().take(64).collect();
                return Err(de::Error::custom(format_args!("has the key {key:?} twice")));
            }
            seen.insert(key);
            map.next_value::<UniqueKeys>()?;
        }
        Ok(UniqueKeys)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<UniqueKeys, A::Error> {
        while list.next_element::<UniqueKeys>()?.is_some() {}
        Ok(UniqueKeys)
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_str<E>(self, _: &str) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }

    fn visit_unit<E>(self) -> Result<UniqueKeys, E> {
        Ok(UniqueKeys)
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(Objects(&mut deserializer)).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() && path != "." {
            ApiError::InvalidField(FieldFault::new(path, without_position(&inner)))
        } else if inner.is_data() {
            ApiError::InvalidBody(format!("The request body is not accepted: {}", without_position(&inner)))
        } else {
            ApiError::InvalidBody(format!("The request body is not valid JSON: {inner}"))
        }
    })?;
    deserializer
        .end()
        .map_err(|error| ApiError::InvalidBody(format!("The request body is not valid JSON: {error}")))?;
    Ok(parsed)
}

/// serde_json's text without its ` at line 1 column 9`: the field says where.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        route: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only its parsing is looked at")]
        memory: Option<u32>,
    }

    fn fault(body: &str) -> String {
        match parse::<Outer>(body.as_bytes()).unwrap_err() {
            ApiError::InvalidField(fault) => fault.to_string(),
            ApiError::InvalidBody(sentence) => sentence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_type_and_an_unknown_field_are_named() {
        assert!(fault(r#"{"route":{"memory":"x"}}"#).starts_with("route.memory: invalid type: string"));
        assert!(fault(r#"{"route":{"memory":-1}}"#).starts_with("route.memory: invalid value"));
        assert!(fault(r#"{"route":{"memry":1}}"#).contains("unknown field `memry`, expected `memory`"));
        assert!(fault("{}").contains("missing field `route`"));
        assert!(fault("").contains("not valid JSON"));
        assert!(fault("{").contains("not valid JSON"));
        assert!(fault(r#"{"route":{}} x"#).contains("not valid JSON"));
    }

    #[test]
    fn a_key_that_is_there_twice_is_refused_by_name_however_deep_and_however_it_is_written() {
        let twice = r#"{"route":{"memory":1},"route":{}}"#;
        assert!(fault(twice).contains(r#"has the key "route" twice"#), "{}", fault(twice));
        let inner = fault(r#"{"route":{"memory":1,"m\u0065mory":2}}"#);
        assert_eq!(inner, r#"route: has the key "memory" twice"#);
        let listed = fault(r#"{"route":{"list":[{"a":1},{"a":1,"b":null,"a":2.5}]}}"#);
        assert_eq!(listed, r#"route.list[1]: has the key "a" twice"#);
    }

    #[test]
    fn json_that_is_too_deep_is_refused() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let deep = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
            assert!(fault(&deep).contains("recursion limit"), "{}", fault(&deep));
        }
    }

    #[test]
    fn a_body_is_declared_as_json_with_or_without_a_charset() {
        let declared = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            check_content_type(&headers, b"{}").is_ok()
        };
        assert!(declared("application/json"));
        assert!(declared("application/json; charset=utf-8"));
        assert!(declared("Application/JSON ;charset=UTF-8"));
        assert!(!declared("text/plain"));
        assert!(!declared("application/jsonx"));
        assert!(check_content_type(&HeaderMap::new(), b"{}").is_err());
        assert!(check_content_type(&HeaderMap::new(), b"").is_ok());
    }
}
