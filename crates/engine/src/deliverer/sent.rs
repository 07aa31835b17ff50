//! How an attempt of a delivery ended, whatever its receiver is.

use std::time::Duration;

/// What became of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Delivered,
    /// It may work later; the receiver may have said when.
    Again(String, Option<Duration>),
    /// It will not work.
    Failed(String),
}
