//! The answer of a call's last run, as the database keeps it.

use serde::{Deserialize, Serialize};

use crate::headed;
use crate::large_outputs::ObjectRef;

/// The answer of a call's last run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptResult {
    /// The content type that the function chose, where its format has one.
    pub content_type: Option<String>,
    /// How much the function wrote, bytes; more than is kept where it was cut.
    pub total_bytes: u64,
    /// What is kept of it here.
    pub body: Vec<u8>,
    /// What is kept of it elsewhere, instead.
    pub object: Option<ObjectRef>,
}

/// The head of an encoded [`KeptResult`].
#[derive(Serialize, Deserialize)]
struct ResultHead {
    content_type: Option<String>,
    total_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    object: Option<ObjectRef>,
}

impl KeptResult {
    /// How much of it is kept, bytes.
    pub fn kept_bytes(&self) -> u64 {
        self.object.as_ref().map_or(self.body.len() as u64, |object| object.bytes)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        if self.total_bytes == 0 {
            return Vec::new();
        }
        let Self { content_type, total_bytes, body, object } = self;
        headed::encode(&ResultHead { content_type, total_bytes, object }, &body)
    }

    /// Reads what the store kept; `None` when it is damaged.
    pub fn decode(encoded: &[u8]) -> Option<Self> {
        if encoded.is_empty() {
            return Some(Self::default());
        }
        let (ResultHead { content_type, total_bytes, object }, body) = headed::decode(encoded)?;
        Some(Self { content_type, total_bytes, body, object })
    }
}
