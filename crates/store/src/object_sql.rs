//! The SQL of objects outside the database, and of what is kept of ended calls in and outside of it.
//!
//! Compiled once for each driver (`mod objects` in its folder), as `trigger_sql` is.

use picasso_types::{
    CallId, InstanceId, KeptObject, NewObject, ObjectId, ProjectId, RemovableObject, Timestamp,
};
use sqlx::{query, query_scalar};

use super::{Connection, Executor, sql};
use crate::error::Context as _;
use crate::rows::{number, parsed};
use crate::{KeptOutputs, StoreError};

pub(crate) async fn begin(db: &mut Connection, new: &NewObject) -> Result<(), StoreError> {
    query(sql("INSERT INTO kept_objects (id, project_id, node, parts, remove_after) VALUES (?, ?, ?, ?, ?)"))
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
pub(crate) async fn give_to_call(
    db: &mut Connection,
    call: &CallId,
    objects: &[KeptObject],
) -> Result<(), StoreError> {
    for object in objects {
        query(sql("UPDATE kept_objects SET call_id = ?, parts = ?, remove_after = 0 WHERE id = ?"))
            .bind(call.as_str())
            .bind(i64::from(object.parts))
            .bind(object.id.as_str())
            .execute(&mut *db)
            .await
            .context("giving an object to its call")?;
    }
    Ok(())
}

pub(crate) async fn abandon(db: &mut Connection, ids: &[ObjectId]) -> Result<(), StoreError> {
    for id in ids {
        query(sql("UPDATE kept_objects SET remove_after = 0 WHERE id = ? AND call_id IS NULL"))
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("abandoning an object")?;
    }
    Ok(())
}

pub(crate) async fn list_removable(
    db: impl Executor<'_>,
    node: &InstanceId,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<RemovableObject>, StoreError> {
    let rows = query(sql("SELECT id, project_id, parts FROM kept_objects \
         WHERE call_id IS NULL AND remove_after <= ? AND (node IS NULL OR node = ?) \
         ORDER BY remove_after LIMIT ?"))
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

pub(crate) async fn forget(db: &mut Connection, ids: &[ObjectId]) -> Result<(), StoreError> {
    for id in ids {
        query(sql("DELETE FROM kept_objects WHERE id = ? AND call_id IS NULL"))
            .bind(id.as_str())
            .execute(&mut *db)
            .await
            .context("forgetting an object")?;
    }
    Ok(())
}

/// Deletes a call's result and log; its objects are removable from now on.
pub(crate) async fn delete_output(db: &mut Connection, call: &CallId) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM call_outputs WHERE call_id = ?",
        "UPDATE kept_objects SET call_id = NULL WHERE call_id = ?",
        "UPDATE calls SET output_bytes = 0 WHERE id = ? AND output_bytes > 0",
    ] {
        query(sql(statement))
            .bind(call.as_str())
            .execute(&mut *db)
            .await
            .context("deleting a call's output")?;
    }
    Ok(())
}

/// The projects that keep most, up to `limit`.
pub(crate) async fn list_kept(db: impl Executor<'_>, limit: u32) -> Result<Vec<KeptOutputs>, StoreError> {
    let rows = query(sql(concat!(
        "SELECT project_id, ",
        sum!("output_bytes"),
        " AS kept_bytes FROM calls WHERE output_bytes > 0 \
         GROUP BY project_id ORDER BY kept_bytes DESC LIMIT ?"
    )))
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
pub(crate) async fn kept_of_project(db: impl Executor<'_>, project: &ProjectId) -> Result<u64, StoreError> {
    let kept: Option<i64> = query_scalar(sql(concat!(
        "SELECT ",
        sum!("output_bytes"),
        " FROM calls WHERE project_id = ? AND output_bytes > 0"
    )))
    .bind(project.as_str())
    .fetch_one(db)
    .await
    .context("measuring what a project keeps")?;
    Ok(kept.unwrap_or_default().unsigned_abs())
}

/// The calls whose outputs make their project's more than `max_bytes`, up to `limit`.
pub(crate) async fn list_beyond(
    db: impl Executor<'_>,
    project: &ProjectId,
    max_bytes: u64,
    limit: u32,
) -> Result<Vec<CallId>, StoreError> {
    // Of the newest that fit, none; the oldest have the most bytes that are newer.
    let rows = query(sql(
        "SELECT id FROM (SELECT id, SUM(output_bytes) OVER (ORDER BY finished_at DESC, id DESC) AS newer \
         FROM calls WHERE project_id = ? AND output_bytes > 0) AS kept \
         WHERE newer > ? ORDER BY newer DESC LIMIT ?",
    ))
    .bind(project.as_str())
    .bind(i64::try_from(max_bytes).unwrap_or(i64::MAX))
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing what is beyond the limit")?;
    rows.iter().map(|row| parsed(row, "id", CallId::parse)).collect()
}

pub(crate) async fn delete_outputs(db: &mut Connection, calls: &[CallId]) -> Result<u64, StoreError> {
    for call in calls {
        delete_output(db, call).await?;
    }
    Ok(calls.len() as u64)
}
