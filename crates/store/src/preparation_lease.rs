//! The lease of a version's preparation, where one statement takes or extends it (SQLite, PostgreSQL).
//!
//! Compiled once for each such driver, as `trigger_sql` is.

use picasso_types::{InstanceId, Timestamp, VersionId};
use sqlx::query;

use super::{Executor, sql};
use crate::StoreError;
use crate::error::Context as _;

/// Takes or extends the lease of a version's preparation; `false` when another holds it, or there is
/// nothing to prepare any more.
pub(crate) async fn lease_preparation(
    db: impl Executor<'_>,
    id: &VersionId,
    owner: &InstanceId,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let held = query(sql("INSERT INTO preparations (version_id, lease_owner, lease_until) \
         SELECT id, ?, ? FROM route_versions WHERE id = ? AND state = 'preparing' \
         ON CONFLICT (version_id) DO UPDATE SET lease_owner = excluded.lease_owner, \
         lease_until = excluded.lease_until \
         WHERE preparations.lease_owner = excluded.lease_owner OR preparations.lease_until <= ?"))
    .bind(owner.as_str())
    .bind(until.0)
    .bind(id.as_str())
    .bind(now.0)
    .execute(db)
    .await
    .context("leasing a preparation")?;
    Ok(held.rows_affected() > 0)
}
