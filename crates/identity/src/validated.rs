//! What is kept of a validated token, and for how long it is believed.

use std::sync::Arc;
use std::time::Duration;

use picasso_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::access_rules::AccessRules;
use crate::caller::Caller;
use crate::token::TokenKey;

/// How far ahead of ours the clock of another server may be.
const SKEW_MICROS: i64 = 5_000_000;

/// Under what an answer of Keystone's is kept. An answer to the question whether a token is good
/// although it has ended is never found by those who may not ask so.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Question {
    pub(crate) token: TokenKey,
    pub(crate) allow_expired: bool,
}

/// What Keystone said of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Validated {
    pub(crate) caller: Arc<Caller>,
    pub(crate) restriction: Option<Restriction>,
    /// When Keystone said so.
    pub(crate) at: Timestamp,
}

/// To what an application credential restricts its tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restriction {
    pub(crate) rules: AccessRules,
    /// Whether the catalog has a service of our type; where not, rules cannot be for us.
    pub(crate) in_catalog: bool,
}

impl Validated {
    /// Whether it may still be believed: not longer than `time` after Keystone said so, by
    /// whichever way it came here.
    pub(crate) fn is_fresh(&self, now: Timestamp, time: Duration) -> bool {
        let age = now.since(self.at);
        let time = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        (-SKEW_MICROS..time).contains(&age)
    }
}
