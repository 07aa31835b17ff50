//! Whom a function is in OpenStack: what its sandbox gets of its route's identity.
//!
//! The engine asks when a sandbox starts and again before `renew_at`; it never stores the answer.
use async_trait::async_trait;
use picasso_types::{ProjectId, RouteId, Timestamp};

/// What a function gets of its route's identity. There is no `Debug`: nothing may show it.
pub struct FunctionIdentity {
    /// Environment variables (`OS_…`).
    pub env: Vec<(String, String)>,
    /// Files below `/run/picasso/identity/`: plain names and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// When the files should be replaced by newer ones; `None`: they never end.
    pub renew_at: Option<Timestamp>,
}

/// Why there is no identity for a function that should have one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityRefusal {
    /// Another user changed the function; who granted it must consent.
    #[error("the function's identity is suspended until who granted it consents")]
    Suspended,
    /// Keystone does not give a token for it any more (trust deleted, user disabled, role lost).
    #[error("Keystone gives no token for the function's identity any more: {0}")]
    Refused(String),
    /// Keystone or the store does not answer now, and there is no token left that is good for a while.
    #[error("the function's identity cannot be had now")]
    Unavailable,
}

/// Gives functions their identities.
#[async_trait]
pub trait Identities: Send + Sync + std::fmt::Debug {
    /// The identity of a route, `None` where it has none.
    async fn of_route(
        &self,
        project: &ProjectId,
        route: &RouteId,
    ) -> Result<Option<FunctionIdentity>, IdentityRefusal>;
}
