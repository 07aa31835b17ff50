//! [`IdentityStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{RouteId, RouteIdentity, Timestamp, TrustId, TrustRevocation};

use super::{DriverStore, identities, read, write};
use crate::{IdentityStore, StoreError};

#[async_trait]
impl IdentityStore for DriverStore {
    async fn get_identity(&self, route: &RouteId) -> Result<RouteIdentity, StoreError> {
        read!(self, |db| identities::get(db, route))
    }

    async fn set_identity(
        &self,
        identity: &RouteIdentity,
        seen_number: u32,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError> {
        let expected = &expected.cloned();
        write!(self, [identity, expected], |db, now| {
            identities::set(db, identity, seen_number, expected.as_ref(), now)
        })
    }

    async fn consent_to_identity(&self, seen: &RouteIdentity) -> Result<RouteIdentity, StoreError> {
        write!(self, [seen], |db, now| identities::consent(db, seen, now))
    }

    async fn delete_identity(
        &self,
        route: &RouteId,
        expected: Option<&RouteIdentity>,
    ) -> Result<(), StoreError> {
        let expected = &expected.cloned();
        write!(self, [route, expected], |db, now| identities::delete(db, route, expected.as_ref(), now))
    }

    async fn add_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError> {
        write!(self, [trust], |db, now| identities::add_revocation(db, trust, now))
    }

    async fn list_trust_revocations(&self, limit: u32) -> Result<Vec<TrustRevocation>, StoreError> {
        let now = self.clock.now();
        read!(self, |db| identities::list_revocations(db, limit, now))
    }

    async fn put_off_trust_revocation(&self, trust: &TrustId, until: Timestamp) -> Result<(), StoreError> {
        write!(self, [trust], |db, _now| identities::put_off_revocation(db, trust, until))
    }

    async fn forget_trust_revocation(&self, trust: &TrustId) -> Result<(), StoreError> {
        write!(self, [trust], |db, _now| identities::forget_revocation(db, trust))
    }
}
