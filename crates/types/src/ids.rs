//! Identifiers. Ids of ours are UUIDs in text form; project ids are Keystone's.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault::FieldFault;
use crate::random;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $generate:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A fresh, unique id.
            pub fn generate() -> Self {
                Self($generate)
            }

            /// Takes an id that the store kept; ids of ours are at most 64 bytes of `[0-9A-Za-z_-]`.
            pub fn parse(text: &str) -> Result<Self, FieldFault> {
                if is_id_text(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(FieldFault::new("id", "must be 1 to 64 letters, digits, \"-\" or \"_\""))
                }
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_id_text(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

text_id!(
    /// An app's id.
    AppId,
    random::ordered_id()
);
text_id!(
    /// A route's id.
    RouteId,
    random::ordered_id()
);
text_id!(
    /// The id of one immutable version of a route.
    VersionId,
    random::ordered_id()
);
text_id!(
    /// A call's id: UUID version 7, so that ids sort by the time of acceptance.
    CallId,
    random::ordered_id()
);
text_id!(
    /// The id of one delivery: what a receiver tells repeated attempts by.
    DeliveryId,
    random::ordered_id()
);
text_id!(
    /// The name of what is kept of a call outside the database: random, so that nobody guesses it.
    ObjectId,
    random::uuid()
);
text_id!(
    /// A trigger's id.
    TriggerId,
    random::ordered_id()
);
text_id!(
    /// The id of one firing of a trigger.
    FiringId,
    random::ordered_id()
);
text_id!(
    /// One running server process; what it leaves behind carries this id.
    InstanceId,
    random::short_id()
);

/// A Keystone project id: 1 to 64 letters, digits, `-` or `_` (normally 32 hex digits).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectId(String);

/// Owns the apps of the IronFunctions face. No Keystone id looks like it.
const IRONFUNCTIONS: &str = "ironfunctions";

impl ProjectId {
    /// Parses a project id from a URL or a token; the one that no project of Keystone's may have
    /// ([`ProjectId::ironfunctions`]) is refused, so that no token gets into it.
    pub fn parse(text: &str) -> Result<Self, FieldFault> {
        match Self::stored(text) {
            Ok(id) if id.is_ironfunctions() => {
                Err(FieldFault::new("project_id", "is reserved for the apps of the IronFunctions face"))
            }
            parsed => parsed,
        }
    }

    /// Takes an id that was stored, the reserved one among them.
    pub fn stored(text: &str) -> Result<Self, FieldFault> {
        if is_id_text(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(FieldFault::new("project_id", "must be 1 to 64 letters, digits, \"-\" or \"_\""))
        }
    }

    /// The namespace of the apps of the IronFunctions face, which have no project in Keystone.
    pub fn ironfunctions() -> Self {
        Self(IRONFUNCTIONS.to_owned())
    }

    /// Whether this is that namespace.
    pub fn is_ironfunctions(&self) -> bool {
        self.0 == IRONFUNCTIONS
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one request: `req-` and a UUID, as every OpenStack service writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// A fresh request id.
    pub fn generate() -> Self {
        Self(format!("req-{}", random::uuid()))
    }

    /// The request id that a stored call carries.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_sort_by_the_time_they_were_made() {
        let ids: Vec<_> = (0..100).map(|_| CallId::generate()).collect();
        let mut sorted = ids.clone();
        sorted.sort();
        assert_eq!(ids, sorted);
    }

    #[test]
    fn a_project_id_with_a_slash_is_refused() {
        assert!(ProjectId::parse("a/b").is_err());
        assert!(ProjectId::parse("").is_err());
        assert!(ProjectId::parse(&"a".repeat(65)).is_err());
        assert!(ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").is_ok());
    }

    #[test]
    fn the_namespace_of_ironfunctions_is_stored_and_never_asked_for() {
        let reserved = ProjectId::ironfunctions();
        assert!(ProjectId::parse(reserved.as_str()).is_err());
        assert_eq!(ProjectId::stored(reserved.as_str()).unwrap(), reserved);
    }
}
