//! The versions of the API there are: numbers alone. `request/microversion.rs` reads which one a client
//! asks for; answers, errors and the documentation only name them.
//!
//! | Version | What changed |
//! |---|---|
//! | 1.0 | The old service's shapes and statuses. |
//! | 1.1 | Creates answer 201 with `Location`, deletes 204, what goes on after the answer 202; lists have pages. |

use std::fmt;

/// A version 1.N of the API; holds N.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Microversion(u16);

impl Microversion {
    /// What clients get that ask for nothing.
    pub(crate) const MIN: Self = Self(0);
    /// Answers with the statuses of the API-SIG's guide, and lists in pages.
    pub(crate) const GUIDE_STATUSES: Self = Self(1);
    /// The newest one.
    pub(crate) const MAX: Self = Self::GUIDE_STATUSES;

    /// Version 1.`minor`, where there is one.
    pub(crate) fn known(minor: u16) -> Option<Self> {
        Some(Self(minor)).filter(|version| *version <= Self::MAX)
    }
}

impl fmt::Display for Microversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}
