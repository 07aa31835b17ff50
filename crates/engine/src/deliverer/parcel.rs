//! What a delivery holds, as the store keeps it.

use picasso_types::{CallId, QueueGrant, RouteId};
use serde::{Deserialize, Serialize};

use crate::headed;

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
    ZaqarQueue {
        queue: String,
        /// Whose options may hold a newer grant by now.
        route: RouteId,
        /// The one that the call took over.
        grant: Option<QueueGrant>,
    },
}

impl Parcel {
    pub(super) fn encode(&self) -> Vec<u8> {
        headed::encode(&self.head, &self.body)
    }

    /// `None` when it is damaged.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        headed::decode(encoded).map(|(head, body)| Self { head, body })
    }
}
