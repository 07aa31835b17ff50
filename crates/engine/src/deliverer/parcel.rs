//! What a delivery holds, as the store keeps it: one line of JSON, then the body as it is.

use picasso_types::CallId;
use serde::{Deserialize, Serialize};

/// One delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parcel {
    pub(super) head: Head,
    pub(super) body: Vec<u8>,
}

/// All but the body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) to: Receiver,
    pub(super) headers: Vec<(String, String)>,
}

/// Who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Receiver {
    /// A POST to this URL.
    Url(String),
    /// A call of another route of the project.
    Route {
        app: String,
        path: String,
        /// The id of that call: a second attempt makes no second one.
        call: CallId,
        /// How many calls caused each other before it.
        depth: u32,
    },
    /// A message in this queue.
    ZaqarQueue(String),
}

impl Parcel {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut encoded = serde_json::to_vec(&self.head).unwrap_or_default();
        // JSON of one line: the first line break ends it.
        encoded.push(b'\n');
        encoded.extend_from_slice(&self.body);
        encoded
    }

    /// `None` when it is damaged.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        let end = encoded.iter().position(|byte| *byte == b'\n')?;
        let head = serde_json::from_slice(&encoded[..end]).ok()?;
        Some(Self { head, body: encoded[end + 1..].to_vec() })
    }
}
