//! What people change of routes.

use picasso_types::{
    AppId, Digest, Methods, NewRoute, OverLimit, Resource, Route, RouteAccess, RouteChange, RouteId,
    RoutePattern, Timestamp, WebhookChange,
};
use sqlx::query;

use super::find::{count, load};
use super::{
    Connection, apps, calls, changes, identities, lock_app_of_route, lock_for_new, sql, triggers, versions,
};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::preparation::{Merged, Preparation};
use crate::rows::{json, to_json};

pub(crate) async fn create(
    db: &mut Connection,
    app: &AppId,
    new: &NewRoute,
    resolved: Option<&Digest>,
    max_routes: u32,
    now: Timestamp,
) -> Result<Route, StoreError> {
    lock_for_new(db, app).await?;
    let app = apps::load(&mut *db, app).await?;
    refuse_conflict(db, &app.id, &new.pattern, &new.methods, None).await?;
    let routes = count(&mut *db, &app.project_id).await?;
    OverLimit::check(&app.project_id, Resource::Routes, max_routes.into(), routes, 1)?;
    let id = new.id.clone();
    query(sql("INSERT INTO routes (id, app_id, pattern, shape, methods, route_type, is_public, \
         latest_number, active_number, created_at, updated_at, delivery, access, rate_limit) \
         VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?)"))
    .bind(id.as_str())
    .bind(app.id.as_str())
    .bind(new.pattern.as_str())
    .bind(new.pattern.shape())
    .bind(to_json("methods", &new.methods)?)
    .bind(new.route_type.as_str())
    .bind(new.is_public)
    .bind(resolved.map(|_| 1_i64))
    .bind(now.0)
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
    db: &mut Connection,
    app: &AppId,
    pattern: &RoutePattern,
    methods: &Methods,
    except: Option<&RouteId>,
) -> Result<(), StoreError> {
    let others = query(sql("SELECT methods FROM routes WHERE app_id = ? AND shape = ? AND id <> ?"))
        .bind(app.as_str())
        .bind(pattern.shape())
        // No route has an empty id.
        .bind(except.map_or("", RouteId::as_str))
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

pub(crate) async fn update(
    db: &mut Connection,
    id: &RouteId,
    change: &RouteChange,
    resolved: Option<&Digest>,
    now: Timestamp,
) -> Result<Route, StoreError> {
    lock_app_of_route(db, id).await?;
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
    query(sql("UPDATE routes SET methods = ?, route_type = ?, is_public = ?, latest_number = ?, \
         active_number = CASE WHEN ? THEN ? ELSE active_number END, updated_at = ?, delivery = ?, \
         access = ?, rate_limit = ? WHERE id = ?"))
    .bind(to_json("methods", &change.methods)?)
    .bind(change.route_type.as_str())
    .bind(change.is_public)
    .bind(i64::from(number))
    .bind(resolved.is_some())
    .bind(i64::from(number))
    .bind(now.0)
    .bind(to_json("delivery", &change.delivery)?)
    .bind(to_json("access", &access)?)
    .bind(change.rate_limit.as_ref().map(|limit| to_json("rate_limit", limit)).transpose()?)
    .bind(id.as_str())
    .execute(&mut *db)
    .await
    .context("changing a route")?;
    changes::note(db, &app.id, now).await?;
    load(db, id).await
}

/// Changes a route's webhook secrets; no new version, as nothing that runs changes.
pub(crate) async fn change_webhook(
    db: &mut Connection,
    id: &RouteId,
    change: &WebhookChange,
    previous_until: Timestamp,
    now: Timestamp,
) -> Result<Route, StoreError> {
    lock_app_of_route(db, id).await?;
    let before = load(&mut *db, id).await?;
    let webhook = before.access.webhook.clone().changed(change, previous_until);
    let access = RouteAccess { webhook, ..before.access };
    query(sql("UPDATE routes SET access = ?, updated_at = ? WHERE id = ?"))
        .bind(to_json("access", &access)?)
        .bind(now.0)
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("changing a route's webhook secrets")?;
    changes::note(db, &before.app_id, now).await?;
    load(db, id).await
}

pub(crate) async fn delete(db: &mut Connection, id: &RouteId, now: Timestamp) -> Result<(), StoreError> {
    let app = lock_app_of_route(db, id).await?;
    identities::forget_of_route(db, id, now).await?;
    triggers::leave_trusts(db, id, now).await?;
    let deleted = query(sql("DELETE FROM routes WHERE id = ?"))
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
