//! Triggers: what of the outside makes a function run, and what it is told.
//!
//! A trigger names a route, a kind with its options, and what of an event it takes and hands over.
//! Each kind has a module; what fires them is the crate `trigger`.

mod filter;
mod firing;
pub mod input;
mod kind;
pub mod notification;
pub mod object;
pub mod path;
pub mod queue;
pub mod schedule;
pub mod webhook;

pub use filter::{Condition, Filter, Test};
pub use firing::{Firing, FiringOutcome, NewFiring};
pub use input::InputTemplate;
pub use kind::{TriggerKind, TriggerType};

use serde::{Deserialize, Serialize};

use crate::alias::Selector;
use crate::clock::Timestamp;
use crate::fault::FieldFault;
use crate::ids::{AppId, ProjectId, RouteId, TriggerId};
use crate::sealed::Sealed;
use crate::short_name::short_name;
use crate::text_enum::text_enum;

/// Most roles of an identity.
const MAX_ROLES: usize = 16;
/// Longest reason for a state that is kept, bytes.
pub const MAX_REASON: usize = 500;

short_name!(
    /// The name of a trigger, unique in its project. No id looks like it.
    TriggerName
);

text_enum!(
    /// Where a trigger stands.
    TriggerState, "state" {
        /// Events make it fire.
        Active = "active",
        /// Its owner paused it.
        Paused = "paused",
        /// It has fired for the last time: a schedule without further times.
        Finished = "finished",
        /// The service stopped it; the reason says why. Its owner may resume it.
        Stopped = "stopped",
        /// Another user changed it; it acts again when somebody lends it an identity.
        Suspended = "suspended",
    }
);

/// Whose leave a trigger asks for itself, for what Picasso does in its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum IdentityWish {
    /// It needs none.
    #[default]
    None,
    /// A trust with these roles of whoever saves it.
    Trust(Vec<String>),
}

impl IdentityWish {
    /// A trust with 1 to 16 roles; the fault names the field `identity.roles`.
    pub fn trust(roles: Vec<String>) -> Result<Self, FieldFault> {
        let fits = |role: &String| (1..=255).contains(&role.len()) && !role.chars().any(char::is_control);
        if (1..=MAX_ROLES).contains(&roles.len()) && roles.iter().all(fits) {
            return Ok(Self::Trust(roles));
        }
        let limit = format!("must be 1 to {MAX_ROLES} names of roles of up to 255 bytes");
        Err(FieldFault::new("identity.roles", limit))
    }
}

/// The trust that a trigger acts with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TriggerIdentity {
    /// The trust's id in Keystone.
    pub trust_id: String,
    /// The user who gave it.
    pub user_id: String,
    /// Its roles.
    pub roles: Vec<String>,
}

/// What its owner decides of a trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSpec {
    /// Its name, unique in the project.
    pub name: TriggerName,
    /// The app of its route.
    pub app_id: AppId,
    /// The route that it calls.
    pub route_id: RouteId,
    /// Which version of the route; `None`: the one that calls run.
    pub selector: Option<Selector>,
    /// What makes it fire.
    pub kind: TriggerKind,
    /// Which events it takes.
    pub filter: Filter,
    /// What the function gets instead of the event's data.
    pub input: Option<InputTemplate>,
}

/// A trigger to be made.
#[derive(Debug, Clone)]
pub struct NewTrigger {
    /// Its id.
    pub id: TriggerId,
    /// Its project.
    pub project_id: ProjectId,
    /// What it is.
    pub spec: TriggerSpec,
    /// `false`: it begins paused.
    pub enabled: bool,
    /// When it is to be looked at first; `None` for kinds that wait for others.
    pub next_at: Option<Timestamp>,
    /// SHA-256 in hex of the token in its URL, of a webhook.
    pub hook_hash: Option<String>,
    /// The key of its senders' signatures, of a webhook that asks for them.
    pub hook_key: Option<Sealed>,
    /// The trust that it acts with.
    pub identity: Option<TriggerIdentity>,
    /// The user who makes it.
    pub created_by: String,
}

/// What a change leaves a trigger with.
#[derive(Debug, Clone)]
pub struct TriggerChange {
    /// What it is from now on.
    pub spec: TriggerSpec,
    /// Its state from now on.
    pub state: TriggerState,
    /// When it is to be looked at next.
    pub next_at: Option<Timestamp>,
    /// What its kind keeps of its progress from now on.
    pub progress: Option<String>,
    /// The key of its senders' signatures.
    pub hook_key: Option<Sealed>,
    /// The trust that it acts with.
    pub identity: Option<TriggerIdentity>,
    /// The user who changes it.
    pub updated_by: String,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Its id.
    pub id: TriggerId,
    /// Its project.
    pub project_id: ProjectId,
    /// What its owner decided.
    pub spec: TriggerSpec,
    /// The full name of its app.
    pub app_name: String,
    /// The pattern of its route.
    pub route_path: String,
    /// Where it stands.
    pub state: TriggerState,
    /// Why, where that is no choice of its owner's.
    pub state_reason: Option<String>,
    /// When it is looked at next.
    pub next_at: Option<Timestamp>,
    /// What its kind keeps of its progress: text of the kind's own.
    pub progress: Option<String>,
    /// SHA-256 in hex of the token in its URL, of a webhook.
    pub hook_hash: Option<String>,
    /// The key of its senders' signatures.
    pub hook_key: Option<Sealed>,
    /// The trust that it acts with.
    pub identity: Option<TriggerIdentity>,
    /// How many events made calls.
    pub fired: u64,
    /// When the last one did.
    pub last_fired_at: Option<Timestamp>,
    /// Counts its changes by people; what was read before a change does not write over it.
    pub revision: u64,
    /// The user who made it.
    pub created_by: String,
    /// The user who changed it last.
    pub updated_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody changed it last.
    pub updated_at: Timestamp,
}

/// Reads the options of a kind; faults name the field below `options`.
fn parse_options<R, T>(value: serde_json::Value) -> Result<T, FieldFault>
where
    R: serde::de::DeserializeOwned,
    T: TryFrom<R, Error = FieldFault>,
{
    let below = |path: &str| {
        if matches!(path, "." | "options") { "options".to_owned() } else { format!("options.{path}") }
    };
    let raw: R = serde_path_to_error::deserialize(value).map_err(|error| {
        let field = below(&error.path().to_string());
        FieldFault::new(field, error.into_inner().to_string())
    })?;
    T::try_from(raw).map_err(|fault| FieldFault::new(below(&fault.field), fault.message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_come_back_with_their_defaults() {
        for (kind, written, shown) in [
            (
                TriggerType::Queue,
                json!({"queue": "q"}),
                json!({"queue": "q", "batch_size": 10, "window_s": 0}),
            ),
            (
                TriggerType::Webhook,
                json!({"sender": "github"}),
                json!({"sender": "github", "signature": "github", "require_token": false, "wait": false, "allowed_origins": []}),
            ),
        ] {
            let parsed = TriggerKind::parse(kind, written).unwrap();
            assert_eq!(parsed.options(), shown);
            assert_eq!(TriggerKind::parse(kind, parsed.options()).unwrap(), parsed);
        }
    }

    #[test]
    fn refused_options_name_their_field() {
        for (kind, options, field) in [
            (TriggerType::Schedule, json!({}), "options"),
            (TriggerType::Schedule, json!({"cron": "* * * * *", "jitter_s": -1}), "options.jitter_s"),
            (TriggerType::Notification, json!({"event_types": []}), "options.event_types"),
            (TriggerType::Object, json!({"container": "a/b"}), "options.container"),
            (TriggerType::Object, json!({"container": "a", "operations": ["move"]}), "options.operations[0]"),
            (TriggerType::Queue, json!({"queue": "q", "batch_size": 21}), "options.batch_size"),
            (TriggerType::Webhook, json!({"sender": "zaqar", "wait": true}), "options.wait"),
        ] {
            assert_eq!(TriggerKind::parse(kind, options.clone()).unwrap_err().field, field, "{options}");
        }
    }
}
