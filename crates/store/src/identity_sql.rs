//! The SQL of routes' identities, and of trusts that are to be revoked.
//!
//! Compiled once for each driver (`mod identities` in its folder), as `trigger_sql` is.

use picasso_types::{RouteId, RouteIdentity, Timestamp, TrustId, TrustRevocation};
use sqlx::{query, query_scalar};

use super::{ADD_REVOCATION, Connection, Executor, changes, lock_app_of_route, sql};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, IdentityColumns, identity_columns};

pub(crate) async fn get(db: impl Executor<'_>, route: &RouteId) -> Result<RouteIdentity, StoreError> {
    let row =
        query(sql(concat!("SELECT ", identity_columns!(), " FROM route_identities i WHERE i.route_id = ?")))
            .bind(route.as_str())
            .fetch_optional(db)
            .await
            .context("loading a route's identity")?;
    rows::identity(&row.ok_or(StoreError::NotFound)?)
}

/// The identity as a change expects it.
async fn before(
    db: &mut Connection,
    route: &RouteId,
    expected: Option<&RouteIdentity>,
) -> Result<Option<RouteIdentity>, StoreError> {
    match get(&mut *db, route).await {
        Ok(before) => expect(&before, expected).map(|()| Some(before)),
        Err(StoreError::NotFound) if expected.is_none() => Ok(None),
        Err(StoreError::NotFound) => Err(StoreError::Changed),
        Err(error) => Err(error),
    }
}

/// Gives a route an identity in place of the one it had.
pub(crate) async fn set(
    db: &mut Connection,
    identity: &RouteIdentity,
    seen_number: u32,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let route = &identity.route_id;
    let app = lock_app_of_route(db, route).await?;
    refuse_unseen(db, identity, seen_number).await?;
    let before = before(db, route, expected).await?;
    remove(db, route, before.as_ref(), now).await?;
    let columns = IdentityColumns::of(identity)?;
    query(sql(
        "INSERT INTO route_identities (route_id, project_id, user_id, kind, grant_id, secret, roles, granted_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    ))
    .bind(route.as_str())
    .bind(identity.project_id.as_str())
    .bind(identity.user_id.as_str())
    .bind(identity.grant.kind().as_str())
    .bind(columns.grant_id)
    .bind(columns.secret)
    .bind(columns.roles)
    .bind(identity.granted_at.0)
    .execute(&mut *db)
    .await
    .context("storing a route's identity")?;
    changes::note(db, &app, now).await
}

/// `Changed` where another user changed what the function runs after the granting one looked at it.
async fn refuse_unseen(
    db: &mut Connection,
    identity: &RouteIdentity,
    seen_number: u32,
) -> Result<(), StoreError> {
    let unseen: i64 = query_scalar(sql(
        "SELECT (SELECT count(*) FROM route_versions WHERE route_id = ? AND number > ? AND created_by <> ?) \
         + (SELECT count(*) FROM route_aliases WHERE route_id = ? AND updated_at > ? AND updated_by <> ?)",
    ))
    .bind(identity.route_id.as_str())
    .bind(i64::from(seen_number))
    .bind(identity.user_id.as_str())
    .bind(identity.route_id.as_str())
    .bind(identity.granted_at.0)
    .bind(identity.user_id.as_str())
    .fetch_one(db)
    .await
    .context("looking for changes of a route")?;
    if unseen == 0 { Ok(()) } else { Err(StoreError::Changed) }
}

/// Ends the suspension of an identity that is still as its grantor saw it.
pub(crate) async fn consent(
    db: &mut Connection,
    seen: &RouteIdentity,
    now: Timestamp,
) -> Result<RouteIdentity, StoreError> {
    let app = lock_app_of_route(db, &seen.route_id).await?;
    before(db, &seen.route_id, Some(seen)).await?;
    query(sql(
        "UPDATE route_identities SET suspended_by = NULL, suspended_at = NULL, suspension_reason = NULL \
         WHERE route_id = ?",
    ))
    .bind(seen.route_id.as_str())
    .execute(&mut *db)
    .await
    .context("ending a suspension")?;
    changes::note(db, &app, now).await?;
    get(db, &seen.route_id).await
}

/// Suspends the identity of a route that another user than its grantor changes by this transaction.
pub(crate) async fn suspend(
    db: &mut Connection,
    route: &RouteId,
    changed_by: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(sql("UPDATE route_identities SET suspended_by = ?, suspended_at = ?, suspension_reason = ? \
         WHERE route_id = ? AND user_id <> ?"))
    .bind(changed_by)
    .bind(now.0)
    .bind(reason)
    .bind(route.as_str())
    .bind(changed_by)
    .execute(db)
    .await
    .context("suspending a route's identity")?;
    Ok(())
}

pub(crate) async fn delete(
    db: &mut Connection,
    route: &RouteId,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = lock_app_of_route(db, route).await?;
    let before = before(db, route, expected).await?.ok_or(StoreError::NotFound)?;
    remove(db, route, Some(&before), now).await?;
    changes::note(db, &app, now).await
}

/// What the deletion of a route leaves of its identity: a trust that is to be revoked.
pub(crate) async fn forget_of_route(
    db: &mut Connection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = before(db, route, None).await?;
    remove(db, route, before.as_ref(), now).await
}

async fn remove(
    db: &mut Connection,
    route: &RouteId,
    before: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(before) = before else { return Ok(()) };
    query(sql("DELETE FROM route_identities WHERE route_id = ?"))
        .bind(route.as_str())
        .execute(&mut *db)
        .await
        .context("deleting a route's identity")?;
    match before.grant.trust() {
        Some(trust) => add_revocation(db, trust, now).await,
        None => Ok(()),
    }
}

/// Notes that a trust is to be revoked.
pub(crate) async fn add_revocation(
    db: &mut Connection,
    trust: &TrustId,
    now: Timestamp,
) -> Result<(), StoreError> {
    query(sql(ADD_REVOCATION))
        .bind(trust.as_str())
        .bind(now.0)
        .execute(db)
        .await
        .context("noting a trust to revoke")?;
    Ok(())
}

/// Trusts to revoke now, those that waited longest first.
pub(crate) async fn list_revocations(
    db: impl Executor<'_>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<TrustRevocation>, StoreError> {
    let rows = query(sql(
        "SELECT trust_id, attempts FROM identity_revocations WHERE not_before <= ? ORDER BY not_before LIMIT ?",
    ))
    .bind(now.0)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing trusts to revoke")?;
    rows.iter().map(rows::revocation).collect()
}

/// Tries again later.
pub(crate) async fn put_off_revocation(
    db: &mut Connection,
    trust: &TrustId,
    until: Timestamp,
) -> Result<(), StoreError> {
    query(sql("UPDATE identity_revocations SET attempts = attempts + 1, not_before = ? WHERE trust_id = ?"))
        .bind(until.0)
        .bind(trust.as_str())
        .execute(db)
        .await
        .context("putting a revocation off")?;
    Ok(())
}

/// The trust is gone.
pub(crate) async fn forget_revocation(db: &mut Connection, trust: &TrustId) -> Result<(), StoreError> {
    query(sql("DELETE FROM identity_revocations WHERE trust_id = ?"))
        .bind(trust.as_str())
        .execute(db)
        .await
        .context("forgetting a revoked trust")?;
    Ok(())
}
