//! [`VersionStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{AppId, Digest, InstanceId, RouteId, RouteVersion, Timestamp, VersionId};

use super::{DriverStore, read, versions, write, write_each};
use crate::{PreparingVersion, StoreError, VersionStore};

#[async_trait]
impl VersionStore for DriverStore {
    async fn get_version(&self, id: &VersionId) -> Result<RouteVersion, StoreError> {
        read!(self, |db| versions::get(db, id))
    }

    async fn get_route_version(&self, route: &RouteId, number: u32) -> Result<RouteVersion, StoreError> {
        read!(self, |db| versions::get_of_route(db, route, number))
    }

    async fn list_versions(
        &self,
        route: &RouteId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<RouteVersion>, StoreError> {
        read!(self, |db| versions::list(db, route, before, limit))
    }

    async fn delete_old_versions(&self, keep: u32, max_routes: u32) -> Result<u64, StoreError> {
        let routes = read!(self, |db| versions::list_routes_with_old(db, keep, max_routes))?;
        let mut deleted = 0;
        for route in &routes {
            let gone: Result<u64, StoreError> =
                write!(self, [route], |db, now| versions::delete_old(db, route, keep, now));
            deleted += gone?;
        }
        Ok(deleted)
    }

    async fn set_version_ready(&self, id: &VersionId, digest: &Digest) -> Result<(), StoreError> {
        write!(self, [id, digest], |db, now| versions::set_ready(db, id, digest, now))
    }

    async fn set_version_failed(&self, id: &VersionId, error: &str) -> Result<(), StoreError> {
        write!(self, [id, error], |db, now| versions::set_failed(db, id, error, now))
    }

    async fn list_preparing_versions(&self) -> Result<Vec<PreparingVersion>, StoreError> {
        read!(self, |db| versions::list_preparing(db))
    }

    async fn lease_preparation(
        &self,
        id: &VersionId,
        owner: &InstanceId,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        write_each!(self, [id, owner], |db, now| versions::lease_preparation(db, id, owner, until, now))
    }

    async fn list_kept_warm(&self) -> Result<Vec<AppId>, StoreError> {
        read!(self, |db| versions::list_kept_warm(db))
    }

    async fn list_referenced_digests(&self) -> Result<Vec<Digest>, StoreError> {
        read!(self, |db| versions::list_referenced_digests(db))
    }
}
