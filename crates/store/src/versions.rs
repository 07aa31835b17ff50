//! What the store keeps of routes' versions: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{AppId, Digest, InstanceId, ProjectId, RouteId, RouteVersion, Timestamp, VersionId};

use crate::StoreError;

/// A version whose image is still to be resolved, and whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparingVersion {
    /// The project of its app.
    pub project_id: ProjectId,
    /// The version.
    pub version: RouteVersion,
}

/// Immutable versions of routes, and how their preparation ends. Errors as for [`crate::Store`].
#[async_trait]
pub trait VersionStore: Send + Sync + std::fmt::Debug {
    /// One version, also of an older state of a route.
    async fn get_version(&self, id: &VersionId) -> Result<RouteVersion, StoreError>;

    /// The route's version of this number.
    async fn get_route_version(&self, route: &RouteId, number: u32) -> Result<RouteVersion, StoreError>;

    /// The route's versions below the number `before`, newest first, at most `limit`. None of a route
    /// that is not there.
    async fn list_versions(
        &self,
        route: &RouteId,
        before: Option<u32>,
        limit: u32,
    ) -> Result<Vec<RouteVersion>, StoreError>;

    /// Deletes versions that are not among the newest `keep` of their route, neither newest nor active,
    /// of no alias, not being prepared, and not of an unfinished call. Looks at up to `max_routes`
    /// routes that have any; returns how many versions went.
    async fn delete_old_versions(&self, keep: u32, max_routes: u32) -> Result<u64, StoreError>;

    /// Marks a `preparing` version `ready` with its digest; it becomes active unless a newer
    /// version is active already. Saying the same twice is no error; `NotFound` when the version
    /// was decided otherwise.
    async fn set_version_ready(&self, id: &VersionId, digest: &Digest) -> Result<(), StoreError>;

    /// Marks a `preparing` version `failed`; the active version stays what it was. The first 2 KiB
    /// of `error` are kept. Decided versions as in [`VersionStore::set_version_ready`].
    async fn set_version_failed(&self, id: &VersionId, error: &str) -> Result<(), StoreError>;

    /// The versions in state `preparing`, oldest first: work to take up where nobody holds it
    /// ([`VersionStore::lease_preparation`]). Copies
    /// that share another version's preparation are left out.
    async fn list_preparing_versions(&self) -> Result<Vec<PreparingVersion>, StoreError>;

    /// Takes the preparation of a `preparing` version for `owner`, or holds it longer; `false` when
    /// another process holds it, or the version was decided or is gone.
    async fn lease_preparation(
        &self,
        id: &VersionId,
        owner: &InstanceId,
        until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// The apps with a route whose active version has `min_instances`.
    async fn list_kept_warm(&self) -> Result<Vec<AppId>, StoreError>;

    /// The digests that active or latest versions and unfinished calls name: not to be removed.
    async fn list_referenced_digests(&self) -> Result<Vec<Digest>, StoreError>;
}
