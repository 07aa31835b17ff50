//! `http:` and `https:` checks: what is sent to a policy server, and what its answer means.

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use super::evaluate::Question;

/// The longest answer that is read, bytes; the only good one is `True`.
pub const MAX_ANSWER_BYTES: usize = 1024;

/// How the question is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoteFormat {
    /// A form whose fields are JSON, as oslo.policy sends it unless told otherwise.
    #[default]
    Form,
    /// One JSON document.
    Json,
}

/// A policy server gave no usable answer. There is no verdict then: neither yes nor no.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the policy server {host} gave no usable answer: {reason}")]
pub struct RemoteFault {
    /// Its name.
    pub host: String,
    /// Why, for the log.
    pub reason: String,
}

/// Asks policy servers. URLs hold values that tenants choose, so whoever does it guards where the
/// request may go, and bounds the bytes; the enforcer bounds the time.
#[async_trait]
pub trait RemoteCheck: Send + Sync + std::fmt::Debug {
    /// Posts `body`; the text of an answer with a status of 200 to 299, at most
    /// [`MAX_ANSWER_BYTES`], else why there is none.
    async fn post(&self, url: &Url, content_type: &'static str, body: Vec<u8>) -> Result<String, String>;
}

/// The question for a policy server: rule, target and credentials.
pub(super) fn question_body(
    format: RemoteFormat,
    rule: &str,
    question: Question<'_>,
) -> (&'static str, Vec<u8>) {
    let (target, credentials) = (question.target, question.credentials);
    match format {
        RemoteFormat::Form => {
            let map = |map: &Map<String, Value>| Value::Object(map.clone()).to_string();
            let form = Serializer::new(String::new())
                .append_pair("rule", &json!(rule).to_string())
                .append_pair("target", &map(target))
                .append_pair("credentials", &map(credentials))
                .finish();
            ("application/x-www-form-urlencoded", form.into_bytes())
        }
        RemoteFormat::Json => {
            let body = json!({ "rule": rule, "target": target, "credentials": credentials });
            ("application/json", body.to_string().into_bytes())
        }
    }
}

/// Whether the answer is a yes: exactly `True`, in double quotes or not.
pub(super) fn is_yes(answer: &str) -> bool {
    answer.trim_matches('"') == "True"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_is_a_yes() {
        assert!(is_yes("True") && is_yes("\"True\""));
        for answer in ["true", "True\n", "False", "", " True", "{\"True\"}"] {
            assert!(!is_yes(answer), "{answer}");
        }
    }

    #[test]
    fn the_question_is_a_form_of_json_fields_or_one_document() {
        let target = Map::from_iter([("project_id".to_owned(), json!("p&1"))]);
        let credentials = Map::from_iter([("roles".to_owned(), json!(["member"]))]);
        let question = Question { target: &target, credentials: &credentials };
        let (kind, form) = question_body(RemoteFormat::Form, "functions:app:get", question);
        assert_eq!(kind, "application/x-www-form-urlencoded");
        let fields: Vec<_> = url::form_urlencoded::parse(&form).into_owned().collect();
        assert_eq!(fields[0], ("rule".to_owned(), "\"functions:app:get\"".to_owned()));
        assert_eq!(fields[1], ("target".to_owned(), r#"{"project_id":"p&1"}"#.to_owned()));
        assert_eq!(fields[2], ("credentials".to_owned(), r#"{"roles":["member"]}"#.to_owned()));
        let (kind, document) = question_body(RemoteFormat::Json, "functions:app:get", question);
        assert_eq!(kind, "application/json");
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["target"]["project_id"], "p&1");
    }
}
