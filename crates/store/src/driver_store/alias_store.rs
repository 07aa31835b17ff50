//! [`AliasStore`] of each driver.

use async_trait::async_trait;
use picasso_types::{Alias, AliasName, AliasSpec, AppId, RouteId, RouteVersion};

use super::{DriverStore, aliases, read, write};
use crate::{AliasStore, StoreError};

#[async_trait]
impl AliasStore for DriverStore {
    async fn create_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        created_by: &str,
        max_aliases: u32,
    ) -> Result<Alias, StoreError> {
        write!(self, [route, name, spec, created_by], |db, now| {
            aliases::create(db, route, name, spec, created_by, max_aliases, now)
        })
    }

    async fn get_alias(&self, route: &RouteId, name: &AliasName) -> Result<Alias, StoreError> {
        read!(self, |db| aliases::get(db, route, name))
    }

    async fn list_aliases(&self, route: &RouteId) -> Result<Vec<Alias>, StoreError> {
        read!(self, |db| aliases::list(db, route))
    }

    async fn list_app_aliases(&self, app: &AppId) -> Result<(Vec<Alias>, Vec<RouteVersion>), StoreError> {
        read!(self, |db| async {
            let aliases = aliases::list_of_app(&mut *db, app).await?;
            if aliases.is_empty() {
                return Ok((aliases, Vec::new()));
            }
            Ok((aliases, aliases::list_versions_of_app(db, app).await?))
        })
    }

    async fn update_alias(
        &self,
        route: &RouteId,
        name: &AliasName,
        spec: &AliasSpec,
        expected: Option<&Alias>,
        updated_by: &str,
    ) -> Result<Alias, StoreError> {
        let expected = &expected.cloned();
        write!(self, [route, name, spec, expected, updated_by], |db, now| {
            aliases::update(db, route, name, spec, expected.as_ref(), updated_by, now)
        })
    }

    async fn delete_alias(&self, route: &RouteId, name: &AliasName) -> Result<(), StoreError> {
        write!(self, [route, name], |db, now| aliases::delete(db, route, name, now))
    }
}
