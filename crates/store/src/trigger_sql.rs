//! The SQL of triggers and their firings.
//!
//! Compiled once for each driver (`mod triggers` in its folder), which says how its database writes
//! placeholders ([`super::sql`]), what it locks, and what its connections are called: the statements
//! are the same everywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use picasso_types::trigger::{
    Filter, Firing, FiringOutcome, InputTemplate, MAX_REASON, NewFiring, NewTrigger, Trigger, TriggerChange,
    TriggerIdentity, TriggerKind, TriggerName, TriggerSpec, TriggerState, TriggerType,
};
use picasso_types::{
    AppId, CallId, FiringId, InstanceId, OverLimit, ProjectId, Resource, RouteId, Sealed, Selector,
    Timestamp, TriggerId, TrustId,
};
use sqlx::query;

use super::{Connection, changes, identities, lock_project, sql};
use crate::call_writes::{Planning, in_lock_order};
use crate::error::Context as _;
use crate::rows::{Columns, column, json, optional_json, parsed, to_json};
use crate::{StoreError, TriggerPlan};

#[path = "firing_sql.rs"]
#[expect(clippy::duplicate_mod, reason = "one text of SQL for every database")]
mod firing_sql;

macro_rules! select {
    ($rest:literal) => {
        sql(concat!(
            "SELECT t.id, t.project_id, t.app_id, t.route_id, t.name, t.selector, t.kind, t.options, \
             t.filter, t.input, t.state, t.state_reason, t.next_at, t.progress, t.hook_hash, t.hook_key, \
             t.identity, t.fired, t.last_fired_at, t.revision, t.created_by, t.updated_by, t.created_at, \
             t.updated_at, a.full_name AS app_name, r.pattern AS route_path \
             FROM triggers t JOIN apps a ON a.id = t.app_id JOIN routes r ON r.id = t.route_id ",
            $rest
        ))
    };
}

pub(crate) async fn create(
    db: &mut Connection,
    new: &NewTrigger,
    max_triggers: u32,
    now: Timestamp,
) -> Result<Trigger, StoreError> {
    lock_project(db, &new.project_id).await?;
    let there = query(sql("SELECT name FROM triggers WHERE project_id = ?"))
        .bind(new.project_id.as_str())
        .fetch_all(&mut *db)
        .await
        .context("counting triggers")?;
    for row in &there {
        if column::<&str>(row, "name")? == new.spec.name.as_str() {
            return Err(StoreError::TriggerExists);
        }
    }
    OverLimit::check(&new.project_id, Resource::Triggers, max_triggers.into(), there.len() as u64, 1)?;
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
    let row = query(select!("WHERE t.id = ?"))
        .bind(id.as_str())
        .fetch_optional(db)
        .await
        .context("loading a trigger")?;
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

pub(crate) async fn list(db: &mut Connection, project: &ProjectId) -> Result<Vec<Trigger>, StoreError> {
    let rows = query(select!("WHERE t.project_id = ? ORDER BY t.name"))
        .bind(project.as_str())
        .fetch_all(db)
        .await
        .context("listing triggers")?;
    rows.iter().map(of_row).collect()
}

pub(crate) async fn list_of_kind(
    db: &mut Connection,
    kind: TriggerType,
    after: Option<&TriggerId>,
    limit: u32,
) -> Result<Vec<Trigger>, StoreError> {
    let rows = query(select!("WHERE t.kind = ? AND t.id > ? ORDER BY t.id LIMIT ?"))
        .bind(kind.as_str())
        .bind(after.map_or("", TriggerId::as_str))
        .bind(i64::from(limit))
        .fetch_all(db)
        .await
        .context("listing the triggers of a kind")?;
    rows.iter().map(of_row).collect()
}

pub(crate) async fn list_of_app(db: &mut Connection, app: &AppId) -> Result<Vec<Trigger>, StoreError> {
    let rows = query(select!("WHERE t.app_id = ? ORDER BY t.id"))
        .bind(app.as_str())
        .fetch_all(db)
        .await
        .context("listing an app's triggers")?;
    rows.iter().map(of_row).collect()
}

pub(crate) async fn count(db: &mut Connection, project: &ProjectId) -> Result<u64, StoreError> {
    let row = query(sql("SELECT count(*) AS triggers FROM triggers WHERE project_id = ?"))
        .bind(project.as_str())
        .fetch_one(db)
        .await
        .context("counting triggers")?;
    Ok(column::<i64>(&row, "triggers")?.unsigned_abs())
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

/// Those that may be taken; whoever gets one is decided by [`take`].
pub(crate) async fn list_due(
    db: &mut Connection,
    kind: TriggerType,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<TriggerId>, StoreError> {
    // In the order of the index: of those that are due at one time no other is asked for, for which all of
    // them would be sorted.
    let rows = query(sql(
        "SELECT id FROM triggers WHERE kind = ? AND state = 'active' AND next_at <= ? AND lease_until <= ? \
         ORDER BY next_at LIMIT ?",
    ))
    .bind(kind.as_str())
    .bind(now.0)
    .bind(now.0)
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("looking for due triggers")?;
    rows.iter().map(|row| parsed(row, "id", TriggerId::parse)).collect()
}

/// Takes a trigger that is (still) due and that nobody holds.
async fn take(
    db: &mut Connection,
    id: &TriggerId,
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Option<Trigger>, StoreError> {
    let taken = query(sql("UPDATE triggers SET lease_owner = ?, lease_until = ? \
         WHERE id = ? AND state = 'active' AND next_at <= ? AND lease_until <= ?"))
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(id.as_str())
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("taking a due trigger")?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    load(db, id).await.map(Some)
}

/// Takes those of the triggers that are (still) due and that nobody holds; they come in their order.
///
/// One transaction for all: a commit for each would be most of what a due trigger costs. Rows are locked
/// in the order of their ids, so two processes that want the same ones do not wait for each other in a
/// ring.
pub(crate) async fn take_all(
    db: &mut Connection,
    due: &[TriggerId],
    owner: &InstanceId,
    lease_until: Timestamp,
    now: Timestamp,
) -> Result<Vec<Trigger>, StoreError> {
    let mut by_id: Vec<(usize, &TriggerId)> = due.iter().enumerate().collect();
    by_id.sort_by_key(|(_, id)| *id);
    let mut taken = Vec::with_capacity(due.len());
    for (place, id) in by_id {
        if let Some(trigger) = take(db, id, owner, lease_until, now).await? {
            taken.push((place, trigger));
        }
    }
    taken.sort_by_key(|(place, _)| *place);
    Ok(taken.into_iter().map(|(_, trigger)| trigger).collect())
}

pub(crate) async fn hold(
    db: &mut Connection,
    trigger: &Trigger,
    owner: &InstanceId,
    lease_until: Timestamp,
) -> Result<bool, StoreError> {
    let held =
        query(sql("UPDATE triggers SET lease_until = ? WHERE id = ? AND revision = ? AND lease_owner = ?"))
            .bind(lease_until.0)
            .bind(trigger.id.as_str())
            .bind(integer(trigger.revision))
            .bind(owner.as_str())
            .execute(db)
            .await
            .context("holding a trigger longer")?;
    Ok(held.rows_affected() > 0)
}

async fn plan(
    db: &mut Connection,
    trigger: &Trigger,
    owner: &InstanceId,
    plan: &TriggerPlan,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let (state, reason) = match &plan.state {
        Some((state, reason)) => (Some(state.as_str()), reason.as_deref()),
        // Somebody may have stopped it meanwhile: that stays.
        None => (None, None),
    };
    let planned = query(sql("UPDATE triggers SET next_at = ?, progress = ?, \
         state_reason = CASE WHEN ? IS NULL THEN state_reason ELSE ? END, state = coalesce(?, state), \
         lease_owner = NULL, lease_until = 0 WHERE id = ? AND revision = ? AND lease_owner = ?"))
    .bind(plan.next_at.map(|at| at.0))
    .bind(plan.progress.as_deref())
    .bind(state)
    .bind(reason.map(|reason| cut(reason, MAX_REASON)))
    .bind(state)
    .bind(trigger.id.as_str())
    .bind(integer(trigger.revision))
    .bind(owner.as_str())
    .execute(&mut *db)
    .await
    .context("planning a trigger")?;
    if planned.rows_affected() == 0 {
        return Ok(false);
    }
    if state.is_some() {
        changes::note(db, &trigger.spec.app_id, now).await?;
    }
    Ok(true)
}

/// [`plan`] of many.
pub(crate) async fn plan_all(
    db: &mut Connection,
    plans: &[Arc<Planning>],
    now: Timestamp,
) -> Result<Vec<Result<bool, StoreError>>, StoreError> {
    let mut planned: Vec<_> = plans.iter().map(|_| Ok(false)).collect();
    for (place, Planning { trigger, owner, plan: next }) in in_lock_order(plans) {
        planned[place] = Ok(plan(db, trigger, owner, next, now).await?);
    }
    Ok(planned)
}

/// When the first active trigger of a kind can be taken.
pub(crate) async fn next_due(
    db: &mut Connection,
    kind: TriggerType,
) -> Result<Option<Timestamp>, StoreError> {
    // Both walk the index from its start and end soon: before the first that nobody holds there are only
    // those that are held. A look at all schedules for each that is due would cost more than its call.
    let free = query(sql("SELECT next_at AS due FROM triggers WHERE kind = ? AND state = 'active' \
         AND next_at IS NOT NULL AND lease_until <= next_at ORDER BY next_at LIMIT 1"))
    .bind(kind.as_str())
    .fetch_optional(&mut *db)
    .await
    .context("looking for the next due trigger")?;
    let free = free.map(|row| column::<i64>(&row, "due")).transpose()?;
    let held =
        query(sql("SELECT min(lease_until) AS due FROM triggers WHERE kind = ? AND state = 'active' \
         AND next_at < ? AND lease_until > next_at"))
        .bind(kind.as_str())
        .bind(free.unwrap_or(i64::MAX))
        .fetch_one(db)
        .await
        .context("looking for the first lease of a trigger that ends")?;
    let held: Option<i64> = column(&held, "due")?;
    Ok([free, held].into_iter().flatten().min().map(Timestamp))
}

pub(crate) async fn record(db: &mut Connection, firings: &[NewFiring], keep: u32) -> Result<(), StoreError> {
    // In the order of the triggers' ids, so that two processes do not wait for each other's rows.
    let mut of_triggers: BTreeMap<&str, Vec<&NewFiring>> = BTreeMap::new();
    for firing in firings {
        of_triggers.entry(firing.trigger_id.as_str()).or_default().push(firing);
    }
    let (mut held, mut of_held) = (Vec::with_capacity(of_triggers.len()), Vec::with_capacity(firings.len()));
    for (trigger, firings) in of_triggers {
        let accepted = firings.iter().filter(|firing| firing.outcome == FiringOutcome::Accepted);
        let last = accepted.clone().map(|firing| firing.at.0).max();
        let counted = query(sql("UPDATE triggers SET fired = fired + ?, last_fired_at = CASE \
             WHEN last_fired_at IS NULL OR last_fired_at < ? THEN ? ELSE last_fired_at END WHERE id = ?"))
        .bind(integer(accepted.count() as u64))
        .bind(last.unwrap_or(i64::MIN))
        .bind(last)
        .bind(trigger)
        .execute(&mut *db)
        .await
        .context("counting firings")?;
        // Held until the end of the transaction: no firing of a trigger that goes meanwhile.
        if counted.rows_affected() > 0 {
            held.push(trigger);
            of_held.extend(firings);
        }
    }
    firing_sql::insert(&mut *db, &of_held).await?;
    firing_sql::leave_newest(db, &held, keep).await
}

pub(crate) async fn list_firings(
    db: &mut Connection,
    trigger: &TriggerId,
    limit: u32,
) -> Result<Vec<Firing>, StoreError> {
    let rows = query(sql("SELECT id, event_id, outcome, reason, call_id, fired_at FROM trigger_firings \
         WHERE trigger_id = ? ORDER BY id DESC LIMIT ?"))
    .bind(trigger.as_str())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await
    .context("listing firings")?;
    rows.iter().map(firing_of_row).collect()
}

fn firing_of_row(row: &impl Columns) -> Result<Firing, StoreError> {
    let call: Option<&str> = column(row, "call_id")?;
    Ok(Firing {
        id: parsed(row, "id", FiringId::parse)?,
        event_id: column(row, "event_id")?,
        outcome: parsed(row, "outcome", FiringOutcome::parse)?,
        reason: column(row, "reason")?,
        call_id: call.map(|_| parsed(row, "call_id", CallId::parse)).transpose()?,
        at: Timestamp(column(row, "fired_at")?),
    })
}

fn of_row(row: &impl Columns) -> Result<Trigger, StoreError> {
    let kind = parsed(row, "kind", TriggerType::parse)?;
    let kind = TriggerKind::parse(kind, json(row, "options")?)
        .map_err(|fault| StoreError::Damaged { what: "options", detail: fault.to_string() })?;
    let selector: Option<&str> = column(row, "selector")?;
    let selector = selector.map(|text| {
        Selector::parse(text)
            .ok_or_else(|| StoreError::Damaged { what: "selector", detail: "it names nothing".to_owned() })
    });
    let spec = TriggerSpec {
        name: parsed(row, "name", TriggerName::parse)?,
        app_id: parsed(row, "app_id", AppId::parse)?,
        route_id: parsed(row, "route_id", RouteId::parse)?,
        selector: selector.transpose()?,
        kind,
        filter: json::<Filter>(row, "filter")?,
        input: optional_json::<InputTemplate>(row, "input")?,
    };
    Ok(Trigger {
        id: parsed(row, "id", TriggerId::parse)?,
        project_id: parsed(row, "project_id", ProjectId::stored)?,
        spec,
        app_name: column(row, "app_name")?,
        route_path: column(row, "route_path")?,
        state: parsed(row, "state", TriggerState::parse)?,
        state_reason: column(row, "state_reason")?,
        next_at: column::<Option<i64>>(row, "next_at")?.map(Timestamp),
        progress: column(row, "progress")?,
        hook_hash: column(row, "hook_hash")?,
        hook_key: optional_json::<Sealed>(row, "hook_key")?,
        identity: optional_json::<TriggerIdentity>(row, "identity")?,
        fired: column::<i64>(row, "fired")?.unsigned_abs(),
        last_fired_at: column::<Option<i64>>(row, "last_fired_at")?.map(Timestamp),
        revision: column::<i64>(row, "revision")?.unsigned_abs(),
        created_by: column(row, "created_by")?,
        updated_by: column(row, "updated_by")?,
        created_at: Timestamp(column(row, "created_at")?),
        updated_at: Timestamp(column(row, "updated_at")?),
    })
}

/// Counters never get near the end of an `i64`.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}
