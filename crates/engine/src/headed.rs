//! Bytes with a head, as the store keeps them for us: one line of JSON, then the bytes as they are.

use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) fn encode(head: &impl Serialize, body: &[u8]) -> Vec<u8> {
    let mut encoded = serde_json::to_vec(head).unwrap_or_default();
    // JSON of one line: the first line break ends it.
    encoded.push(b'\n');
    encoded.extend_from_slice(body);
    encoded
}

/// Head and body; `None` when the head is damaged.
pub(crate) fn decode<T: DeserializeOwned>(encoded: &[u8]) -> Option<(T, Vec<u8>)> {
    let end = encoded.iter().position(|byte| *byte == b'\n')?;
    let head = serde_json::from_slice(&encoded[..end]).ok()?;
    Some((head, encoded[end + 1..].to_vec()))
}
