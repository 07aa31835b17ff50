//! Triggers that somebody asks for, one or all of a kind.

use picasso_types::trigger::{Trigger, TriggerType};
use picasso_types::{AppId, ProjectId, TriggerId};
use sqlx::query;

use super::rows::{integer, of_row, readable, select};
use super::{Connection, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::rows::column;
use crate::unreadable::Unreadable;

pub(crate) async fn get(
    db: &mut Connection,
    project: &ProjectId,
    name_or_id: &str,
) -> Result<Trigger, StoreError> {
    let row = query(select!("WHERE t.project_id = ? AND (t.name = ? OR t.id = ?)"))
        .bind(project.as_str())
        .bind(name_or_id)
        .bind(name_or_id)
        .fetch_optional(db)
        .await
        .context("loading a trigger")?;
    of_row(&row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn load(db: &mut Connection, id: &TriggerId) -> Result<Trigger, StoreError> {
    load_text(db, id.as_str()).await
}

pub(super) async fn load_text(db: &mut Connection, id: &str) -> Result<Trigger, StoreError> {
    let row =
        query(select!("WHERE t.id = ?")).bind(id).fetch_optional(db).await.context("loading a trigger")?;
    of_row(&row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn get_by_hook(db: &mut Connection, hash: &str) -> Result<Trigger, StoreError> {
    let row = query(select!("WHERE t.hook_hash = ?"))
        .bind(hash)
        .fetch_optional(db)
        .await
        .context("loading a webhook")?;
    of_row(&row.ok_or(StoreError::NotFound)?)
}

pub(crate) async fn list(
    db: &mut Connection,
    project: &ProjectId,
    unreadable: &Unreadable,
) -> Result<Vec<Trigger>, StoreError> {
    let rows = query(select!("WHERE t.project_id = ? ORDER BY t.name"))
        .bind(project.as_str())
        .fetch_all(db)
        .await
        .context("listing triggers")?;
    readable(&rows, unreadable)
}

pub(crate) async fn list_of_kind(
    db: &mut Connection,
    kind: TriggerType,
    after: Option<&TriggerId>,
    limit: u32,
    unreadable: &Unreadable,
) -> Result<Vec<Trigger>, StoreError> {
    let mut after = after.map_or("", TriggerId::as_str).to_owned();
    let mut page = Vec::new();
    // Until it is full, whatever is left out: a page that is not is the last one.
    loop {
        let missing = i64::from(limit) - integer(page.len() as u64);
        let rows = query(select!("WHERE t.kind = ? AND t.id > ? ORDER BY t.id LIMIT ?"))
            .bind(kind.as_str())
            .bind(&after)
            .bind(missing)
            .fetch_all(&mut *db)
            .await
            .context("listing the triggers of a kind")?;
        page.extend(readable(&rows, unreadable)?);
        match rows.last() {
            Some(last) if integer(rows.len() as u64) == missing && page.len() < limit as usize => {
                after = column(last, "id")?;
            }
            _ => return Ok(page),
        }
    }
}

pub(crate) async fn list_of_app(
    db: &mut Connection,
    app: &AppId,
    unreadable: &Unreadable,
) -> Result<Vec<Trigger>, StoreError> {
    let rows = query(select!("WHERE t.app_id = ? ORDER BY t.id"))
        .bind(app.as_str())
        .fetch_all(db)
        .await
        .context("listing an app's triggers")?;
    readable(&rows, unreadable)
}

pub(crate) async fn count(db: &mut Connection, project: &ProjectId) -> Result<u64, StoreError> {
    let row = query(sql("SELECT count(*) AS triggers FROM triggers WHERE project_id = ?"))
        .bind(project.as_str())
        .fetch_one(db)
        .await
        .context("counting triggers")?;
    Ok(column::<i64>(&row, "triggers")?.unsigned_abs())
}
