//! New versions of what a route ran or runs.

use picasso_types::{AppChange, AppId, Route, RouteId, Timestamp, VersionState};
use sqlx::query;

use super::find::{list, load};
use super::{Connection, apps, changes, lock_app_of_route, sql, versions};
use crate::StoreError;
use crate::error::Context as _;
use crate::preparation::{Merged, Preparation};

/// Makes a version of what an older one ran.
pub(crate) async fn roll_back(
    db: &mut Connection,
    id: &RouteId,
    number: u32,
    rolled_back_by: &str,
    now: Timestamp,
) -> Result<Route, StoreError> {
    lock_app_of_route(db, id).await?;
    let route = load(&mut *db, id).await?;
    let app = apps::load(&mut *db, &route.app_id).await?;
    let old = versions::get_ready(&mut *db, id, number).await?;
    let next = route.latest.number + 1;
    let merged = Merged::of(&app.config, &app.secrets, &old.spec);
    let preparation = Preparation::rolled_back(&old);
    versions::insert(db, id, next, &old.spec, &merged, &preparation, rolled_back_by, now).await?;
    query(sql("UPDATE routes SET latest_number = ?, active_number = ?, updated_at = ? WHERE id = ?"))
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
pub(crate) async fn apply_app_config(
    db: &mut Connection,
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
        query(sql("UPDATE routes SET latest_number = ?, active_number = ?, updated_at = ? WHERE id = ?"))
            .bind(i64::from(number))
            .bind(active_number.map(i64::from))
            .bind(now.0)
            .bind(route.id.as_str())
            .execute(&mut *db)
            .await
            .context("changing a route's version")?;
    }
    Ok(())
}
