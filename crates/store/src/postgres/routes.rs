//! Routes: where functions answer and which of their versions calls run.

use picasso_types::{
    AppChange, AppId, Digest, Methods, NewRoute, OverLimit, ProjectId, Resource, Route, RouteAccess,
    RouteChange, RouteId, RoutePattern, Timestamp, VersionState, WebhookChange,
};
use sqlx::{PgConnection, PgExecutor};

use super::{apps, calls, changes, identities, triggers, versions};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::preparation::{Merged, Preparation};
use crate::rows::{self, json, route_columns, to_json, version_columns};

/// Each route once or twice: with its latest and, where that is another one, its active version.
macro_rules! select_routes {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            route_columns!(),
            ", ",
            version_columns!(),
            " FROM routes r JOIN route_versions v \
             ON v.route_id = r.id AND v.number IN (r.latest_number, r.active_number) ",
            $rest
        )
    };
}

/// The order in which routes are listed; those with one pattern by age.
macro_rules! route_order {
    () => {
        " ORDER BY r.pattern, r.created_at, r.id"
    };
}

/// Whoever makes a route holds this advisory lock of its project ("rout" in ASCII).
const ROUTES_LOCK: i32 = 0x72_6f_75_74;

/// How many routes all apps of a project have.
pub(super) async fn count(db: impl PgExecutor<'_>, project: &ProjectId) -> Result<u64, StoreError> {
    let routes: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM apps a JOIN routes r ON r.app_id = a.id WHERE a.project_id = $1",
    )
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("counting routes")?;
    Ok(routes.unsigned_abs())
}

pub(super) async fn create(
    db: &mut PgConnection,
    app: &AppId,
    new: &NewRoute,
    resolved: Option<&Digest>,
    max_routes: u32,
    now: Timestamp,
) -> Result<Route, StoreError> {
    let project = apps::project_of(&mut *db, app).await?;
    // Counted over all apps of the project: another transaction may add to another of them just now.
    sqlx::query("SELECT pg_advisory_xact_lock($1, hashtext($2))")
        .bind(ROUTES_LOCK)
        .bind(project.as_str())
        .execute(&mut *db)
        .await
        .context("locking the routes of a project")?;
    apps::lock(db, app).await?;
    let app = apps::load(&mut *db, app).await?;
    refuse_conflict(db, &app.id, &new.pattern, &new.methods, None).await?;
    let routes = count(&mut *db, &app.project_id).await?;
    OverLimit::check(&app.project_id, Resource::Routes, max_routes.into(), routes, 1)?;
    let id = new.id.clone();
    sqlx::query(
        "INSERT INTO routes (id, app_id, pattern, shape, methods, route_type, is_public, \
         latest_number, active_number, created_at, updated_at, delivery, access, rate_limit) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $9, $10, $11, $12)",
    )
    .bind(id.as_str())
    .bind(app.id.as_str())
    .bind(new.pattern.as_str())
    .bind(new.pattern.shape())
    .bind(to_json("methods", &new.methods)?)
    .bind(new.route_type.as_str())
    .bind(new.is_public)
    .bind(resolved.map(|_| 1_i64))
    .bind(now.0)
    .bind(to_json("delivery", &new.delivery)?)
    .bind(to_json("access", &new.access)?)
    .bind(new.rate_limit.as_ref().map(|limit| to_json("rate_limit", limit)).transpose()?)
    .execute(&mut *db)
    .await
    .context("storing a route")?;
    let merged = Merged::of(&app.config, &app.secrets, &new.spec);
    let preparation = Preparation::of(resolved);
    versions::insert(db, &id, 1, &new.spec, &merged, &preparation, &new.created_by, now).await?;
    changes::note(db, &app.id, now).await?;
    load(db, &id).await
}

/// `RouteExists` when another route of the app answers the same paths for one of the methods.
async fn refuse_conflict(
    db: &mut PgConnection,
    app: &AppId,
    pattern: &RoutePattern,
    methods: &Methods,
    except: Option<&RouteId>,
) -> Result<(), StoreError> {
    let others =
        sqlx::query("SELECT methods FROM routes WHERE app_id = $1 AND shape = $2 AND id IS DISTINCT FROM $3")
            .bind(app.as_str())
            .bind(pattern.shape())
            .bind(except.map(RouteId::as_str))
            .fetch_all(db)
            .await
            .context("looking for conflicting routes")?;
    for other in &others {
        if json::<Methods>(other, "methods")?.overlaps(methods) {
            return Err(StoreError::RouteExists);
        }
    }
    Ok(())
}

pub(super) async fn get(db: impl PgExecutor<'_>, app: &AppId, pattern: &str) -> Result<Route, StoreError> {
    // PostgreSQL refuses to look for what it cannot hold.
    if pattern.contains('\0') {
        return Err(StoreError::NotFound);
    }
    let rows = sqlx::query(concat!(select_routes!("WHERE r.app_id = $1 AND r.pattern = $2"), route_order!()))
        .bind(app.as_str())
        .bind(pattern)
        .fetch_all(db)
        .await
        .context("loading a route")?;
    rows::routes(&rows)?.into_iter().next().ok_or(StoreError::NotFound)
}

pub(super) async fn list(db: impl PgExecutor<'_>, app: &AppId) -> Result<Vec<Route>, StoreError> {
    let rows = sqlx::query(concat!(select_routes!("WHERE r.app_id = $1"), route_order!()))
        .bind(app.as_str())
        .fetch_all(db)
        .await
        .context("listing routes")?;
    rows::routes(&rows)
}

pub(super) async fn load(db: impl PgExecutor<'_>, id: &RouteId) -> Result<Route, StoreError> {
    let rows = sqlx::query(select_routes!("WHERE r.id = $1"))
        .bind(id.as_str())
        .fetch_all(db)
        .await
        .context("loading a route")?;
    rows::route(&rows)
}

pub(super) async fn update(
    db: &mut PgConnection,
    id: &RouteId,
    change: &RouteChange,
    resolved: Option<&Digest>,
    now: Timestamp,
) -> Result<Route, StoreError> {
    apps::lock_of_route(db, id).await?;
    let before = load(&mut *db, id).await?;
    expect(&before, change.expected.as_deref())?;
    let app = apps::load(&mut *db, &before.app_id).await?;
    refuse_conflict(db, &app.id, &before.pattern, &change.methods, Some(id)).await?;
    let number = before.latest.number + 1;
    let merged = Merged::of(&app.config, &app.secrets, &change.spec);
    // Somebody else may be replacing them just now.
    let access = RouteAccess { webhook: before.access.webhook, ..change.access.clone() };
    let preparation = Preparation::of(resolved);
    versions::insert(db, id, number, &change.spec, &merged, &preparation, &change.created_by, now).await?;
    sqlx::query(
        "UPDATE routes SET methods = $2, route_type = $3, is_public = $4, latest_number = $5, \
         active_number = CASE WHEN $6 THEN $5 ELSE active_number END, updated_at = $7, delivery = $8, \
         access = $9, rate_limit = $10 WHERE id = $1",
    )
    .bind(id.as_str())
    .bind(to_json("methods", &change.methods)?)
    .bind(change.route_type.as_str())
    .bind(change.is_public)
    .bind(i64::from(number))
    .bind(resolved.is_some())
    .bind(now.0)
    .bind(to_json("delivery", &change.delivery)?)
    .bind(to_json("access", &access)?)
    .bind(change.rate_limit.as_ref().map(|limit| to_json("rate_limit", limit)).transpose()?)
    .execute(&mut *db)
    .await
    .context("changing a route")?;
    changes::note(db, &app.id, now).await?;
    load(db, id).await
}

/// Makes a version of what an older one ran.
pub(super) async fn roll_back(
    db: &mut PgConnection,
    id: &RouteId,
    number: u32,
    rolled_back_by: &str,
    now: Timestamp,
) -> Result<Route, StoreError> {
    apps::lock_of_route(db, id).await?;
    let route = load(&mut *db, id).await?;
    let app = apps::load(&mut *db, &route.app_id).await?;
    let old = versions::get_ready(&mut *db, id, number).await?;
    let next = route.latest.number + 1;
    let merged = Merged::of(&app.config, &app.secrets, &old.spec);
    let preparation = Preparation::rolled_back(&old);
    versions::insert(db, id, next, &old.spec, &merged, &preparation, rolled_back_by, now).await?;
    sqlx::query("UPDATE routes SET latest_number = $1, active_number = $2, updated_at = $3 WHERE id = $4")
        .bind(i64::from(next))
        .bind(i64::from(next))
        .bind(now.0)
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("rolling a route back")?;
    changes::note(db, &app.id, now).await?;
    load(db, id).await
}

/// Makes the version of each route that has its app's new configuration and secrets merged in.
///
/// Where calls run an older version than the latest, because that one is still preparing or has
/// failed, the active one gets a new version too: a change of configuration reaches calls at once.
pub(super) async fn apply_app_config(
    db: &mut PgConnection,
    app: &AppId,
    app_change: &AppChange,
    changed_by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    for route in list(&mut *db, app).await? {
        let mut number = route.latest.number;
        let mut active_number = route.active.as_ref().map(|active| active.number);
        let behind = route.active.iter().filter(|active| active.number != route.latest.number);
        for version in behind.chain([&route.latest]) {
            number += 1;
            let merged = Merged::of(&app_change.config, &app_change.secrets, &version.spec);
            let preparation = Preparation::copied(version);
            versions::insert(db, &route.id, number, &version.spec, &merged, &preparation, changed_by, now)
                .await?;
            if version.state == VersionState::Ready {
                active_number = Some(number);
            }
        }
        sqlx::query(
            "UPDATE routes SET latest_number = $2, active_number = $3, updated_at = $4 WHERE id = $1",
        )
        .bind(route.id.as_str())
        .bind(i64::from(number))
        .bind(active_number.map(i64::from))
        .bind(now.0)
        .execute(&mut *db)
        .await
        .context("changing a route's version")?;
    }
    Ok(())
}

/// Changes a route's webhook secrets; no new version, as nothing that runs changes.
pub(super) async fn change_webhook(
    db: &mut PgConnection,
    id: &RouteId,
    change: &WebhookChange,
    previous_until: Timestamp,
    now: Timestamp,
) -> Result<Route, StoreError> {
    apps::lock_of_route(db, id).await?;
    let before = load(&mut *db, id).await?;
    let webhook = before.access.webhook.clone().changed(change, previous_until);
    let access = RouteAccess { webhook, ..before.access };
    sqlx::query("UPDATE routes SET access = $2, updated_at = $3 WHERE id = $1")
        .bind(id.as_str())
        .bind(to_json("access", &access)?)
        .bind(now.0)
        .execute(&mut *db)
        .await
        .context("changing a route's webhook secrets")?;
    changes::note(db, &before.app_id, now).await?;
    load(db, id).await
}

pub(super) async fn delete(db: &mut PgConnection, id: &RouteId, now: Timestamp) -> Result<(), StoreError> {
    let app = apps::lock_of_route(db, id).await?;
    identities::forget_of_route(db, id, now).await?;
    triggers::leave_trusts(db, id, now).await?;
    let deleted = sqlx::query("DELETE FROM routes WHERE id = $1")
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("deleting a route")?;
    if deleted.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    calls::cancel_queued(db, id, now).await?;
    changes::note(db, &app, now).await
}
