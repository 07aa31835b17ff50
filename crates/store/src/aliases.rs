//! What the store keeps of aliases: the part of [`crate::Store`] that they need.

use async_trait::async_trait;
use picasso_types::{Alias, AliasName, AliasSpec, AppId, RouteId, RouteVersion};

use crate::StoreError;

/// Names that stand for versions of a route. Errors as for [`crate::Store`].
#[async_trait]
pub trait AliasStore: Send + Sync + std::fmt::Debug {
    /// Makes an alias of a route. `AliasExists`; `TooManyAliases` when the route has `max_aliases`;
    /// `VersionNotFound` or `VersionNotReady` for a version that it cannot stand for.
    async fn create_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        created_by: &str,
        max_aliases: u32,
    ) -> Result<Alias, StoreError>;

    /// One alias of a route.
    async fn get_alias(&self, route: &RouteId, name: &AliasName) -> Result<Alias, StoreError>;

    /// The route's aliases in order of their names.
    async fn list_aliases(&self, route: &RouteId) -> Result<Vec<Alias>, StoreError>;

    /// The aliases of all routes of an app, and the versions they stand for.
    async fn list_app_aliases(&self, app: &AppId) -> Result<(Vec<Alias>, Vec<RouteVersion>), StoreError>;

    /// Replaces what an alias stands for; `VersionNotFound` and `VersionNotReady` as when it is made,
    /// `Changed` when `expected` is given and the alias is not (any more) like that.
    async fn update_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        expected: Option<&Alias>,
        updated_by: &str,
    ) -> Result<Alias, StoreError>;

    /// Deletes an alias; its versions stay as long as they would without it.
    async fn delete_alias(&self, route: &RouteId, name: &AliasName) -> Result<(), StoreError>;
}
