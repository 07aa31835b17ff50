//! Deliveries: what an ended call sends to others, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use crate::clock::Timestamp;
use crate::ids::{AppId, CallId, DeliveryId, ProjectId};
use crate::text_enum::text_enum;

text_enum!(
    /// What kind of receiver a delivery has.
    DeliveryKind, "kind" {
        /// The URL that the call's caller named.
        Callback = "callback",
        /// A URL that the route names.
        Http = "http",
        /// Another route of the project.
        Route = "route",
        /// A queue of Zaqar.
        Zaqar = "zaqar",
    }
);

text_enum!(
    /// Where a delivery stands.
    DeliveryState, "state" {
        /// It is sent, or tried again later.
        Waiting = "waiting",
        /// The receiver took it.
        Delivered = "delivered",
        /// Given up.
        Failed = "failed",
    }
);

/// A delivery to be made in the transaction that ends its call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Its id, the same in every attempt.
    pub id: DeliveryId,
    /// What kind of receiver.
    pub kind: DeliveryKind,
    /// The receiver as it may be shown: without the query of a URL.
    pub target: String,
    /// What is sent and where, as the engine encodes it; kept encrypted until the delivery ends.
    pub content: Vec<u8>,
}

/// A delivery as stored, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The call that ended.
    pub call_id: CallId,
    /// The call's project.
    pub project_id: ProjectId,
    /// The call's app.
    pub app_id: AppId,
    /// What kind of receiver.
    pub kind: DeliveryKind,
    /// The receiver as it may be shown.
    pub target: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// Attempts that began.
    pub attempts: u32,
    /// Why the last attempt failed, in a sentence.
    pub last_error: Option<String>,
    /// When the call ended.
    pub created_at: Timestamp,
    /// When it is tried next, while it waits.
    pub not_before: Timestamp,
    /// When it was delivered or given up.
    pub finished_at: Option<Timestamp>,
}

/// How many deliveries may be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryRoom {
    /// In all.
    pub total: u32,
    /// Of one project at one time, with those of `under_way`.
    pub per_project: u32,
    /// Those that are under way, by project.
    pub under_way: BTreeMap<ProjectId, u32>,
}

impl DeliveryRoom {
    /// Divides the room among the projects with due deliveries, the longest due first: an even
    /// share for each, at least one, as long as there is room.
    pub fn shares(&self, due: &[ProjectId]) -> Vec<(ProjectId, u32)> {
        let mut left = self.total;
        let projects = u32::try_from(due.len()).unwrap_or(u32::MAX).max(1);
        let even = (self.total / projects).max(1);
        let mut shares = Vec::new();
        for project in due {
            let used = self.under_way.get(project).copied().unwrap_or_default();
            let share = even.min(self.per_project.saturating_sub(used)).min(left);
            if share > 0 {
                left -= share;
                shares.push((project.clone(), share));
            }
        }
        shares
    }
}

/// The keys that sign what an app's calls send.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKeys {
    /// The newest.
    pub current: Vec<u8>,
    /// The one before it, while receivers may still know that one only.
    pub previous: Option<Vec<u8>>,
}

/// Without the keys.
impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKeys").field("has_previous", &self.previous.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn projects(names: &[&str]) -> Vec<ProjectId> {
        names.iter().map(|name| ProjectId::parse(name).unwrap()).collect()
    }

    #[test]
    fn room_is_shared_evenly_and_no_project_passes_its_bound() {
        let names = projects(&["a", "b", "c"]);
        let room = DeliveryRoom {
            total: 12,
            per_project: 4,
            under_way: [(names[1].clone(), 3), (names[2].clone(), 4)].into(),
        };
        assert_eq!(room.shares(&names), [(names[0].clone(), 4), (names[1].clone(), 1)]);
        let narrow = DeliveryRoom { total: 2, per_project: 4, under_way: BTreeMap::new() };
        assert_eq!(narrow.shares(&names), [(names[0].clone(), 1), (names[1].clone(), 1)]);
        assert_eq!(narrow.shares(&names[..1]), [(names[0].clone(), 2)]);
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = SigningKeys { current: b"secret".to_vec(), previous: Some(b"older".to_vec()) };
        assert_eq!(format!("{keys:?}"), "SigningKeys { has_previous: true, .. }");
    }
}
