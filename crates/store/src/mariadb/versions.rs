//! What versions need to know of MariaDB; the statements are in `version_sql/`.

use std::borrow::Cow::Borrowed as storable;

use picasso_types::{InstanceId, Timestamp, VersionId};
use sqlx::{MySqlConnection as Connection, MySqlExecutor as Executor};

use super::apps::{lock_of_route as lock_app_of_route, lock_of_version as lock_app_of_version};
use super::{changes, identities};
use crate::StoreError;
use crate::error::Context as _;
use crate::placeholders::as_written as sql;

#[path = "../version_sql/mod.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod statements;
pub(super) use statements::*;

/// Takes or extends the lease of a version's preparation; `false` when another holds it, or there is
/// nothing to prepare any more.
pub(super) async fn lease_preparation(
    db: &mut Connection,
    id: &VersionId,
    owner: &InstanceId,
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, StoreError> {
    // What was matched is counted, not what was different.
    let held = sqlx::query(
        "UPDATE preparations p JOIN route_versions v ON v.id = p.version_id AND v.state = 'preparing' \
         SET p.lease_owner = ?, p.lease_until = ? \
         WHERE p.version_id = ? AND (p.lease_owner = ? OR p.lease_until <= ?)",
    )
    .bind(owner.as_str())
    .bind(until.0)
    .bind(id.as_str())
    .bind(owner.as_str())
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("extending the lease of a preparation")?;
    if held.rows_affected() > 0 {
        return Ok(true);
    }
    let taken = sqlx::query(
        "INSERT INTO preparations (version_id, lease_owner, lease_until) \
         SELECT v.id, ?, ? FROM route_versions v WHERE v.id = ? AND v.state = 'preparing' \
         AND NOT EXISTS (SELECT 1 FROM preparations p WHERE p.version_id = v.id)",
    )
    .bind(owner.as_str())
    .bind(until.0)
    .bind(id.as_str())
    .execute(db)
    .await;
    match taken {
        Ok(taken) => Ok(taken.rows_affected() > 0),
        // Another was first.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Ok(false),
        Err(error) => Err(error).context("leasing a preparation"),
    }
}
