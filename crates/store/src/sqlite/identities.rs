//! Identities of routes, and trusts that are to be revoked.

use picasso_types::{RouteId, RouteIdentity, Timestamp, TrustId, TrustRevocation};
use sqlx::{SqliteConnection, SqliteExecutor};

use super::changes;
use crate::StoreError;
use crate::error::{Context as _, expect};
use crate::rows::{self, IdentityColumns, identity_columns};

pub(super) async fn get(db: impl SqliteExecutor<'_>, route: &RouteId) -> Result<RouteIdentity, StoreError> {
    let row = sqlx::query(concat!(
        "SELECT ",
        identity_columns!(),
        " FROM route_identities i WHERE i.route_id = ?1"
    ))
    .bind(route.as_str())
    .fetch_optional(db)
    .await
    .context("loading a route's identity")?;
    rows::identity(&row.ok_or(StoreError::NotFound)?)
}

/// The identity as a change expects it.
async fn before(
    db: &mut SqliteConnection,
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
    db: &mut SqliteConnection,
    identity: &RouteIdentity,
    seen_number: u32,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let route = &identity.route_id;
    let app = changes::app_of_route(db, route).await?;
    refuse_unseen(db, identity, seen_number).await?;
    let before = before(db, route, expected).await?;
    remove(db, route, before.as_ref(), now).await?;
    let columns = IdentityColumns::of(identity)?;
    sqlx::query(
        "INSERT INTO route_identities (route_id, project_id, user_id, kind, grant_id, secret, roles, granted_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
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
    db: &mut SqliteConnection,
    identity: &RouteIdentity,
    seen_number: u32,
) -> Result<(), StoreError> {
    let unseen: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM route_versions WHERE route_id = ?1 AND number > ?2 AND created_by <> ?3) \
         + (SELECT count(*) FROM route_aliases WHERE route_id = ?4 AND updated_at > ?5 AND updated_by <> ?6)",
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
    db: &mut SqliteConnection,
    seen: &RouteIdentity,
    now: Timestamp,
) -> Result<RouteIdentity, StoreError> {
    let app = changes::app_of_route(db, &seen.route_id).await?;
    before(db, &seen.route_id, Some(seen)).await?;
    sqlx::query(
        "UPDATE route_identities SET suspended_by = NULL, suspended_at = NULL, suspension_reason = NULL \
         WHERE route_id = ?1",
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
    db: &mut SqliteConnection,
    route: &RouteId,
    changed_by: &str,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE route_identities SET suspended_by = ?1, suspended_at = ?2, suspension_reason = ?3 \
         WHERE route_id = ?4 AND user_id <> ?5",
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
    db: &mut SqliteConnection,
    route: &RouteId,
    expected: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let app = changes::app_of_route(db, route).await?;
    let before = before(db, route, expected).await?.ok_or(StoreError::NotFound)?;
    remove(db, route, Some(&before), now).await?;
    changes::note(db, &app, now).await
}

/// What the deletion of a route leaves of its identity: a trust that is to be revoked.
pub(super) async fn forget_of_route(
    db: &mut SqliteConnection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let before = before(db, route, None).await?;
    remove(db, route, before.as_ref(), now).await
}

async fn remove(
    db: &mut SqliteConnection,
    route: &RouteId,
    before: Option<&RouteIdentity>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(before) = before else { return Ok(()) };
    sqlx::query("DELETE FROM route_identities WHERE route_id = ?1")
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
    db: &mut SqliteConnection,
    trust: &TrustId,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO identity_revocations (trust_id, attempts, not_before) VALUES (?1, 0, ?2) ON CONFLICT (trust_id) DO NOTHING")
        .bind(trust.as_str())
        .bind(now.0)
        .execute(db)
        .await
        .context("noting a trust to revoke")?;
    Ok(())
}

/// Trusts to revoke now, those that waited longest first.
pub(super) async fn list_revocations(
    db: impl SqliteExecutor<'_>,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<TrustRevocation>, StoreError> {
    let rows = sqlx::query(
        "SELECT trust_id, attempts FROM identity_revocations WHERE not_before <= ?1 ORDER BY not_before LIMIT ?2",
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
    db: &mut SqliteConnection,
    trust: &TrustId,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE identity_revocations SET attempts = attempts + 1, not_before = ?1 WHERE trust_id = ?2",
    )
    .bind(until.0)
    .bind(trust.as_str())
    .execute(db)
    .await
    .context("putting a revocation off")?;
    Ok(())
}

/// The trust is gone.
pub(super) async fn forget_revocation(db: &mut SqliteConnection, trust: &TrustId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM identity_revocations WHERE trust_id = ?1")
        .bind(trust.as_str())
        .execute(db)
        .await
        .context("forgetting a revoked trust")?;
    Ok(())
}
