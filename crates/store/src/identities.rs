//! What the store keeps of routes' identities: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{RouteId, RouteIdentity, Timestamp, TrustId, TrustRevocation};

use crate::StoreError;

/// Identities of routes, and trusts that are to be revoked. Errors as for [`crate::Store`].
#[async_trait]
pub trait IdentityStore: Send + Sync + std::fmt::Debug {
    /// The identity of a route; `NotFound` where it has none.
    async fn get_identity(&self, route: &RouteId) -> Result<RouteIdentity, StoreError>;

    /// Gives a route an identity in place of the one it has, whose trust is to be revoked from then on.
    /// `NotFound` where there is no such route.
    ///
    /// `Changed` when `expected` is given and the route's identity is not (any more) like that, or when
    /// another user changed what the function runs after its version `seen_number`, or an alias of it
    /// after `granted_at`: nobody grants something to what they have not seen.
    ///
    /// From then on every new version of the route, and every change of an alias of it, by another user
    /// than the identity's suspends it in the same transaction.
    async fn set_identity(
        &self,
        identity: &RouteIdentity,
        seen_number: u32,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError>;

    /// Ends the suspension of an identity; `Changed` when it is not (any more) as it was seen.
    async fn consent_to_identity(&self, seen: &RouteIdentity) -> Result<RouteIdentity, StoreError>;

    /// Takes a route's identity away; its trust is to be revoked from then on. `Changed` as above.
    async fn delete_identity(
        &self,
        route: &RouteId,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError>;

    /// Notes a trust that is to be revoked; one that is noted already stays as it is.
    async fn add_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError>;

    /// Trusts that are to be revoked now, those that waited longest first: of identities that were
    /// deleted or replaced, of deleted routes, and those that were added.
    async fn list_trust_revocations(&self, limit: u32) -> Result<Vec<TrustRevocation>, StoreError>;

    /// Has a revocation wait; its attempts count up.
    async fn put_off_trust_revocation(&self, trust: &TrustId, until: Timestamp) -> Result<(), StoreError>;

    /// Forgets a trust that Keystone does not have any more.
    async fn forget_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError>;
}
