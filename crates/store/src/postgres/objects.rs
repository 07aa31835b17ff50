//! Objects outside the database, and what is kept of ended calls in and outside of it.

use picasso_types::{
    CallId, InstanceId, KeptObject, NewObject, ObjectId, ProjectId, RemovableObject, Timestamp,
};
use sqlx::{PgConnection, PgPool};

use crate::error::Context as _;
use crate::rows::{number, parsed};
use crate::{KeptOutputs, StoreError};

pub(super) async fn begin(db: &mut PgConnection, new: &NewObject) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO kept_objects (id, project_id, node, parts, remove_after) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(new.id.as_str())
    .bind(new.project_id.as_str())
    .bind(new.node.as_ref().map(InstanceId::as_str))
    .bind(i64::from(new.max_parts))
    .bind(new.remove_after.0)
    .execute(db)
    .await
    .context("writing an object down")?;
    Ok(())
}

/// Objects belong to a call that has ended.
pub(super) async fn give_to_call(
    db: &mut PgConnection,
    call: &CallId,
    objects: &[KeptObject],
) -> Result<(), StoreError> {
    for object in objects {
        sqlx::query("UPDATE kept_objects SET call_id = $1, parts = $2, remove_after = 0 WHERE id = $3")
            .bind(call.as_str())
            .bind(i64::from(object.parts))
            .bind(object.id.as_str())
            .execute(&mut *db)
            .await
            .context("giving an object to its call")?;
    }
    Ok(())
}

pub(super) async fn abandon(db: &mut PgConnection, ids: &[ObjectId]) -> Result<(), StoreError> {
    for id in ids {
        sqlx::query("UPDATE kept_objects SET remove_after = 0 WHERE id = $1 AND call_id IS NULL")
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("abandoning an object")?;
    }
    Ok(())
}

pub(super) async fn list_removable(
    db: &PgPool,
    node: &InstanceId,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<RemovableObject>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, project_id, parts FROM kept_objects \
         WHERE call_id IS NULL AND remove_after <= $1 AND (node IS NULL OR node = $2) \
         ORDER BY remove_after LIMIT $3",
    )
    .bind(now.0)
    .bind(node.as_str())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing objects to remove")?;
    rows.iter()
        .map(|row| {
            Ok(RemovableObject {
                id: parsed(row, "id", ObjectId::parse)?,
                project_id: parsed(row, "project_id", ProjectId::stored)?,
                parts: number(row, "parts")?,
            })
        })
        .collect()
}

pub(super) async fn forget(db: &mut PgConnection, ids: &[ObjectId]) -> Result<(), StoreError> {
    for id in ids {
        sqlx::query("DELETE FROM kept_objects WHERE id = $1 AND call_id IS NULL")
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("forgetting an object")?;
    }
    Ok(())
}

/// Deletes a call's result and log; its objects are removable from now on.
pub(super) async fn delete_output(db: &mut PgConnection, call: &CallId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM call_outputs WHERE call_id = $1",
        "UPDATE kept_objects SET call_id = NULL WHERE call_id = $1",
        "UPDATE calls SET output_bytes = 0 WHERE id = $1 AND output_bytes > 0",
    ] {
        sqlx::query(statement)
            .bind(call.as_str())
            .execute(&mut *db)
            .await
            .context("deleting a call's output")?;
    }
    Ok(())
}

/// The projects that keep most, up to `limit`.
pub(super) async fn list_kept(db: &PgPool, limit: u32) -> Result<Vec<KeptOutputs>, StoreError> {
    let rows = sqlx::query(
        "SELECT project_id, CAST(SUM(output_bytes) AS BIGINT) AS kept_bytes FROM calls WHERE output_bytes > 0 \
         GROUP BY project_id ORDER BY kept_bytes DESC LIMIT $1",
    )
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("measuring what is kept")?;
    rows.iter()
        .map(|row| {
            Ok(KeptOutputs {
                project_id: parsed(row, "project_id", ProjectId::stored)?,
                bytes: number(row, "kept_bytes")?,
            })
        })
        .collect()
}

/// Bytes that a project keeps.
pub(super) async fn kept_of_project(db: &PgPool, project: &ProjectId) -> Result<u64, StoreError> {
    let kept: Option<i64> = sqlx::query_scalar(
        "SELECT CAST(SUM(output_bytes) AS BIGINT) FROM calls WHERE project_id = $1 AND output_bytes > 0",
    )
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("measuring what a project keeps")?;
    Ok(kept.unwrap_or_default().unsigned_abs())
}

/// The calls whose outputs make their project's more than `max_bytes`, up to `limit`.
pub(super) async fn list_beyond(
    db: &PgPool,
    project: &ProjectId,
    max_bytes: u64,
    limit: u32,
) -> Result<Vec<CallId>, StoreError> {
    // Of the newest that fit, none; the oldest have the most bytes that are newer.
    let rows = sqlx::query(
        "SELECT id FROM (SELECT id, SUM(output_bytes) OVER (ORDER BY finished_at DESC, id DESC) AS newer \
         FROM calls WHERE project_id = $1 AND output_bytes > 0) AS kept \
         WHERE newer > $2 ORDER BY newer DESC LIMIT $3",
    )
    .bind(project.as_str())
    .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing what is beyond the limit")?;
    rows.iter().map(|row| parsed(row, "id", CallId::parse)).collect()
}

pub(super) async fn delete_outputs(db: &mut PgConnection, calls: &[CallId]) -> Result<u64, StoreError> {
    for call in calls {
        delete_output(db, call).await?;
    }
    Ok(calls.len() as u64)
}
