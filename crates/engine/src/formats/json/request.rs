//! The document that a function of format `json` reads. Specified in `docs/formats.md`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Serialize;
use tokio::time::Instant;

use crate::formats::context;
use crate::invocation::Invocation;

/// What ends a document: held back until the rest was read. Both bytes, because some readers stop
/// at the bracket and others at the end of the line.
pub(super) const END: &[u8] = b"}\n";

#[derive(Serialize)]
struct Document<'a> {
    call_id: &'a str,
    deadline: String,
    method: &'a str,
    url: &'a str,
    route: String,
    params: BTreeMap<&'a str, &'a str>,
    headers: BTreeMap<&'a str, Values<'a>>,
    body: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    config: BTreeMap<&'a str, &'a str>,
}

/// A header's one value, or all of several.
#[derive(Serialize)]
#[serde(untagged)]
enum Values<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

/// The document of a call on one line, [`END`] included.
pub(super) fn document(
    invocation: &Invocation,
    body: &[u8],
    deadline: Instant,
) -> Result<Vec<u8>, serde_json::Error> {
    let mut headers = invocation.headers.clone();
    context::add_ids(&mut headers, invocation);
    let (body, encoding) = match std::str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (Cow::Owned(STANDARD.encode(body)), Some("base64")),
    };
    let config = invocation.target.version.as_deref().map(|version| &version.merged_config);
    let document = Document {
        call_id: invocation.call_id.as_str(),
        deadline: timestamp(deadline),
        method: invocation.method.as_str(),
        url: &invocation.url,
        route: invocation.target.route.pattern.to_string(),
        params: invocation.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        headers: by_name(&headers),
        config: config.into_iter().flat_map(picasso_types::Config::entries).collect(),
        body,
        encoding,
    };
    let mut line = Vec::with_capacity(document.body.len() + 1024);
    serde_json::to_writer(&mut line, &document)?;
    line.push(b'\n');
    Ok(line)
}

/// RFC 3339, UTC, milliseconds.
fn timestamp(deadline: Instant) -> String {
    let left = deadline.saturating_duration_since(Instant::now());
    let now = jiff::Timestamp::now();
    format!("{:.3}", now.checked_add(left).unwrap_or(now))
}

fn by_name(headers: &HeaderMap) -> BTreeMap<&str, Values<'_>> {
    let values = |name| {
        let mut all: Vec<_> =
            headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if all.len() == 1 { Values::One(all.remove(0)) } else { Values::Several(all) }
    };
    headers.keys().map(|name| (name.as_str(), values(name))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing;

    fn parsed(invocation: &Invocation, body: &[u8]) -> Value {
        let line = document(invocation, body, Instant::now() + Duration::from_secs(5)).unwrap();
        assert!(line.ends_with(END));
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "one line");
        serde_json::from_slice(&line).unwrap()
    }

    #[tokio::test]
    async fn a_request_says_everything_its_specification_names() {
        let mut invocation = testing::invocation("/users/:id");
        invocation.params = vec![("id".to_owned(), "7".to_owned())];
        invocation.headers.append("x-one", "1".parse().unwrap());
        invocation.headers.append("x-two", "a".parse().unwrap());
        invocation.headers.append("x-two", "b".parse().unwrap());
        let document = parsed(&invocation, "zwölf\n".as_bytes());
        assert_eq!(document["call_id"], invocation.call_id.as_str());
        assert_eq!(document["method"], "POST");
        assert_eq!(document["url"], "http://127.0.0.1:10002/f/app/a");
        assert_eq!(document["route"], "/users/:id");
        assert_eq!(document["params"], json!({"id": "7"}));
        assert_eq!(document["headers"]["x-one"], "1");
        assert_eq!(document["headers"]["x-two"], json!(["a", "b"]));
        assert_eq!(document["headers"]["fn-call-id"], invocation.call_id.as_str());
        assert_eq!(document["body"], "zwölf\n");
        assert_eq!(document.get("encoding"), None);
        assert_eq!(document["config"], json!({}));
        let deadline: jiff::Timestamp = document["deadline"].as_str().unwrap().parse().unwrap();
        assert!(deadline > jiff::Timestamp::now());
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_arrive_as_base64() {
        let document = parsed(&testing::invocation("/a"), &[0xff, 0, 1]);
        assert_eq!(document["encoding"], "base64");
        assert_eq!(document["body"], "/wAB");
    }
}
