//! What people and the service change of triggers.

use picasso_types::text::cut;
use picasso_types::trigger::{MAX_REASON, NewTrigger, Trigger, TriggerChange, TriggerIdentity, TriggerState};
use picasso_types::{OverLimit, Resource, RouteId, Sealed, Selector, Timestamp, TriggerId, TrustId};
use sqlx::query;

use super::find::load;
use super::rows::integer;
use super::{Connection, changes, identities, lock_project, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::rows::{json, number, to_json};

pub(crate) async fn create(
    db: &mut Connection,
    new: &NewTrigger,
    max_triggers: u32,
    now: Timestamp,
) -> Result<Trigger, StoreError> {
    lock_project(db, &new.project_id).await?;
    let there =
        query(sql("SELECT count(*) AS triggers, count(CASE WHEN name = ? THEN 1 END) AS of_the_name \
         FROM triggers WHERE project_id = ?"))
        .bind(new.spec.name.as_str())
        .bind(new.project_id.as_str())
        .fetch_one(&mut *db)
        .await
        .context("counting triggers")?;
    if number::<i64>(&there, "of_the_name")? > 0 {
        return Err(StoreError::TriggerExists);
    }
    let triggers: u64 = number(&there, "triggers")?;
    OverLimit::check(&new.project_id, Resource::Triggers, max_triggers.into(), triggers, 1)?;
    // Of the app and the project that the trigger says: a route of another one is not found.
    let belongs = query(sql("SELECT r.id FROM routes r JOIN apps a ON a.id = r.app_id \
         WHERE r.id = ? AND a.id = ? AND a.project_id = ?"))
    .bind(new.spec.route_id.as_str())
    .bind(new.spec.app_id.as_str())
    .bind(new.project_id.as_str())
    .fetch_optional(&mut *db)
    .await
    .context("looking for a trigger's route")?;
    belongs.ok_or(StoreError::NotFound)?;
    let spec = &new.spec;
    let state = if new.enabled { TriggerState::Active } else { TriggerState::Paused };
    query(sql(
        "INSERT INTO triggers (id, project_id, app_id, route_id, name, selector, kind, options, filter, input, \
         state, next_at, lease_until, hook_hash, hook_key, identity, fired, revision, created_by, updated_by, \
         created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, 0, 1, ?, ?, ?, ?)",
    ))
    .bind(new.id.as_str())
    .bind(new.project_id.as_str())
    .bind(spec.app_id.as_str())
    .bind(spec.route_id.as_str())
    .bind(spec.name.as_str())
    .bind(spec.selector.as_ref().map(Selector::to_string))
    .bind(spec.kind.trigger_type().as_str())
    .bind(spec.kind.options().to_string())
    .bind(to_json("filter", &spec.filter)?)
    .bind(spec.input.as_ref().map(|input| to_json("input", input)).transpose()?)
    .bind(state.as_str())
    .bind(new.next_at.map(|at| at.0))
    .bind(new.hook_hash.as_deref())
    .bind(new.hook_key.as_ref().map(|key| to_json("hook_key", key)).transpose()?)
    .bind(new.identity.as_ref().map(|identity| to_json("identity", identity)).transpose()?)
    .bind(new.created_by.as_str())
    .bind(new.created_by.as_str())
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("storing a trigger")?;
    let made = load(db, &new.id).await?;
    changes::note(db, &spec.app_id, now).await?;
    Ok(made)
}

pub(crate) async fn update(
    db: &mut Connection,
    id: &TriggerId,
    revision: u64,
    change: &TriggerChange,
    now: Timestamp,
) -> Result<Trigger, StoreError> {
    let before = load(db, id).await?;
    lock_project(db, &before.project_id).await?;
    let spec = &change.spec;
    let others = query(sql("SELECT id FROM triggers WHERE project_id = ? AND name = ? AND id <> ?"))
        .bind(before.project_id.as_str())
        .bind(spec.name.as_str())
        .bind(id.as_str())
        .fetch_optional(&mut *db)
        .await
        .context("looking for another trigger of the name")?;
    if others.is_some() {
        return Err(StoreError::TriggerExists);
    }
    let changed = query(sql(
        "UPDATE triggers SET name = ?, route_id = ?, app_id = ?, selector = ?, options = ?, filter = ?, input = ?, \
         state = ?, state_reason = NULL, next_at = ?, progress = ?, hook_key = ?, identity = ?, \
         lease_owner = NULL, lease_until = 0, revision = revision + 1, updated_by = ?, updated_at = ? \
         WHERE id = ? AND revision = ?",
    ))
    .bind(spec.name.as_str())
    .bind(spec.route_id.as_str())
    .bind(spec.app_id.as_str())
    .bind(spec.selector.as_ref().map(Selector::to_string))
    .bind(spec.kind.options().to_string())
    .bind(to_json("filter", &spec.filter)?)
    .bind(spec.input.as_ref().map(|input| to_json("input", input)).transpose()?)
    .bind(change.state.as_str())
    .bind(change.next_at.map(|at| at.0))
    .bind(change.progress.as_deref())
    .bind(change.hook_key.as_ref().map(|key| to_json("hook_key", key)).transpose()?)
    .bind(change.identity.as_ref().map(|identity| to_json("identity", identity)).transpose()?)
    .bind(change.updated_by.as_str())
    .bind(now.0)
    .bind(id.as_str())
    .bind(integer(revision))
    .execute(&mut *db)
    .await
    .context("changing a trigger")?;
    if changed.rows_affected() == 0 {
        return Err(StoreError::Changed);
    }
    let after = load(db, id).await?;
    changes::note(db, &before.spec.app_id, now).await?;
    if after.spec.app_id != before.spec.app_id {
        changes::note(db, &after.spec.app_id, now).await?;
    }
    Ok(after)
}

pub(crate) async fn rotate_hook(
    db: &mut Connection,
    id: &TriggerId,
    revision: u64,
    (hash, key): (&str, Option<&Sealed>),
    updated_by: &str,
    now: Timestamp,
) -> Result<Trigger, StoreError> {
    let changed = query(sql(
        "UPDATE triggers SET hook_hash = ?, hook_key = ?, revision = revision + 1, updated_by = ?, \
         updated_at = ? WHERE id = ? AND revision = ?",
    ))
    .bind(hash)
    .bind(key.map(|key| to_json("hook_key", key)).transpose()?)
    .bind(updated_by)
    .bind(now.0)
    .bind(id.as_str())
    .bind(integer(revision))
    .execute(&mut *db)
    .await
    .context("giving a webhook a new URL")?;
    let after = load(db, id).await?;
    if changed.rows_affected() == 0 {
        return Err(StoreError::Changed);
    }
    changes::note(db, &after.spec.app_id, now).await?;
    Ok(after)
}

pub(crate) async fn set_state(
    db: &mut Connection,
    id: &TriggerId,
    revision: u64,
    (state, reason): (TriggerState, Option<&str>),
    now: Timestamp,
) -> Result<(), StoreError> {
    let changed = query(sql("UPDATE triggers SET state = ?, state_reason = ? WHERE id = ? AND revision = ?"))
        .bind(state.as_str())
        .bind(reason.map(|reason| cut(reason, MAX_REASON)))
        .bind(id.as_str())
        .bind(integer(revision))
        .execute(&mut *db)
        .await
        .context("putting a trigger into a state")?;
    if changed.rows_affected() > 0 {
        let app = load(db, id).await?.spec.app_id;
        changes::note(db, &app, now).await?;
    }
    Ok(())
}

pub(crate) async fn delete(db: &mut Connection, id: &TriggerId, now: Timestamp) -> Result<(), StoreError> {
    let app = load(db, id).await?.spec.app_id;
    query(sql("DELETE FROM triggers WHERE id = ?"))
        .bind(id.as_str())
        .execute(&mut *db)
        .await
        .context("deleting a trigger")?;
    changes::note(db, &app, now).await
}

/// What the deletion of a route leaves of its triggers: trusts that are to be revoked.
pub(crate) async fn leave_trusts(
    db: &mut Connection,
    route: &RouteId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = query(sql("SELECT identity FROM triggers WHERE route_id = ? AND identity IS NOT NULL"))
        .bind(route.as_str())
        .fetch_all(&mut *db)
        .await
        .context("looking for trusts of a route's triggers")?;
    for row in &rows {
        let identity: TriggerIdentity = json(row, "identity")?;
        let trust = TrustId::parse(&identity.trust_id)
            .map_err(|fault| StoreError::Damaged { what: "identity", detail: fault.to_string() })?;
        identities::add_revocation(db, &trust, now).await?;
    }
    Ok(())
}
