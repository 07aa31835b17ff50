//! Which messages of a batch a function says that it could not handle.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

/// What a function may answer, as functions of AWS Lambda do for batches of SQS. Other fields are its own.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Item>,
}

#[derive(Debug, Deserialize)]
struct Item {
    #[serde(rename = "itemIdentifier", alias = "id")]
    id: String,
}

/// The messages that failed, by their ids.
///
/// An answer without `batchItemFailures` says that all went well. One that has it in another form, or
/// names a message that is not of the batch, is taken to say that all failed: no message is deleted by
/// an answer that is not understood.
pub(super) fn failed(answer: &[u8], messages: &[String]) -> BTreeSet<String> {
    let Ok(Value::Object(map)) = serde_json::from_slice::<Value>(answer) else { return BTreeSet::new() };
    match map.get("batchItemFailures") {
        None | Some(Value::Null) => return BTreeSet::new(),
        Some(_) => {}
    }
    let all = || messages.iter().cloned().collect();
    let Ok(answer) = serde_json::from_value::<Answer>(Value::Object(map)) else { return all() };
    let named: BTreeSet<String> = answer.failures.into_iter().map(|item| item.id).collect();
    if named.iter().all(|id| messages.contains(id)) { named } else { all() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_the_messages_that_failed() {
        let messages = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        for (answer, expected) in [
            ("", ""),
            ("done", ""),
            ("[1]", ""),
            (r#"{"ok":true}"#, ""),
            (r#"{"batchItemFailures":null}"#, ""),
            (r#"{"batchItemFailures":[]}"#, ""),
            (r#"{"batchItemFailures":[{"itemIdentifier":"b"}],"x":1}"#, "b"),
            (r#"{"batchItemFailures":[{"id":"a"},{"itemIdentifier":"c"},{"id":"a"}]}"#, "ac"),
            (r#"{"batchItemFailures":"b"}"#, "abc"),
            (r#"{"batchItemFailures":["b"]}"#, "abc"),
            (r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#, "abc"),
        ] {
            let failed: String = failed(answer.as_bytes(), &messages).into_iter().collect();
            assert_eq!(failed, expected, "{answer}");
        }
    }
}
