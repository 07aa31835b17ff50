//! Values that are kept encrypted: what lies in the database, and what each is bound to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AppId, RouteId, TriggerId};

/// A value as it lies in the database: encrypted, with the name of its key. Good only for the
/// [`SealedFor`] that it was sealed for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The key that it is sealed under.
    pub key_id: String,
    /// The value, encrypted, in base64.
    pub sealed: String,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// What a sealed value is, and whose: authenticated with it, so that values cannot be swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedFor<'a> {
    /// The secret of this name of an app.
    AppSecret(&'a AppId, &'a str),
    /// The secret of this name of a route.
    RouteSecret(&'a RouteId, &'a str),
    /// The key that JSON Web Tokens of a route's callers are signed with.
    JwtKey(&'a RouteId),
    /// The key that a route's webhooks are signed with.
    WebhookKey(&'a RouteId),
    /// The key that senders sign what they post to a trigger with.
    TriggerKey(&'a TriggerId),
    /// The secret of the application credential that a route's function acts by.
    IdentitySecret(&'a RouteId),
}

impl SealedFor<'_> {
    /// What it is, and whose; the pair differs for any two different values.
    pub fn name(self) -> (&'static str, String) {
        match self {
            Self::AppSecret(app, name) => ("app secret", format!("{app}/{name}")),
            Self::RouteSecret(route, name) => ("route secret", format!("{route}/{name}")),
            Self::JwtKey(route) => ("jwt key", route.to_string()),
            Self::WebhookKey(route) => ("webhook key", route.to_string()),
            Self::TriggerKey(trigger) => ("trigger key", trigger.to_string()),
            Self::IdentitySecret(route) => ("identity secret", route.to_string()),
        }
    }
}
