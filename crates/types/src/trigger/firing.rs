//! Firings: what became of the events that reached a trigger.

use crate::clock::Timestamp;
use crate::ids::{CallId, FiringId, TriggerId};
use crate::text_enum::text_enum;

text_enum!(
    /// What became of an event.
    FiringOutcome, "outcome" {
        /// A call was accepted, or for a sender who waits, run.
        Accepted = "accepted",
        /// The event had made a call before; the call is that one.
        Duplicate = "duplicate",
        /// The trigger passes such events over, for the reason that is told.
        Skipped = "skipped",
        /// The call was refused; the reason says why.
        Refused = "refused",
    }
);

/// A firing to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFiring {
    /// Its id.
    pub id: FiringId,
    /// The trigger.
    pub trigger_id: TriggerId,
    /// The event's id; its first 256 bytes are kept.
    pub event_id: String,
    /// What became of it.
    pub outcome: FiringOutcome,
    /// Why, where that needs words; its first 500 bytes are kept.
    pub reason: Option<String>,
    /// The call.
    pub call_id: Option<CallId>,
    /// When.
    pub at: Timestamp,
}

/// A firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Its id.
    pub id: FiringId,
    /// The event's id.
    pub event_id: String,
    /// What became of it.
    pub outcome: FiringOutcome,
    /// Why, where that needs words.
    pub reason: Option<String>,
    /// The call, which may be gone already.
    pub call_id: Option<CallId>,
    /// When.
    pub at: Timestamp,
}
