//! Identities of routes, and trusts that are to be revoked.

use picasso_types::{RouteId, RouteIdentity, Timestamp, TrustId, TrustRevocation};
use sqlx::{MySqlConnection, MySqlExecutor};

use super::{apps, changes};
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, IdentityColumns, identity_columns};

pub(super) async fn get(db: impl MySqlExecutor<'_>, route: &RouteId) -> Result<RouteIdentity, StoreError> {
    let row =
        sqlx::query(concat!("SELECT ", identity_columns!(), " FROM route_identities i WHERE i.route_id = ?"))
            .bind(route.as_str())
            .fetch_optional(db)
            .await
            .context("loading a route's identity")?;
    rows::identity(&row.ok_or(StoreError::NotFound)?)
}

/// The identity as a change expects it.
async fn before(
    db: &mut MySqlConnection,
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
pub(super) async fn set(
    db: &mut MySqlConnection,
    identity: &RouteIdentity,
    seen_number: u32,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let route = &identity.route_id;
    let app = apps::lock_of_route(db, route).await?;
    refuse_unseen(db, identity, seen_number).await?;
    let before = before(db, route, expected).await?;
    remove(db, route, before.as_ref(), now).await?;
    let columns = IdentityColumns::of(identity)?;
    sqlx::query(
        "INSERT INTO route_identities (route_id, project_id, user_id, kind, grant_id, secret, roles, granted_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
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
    db: &mut MySqlConnection,
    identity: &RouteIdentity,
    seen_number: u32,
) -> Result<(), StoreError> {
    let unseen: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM route_versions WHERE route_id = ? AND number > ? AND created_by <> ?) \
         + (SELECT count(*) FROM route_aliases WHERE route_id = ? AND updated_at > ? AND updated_by <> ?)",
    )
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
pub(super) async fn consent(
    db: &mut MySqlConnection,
    seen: &RouteIdentity,
    now: Timestamp,
) -> Result<RouteIdentity, StoreError> {
    let app = apps::lock_of_route(db, &seen.route_id).await?;
    before(db, &seen.route_id, Some(seen)).await?;
    sqlx::query(
        "UPDATE route_identities SET suspended_by = NULL, suspended_at = NULL, suspension_reason = NULL \
         WHERE route_id = ?",
    )
    .bind(seen.route_id.as_str())
    .execute(&mut *db)
    .await
    .context("ending a suspension")?;
    changes::note(db, &app, now).await?;
    get(db, &seen.route_id).await
}

/// Suspends the identity of a route that another user than its grantor changes by this transaction.
pub(super) async fn suspend(
    db: &mut MySqlConnection,
    route: &RouteId,
    changed_by: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE route_identities SET suspended_by = ?, suspended_at = ?, suspension_reason = ? \
         WHERE route_id = ? AND user_id <> ?",
    )
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

pub(super) async fn delete(
    db: &mut MySqlConnection,
    route: &RouteId,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = apps::lock_of_route(db, route).await?;
    let before = before(db, route, expected).await?.ok_or(StoreError::NotFound)?;
    remove(db, route, Some(&before), now).await?;
    changes::note(db, &app, now).await
}

/// What the deletion of a route leaves of its identity: a trust that is to be revoked.
pub(super) async fn forget_of_route(
    db: &mut MySqlConnection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = before(db, route, None).await?;
    remove(db, route, before.as_ref(), now).await
}

async fn remove(
    db: &mut MySqlConnection,
    route: &RouteId,
    before: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(before) = before else { return Ok(()) };
    sqlx::query("DELETE FROM route_identities WHERE route_id = ?")
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
pub(super) async fn add_revocation(
    db: &mut MySqlConnection,
    trust: &TrustId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT IGNORE INTO identity_revocations (trust_id, attempts, not_before) VALUES (?, 0, ?)")
        .bind(trust.as_str())
        .bind(now.0)
        .execute(db)
        .await
        .context("noting a trust to revoke")?;
    Ok(())
}

/// Trusts to revoke now, those that waited longest first.
pub(super) async fn list_revocations(
    db: impl MySqlExecutor<'_>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<TrustRevocation>, StoreError> {
    let rows = sqlx::query(
        "SELECT trust_id, attempts FROM identity_revocations WHERE not_before <= ? ORDER BY not_before LIMIT ?",
    )
    .bind(now.0)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing trusts to revoke")?;
    rows.iter().map(rows::revocation).collect()
}

/// Tries again later.
pub(super) async fn put_off_revocation(
    db: &mut MySqlConnection,
    trust: &TrustId,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE identity_revocations SET attempts = attempts + 1, not_before = ? WHERE trust_id = ?")
        .bind(until.0)
        .bind(trust.as_str())
        .execute(db)
        .await
        .context("putting a revocation off")?;
    Ok(())
}

/// The trust is gone.
pub(super) async fn forget_revocation(db: &mut MySqlConnection, trust: &TrustId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM identity_revocations WHERE trust_id = ?")
        .bind(trust.as_str())
        .execute(db)
        .await
        .context("forgetting a revoked trust")?;
    Ok(())
}
