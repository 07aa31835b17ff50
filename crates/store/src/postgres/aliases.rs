//! Aliases of routes: names that stand for versions, each with its part of the calls.

use picasso_types::{Alias, AliasName, AliasSpec, AppId, RouteId, RouteVersion, Sticky, Timestamp};
use sqlx::{PgConnection, PgExecutor};

use super::{apps, changes, identities, versions};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, alias_columns, version_columns};

/// Each alias once for each of its versions.
macro_rules! select_aliases {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            alias_columns!(),
            " FROM route_aliases a \
             JOIN alias_shares s ON s.route_id = a.route_id AND s.name = a.name ",
            $rest,
            " ORDER BY a.route_id, a.name, s.number"
        )
    };
}

pub(super) async fn create(
    db: &mut PgConnection,
    route: &RouteId,
    name: &AliasName,
    spec: &AliasSpec,
    created_by: &str,
    max_aliases: u32,
    now: Timestamp,
) -> Result<Alias, StoreError> {
    let app = apps::lock_of_route(db, route).await?;
    let before = list(&mut *db, route).await?;
    if before.iter().any(|alias| alias.name == *name) {
        return Err(StoreError::AliasExists);
    }
    if before.len() >= max_aliases as usize {
        return Err(StoreError::TooManyAliases(max_aliases));
    }
    check_versions(db, route, spec).await?;
    sqlx::query(
        "INSERT INTO route_aliases (route_id, name, is_public, sticky_kind, sticky_name, created_by, \
         updated_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(route.as_str())
    .bind(name.as_str())
    .bind(spec.is_public)
    .bind(spec.sticky.as_ref().map(rows::sticky_kind))
    .bind(spec.sticky.as_ref().map(sticky_name))
    .bind(created_by)
    .bind(created_by)
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("storing an alias")?;
    insert_shares(db, route, name, spec).await?;
    identities::suspend(db, route, created_by, &format!("alias {name} was changed"), now).await?;
    changes::note(db, &app, now).await?;
    get(db, route, name).await
}

fn sticky_name(sticky: &Sticky) -> &str {
    match sticky {
        Sticky::Header(name) | Sticky::Cookie(name) => name,
    }
}

/// Every version of an alias is there and can run.
async fn check_versions(db: &mut PgConnection, route: &RouteId, spec: &AliasSpec) -> Result<(), StoreError> {
    for share in spec.shares.as_slice() {
        versions::get_ready(&mut *db, route, share.number).await?;
    }
    Ok(())
}

async fn insert_shares(
    db: &mut PgConnection,
    route: &RouteId,
    name: &AliasName,
    spec: &AliasSpec,
) -> Result<(), StoreError> {
    for share in spec.shares.as_slice() {
        sqlx::query("INSERT INTO alias_shares (route_id, name, number, weight) VALUES ($1, $2, $3, $4)")
            .bind(route.as_str())
            .bind(name.as_str())
            .bind(i64::from(share.number))
            .bind(i64::from(share.weight))
            .execute(&mut *db)
            .await
            .context("storing the versions of an alias")?;
    }
    Ok(())
}

pub(super) async fn get(
    db: impl PgExecutor<'_>,
    route: &RouteId,
    name: &AliasName,
) -> Result<Alias, StoreError> {
    let rows = sqlx::query(select_aliases!("WHERE a.route_id = $1 AND a.name = $2"))
        .bind(route.as_str())
        .bind(name.as_str())
        .fetch_all(db)
        .await
        .context("loading an alias")?;
    rows::aliases(&rows)?.pop().ok_or(StoreError::NotFound)
}

pub(super) async fn list(db: impl PgExecutor<'_>, route: &RouteId) -> Result<Vec<Alias>, StoreError> {
    let rows = sqlx::query(select_aliases!("WHERE a.route_id = $1"))
        .bind(route.as_str())
        .fetch_all(db)
        .await
        .context("listing aliases")?;
    rows::aliases(&rows)
}

/// All aliases of an app's routes.
pub(super) async fn list_of_app(db: impl PgExecutor<'_>, app: &AppId) -> Result<Vec<Alias>, StoreError> {
    let rows = sqlx::query(select_aliases!("JOIN routes r ON r.id = a.route_id WHERE r.app_id = $1"))
        .bind(app.as_str())
        .fetch_all(db)
        .await
        .context("listing an app's aliases")?;
    rows::aliases(&rows)
}

/// The versions that the aliases of an app's routes stand for, each once.
pub(super) async fn list_versions_of_app(
    db: impl PgExecutor<'_>,
    app: &AppId,
) -> Result<Vec<RouteVersion>, StoreError> {
    let rows = sqlx::query(concat!(
        "SELECT ",
        version_columns!(),
        " FROM route_versions v JOIN routes r ON r.id = v.route_id WHERE r.app_id = $1 AND EXISTS \
         (SELECT 1 FROM alias_shares s WHERE s.route_id = v.route_id AND s.number = v.number)"
    ))
    .bind(app.as_str())
    .fetch_all(db)
    .await
    .context("listing the versions of an app's aliases")?;
    rows.iter().map(rows::version).collect()
}

pub(super) async fn update(
    db: &mut PgConnection,
    route: &RouteId,
    name: &AliasName,
    spec: &AliasSpec,
    expected: Option<&Alias>,
    updated_by: &str,
    now: Timestamp,
) -> Result<Alias, StoreError> {
    let app = apps::lock_of_route(db, route).await?;
    expect(&get(&mut *db, route, name).await?, expected)?;
    check_versions(db, route, spec).await?;
    sqlx::query(
        "UPDATE route_aliases SET is_public = $1, sticky_kind = $2, sticky_name = $3, updated_by = $4, \
         updated_at = $5 WHERE route_id = $6 AND name = $7",
    )
    .bind(spec.is_public)
    .bind(spec.sticky.as_ref().map(rows::sticky_kind))
    .bind(spec.sticky.as_ref().map(sticky_name))
    .bind(updated_by)
    .bind(now.0)
    .bind(route.as_str())
    .bind(name.as_str())
    .execute(&mut *db)
    .await
    .context("changing an alias")?;
    sqlx::query("DELETE FROM alias_shares WHERE route_id = $1 AND name = $2")
        .bind(route.as_str())
        .bind(name.as_str())
        .execute(&mut *db)
        .await
        .context("changing the versions of an alias")?;
    insert_shares(db, route, name, spec).await?;
    identities::suspend(db, route, updated_by, &format!("alias {name} was changed"), now).await?;
    changes::note(db, &app, now).await?;
    get(db, route, name).await
}

pub(super) async fn delete(
    db: &mut PgConnection,
    route: &RouteId,
    name: &AliasName,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_route(db, route).await?;
    let deleted = sqlx::query("DELETE FROM route_aliases WHERE route_id = $1 AND name = $2")
        .bind(route.as_str())
        .bind(name.as_str())
        .execute(&mut *db)
        .await
        .context("deleting an alias")?;
    if deleted.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    changes::note(db, &app, now).await
}
