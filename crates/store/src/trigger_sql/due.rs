//! Who looks at triggers that are due, and what comes next of them.

use std::sync::Arc;
use std::time::Duration;

use picasso_types::text::cut;
use picasso_types::trigger::{MAX_REASON, Trigger, TriggerType};
use picasso_types::{InstanceId, Timestamp};
use sqlx::query;

use super::find::load_text;
use super::rows::integer;
use super::{Connection, changes, sql};
use crate::call_writes::{Planning, in_lock_order};
use crate::error::Context as _;
use crate::rows::column;
use crate::unreadable::Unreadable;
use crate::{StoreError, TriggerPlan};

/// How long a trigger that cannot be read is not looked at again. Not for ever: what is of a later release
/// can be read after an upgrade, and what an operator mended goes on by itself.
const PUT_OFF: Duration = Duration::from_mins(5);

/// The ids of those that may be taken; whoever gets one is decided by [`take`].
pub(crate) async fn list_due(
    db: &mut Connection,
    kind: TriggerType,
    limit: u32,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
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
    rows.iter().map(|row| column(row, "id")).collect()
}

/// Takes a trigger that is (still) due and that nobody holds. One that cannot be read is put off.
async fn take(
    db: &mut Connection,
    id: &str,
    (owner, lease_until): (&InstanceId, Timestamp),
    now: Timestamp,
    unreadable: &Unreadable,
) -> Result<Option<Trigger>, StoreError> {
    let taken = query(sql("UPDATE triggers SET lease_owner = ?, lease_until = ? \
         WHERE id = ? AND state = 'active' AND next_at <= ? AND lease_until <= ?"))
    .bind(owner.as_str())
    .bind(lease_until.0)
    .bind(id)
    .bind(now.0)
    .bind(now.0)
    .execute(&mut *db)
    .await
    .context("taking a due trigger")?;
    if taken.rows_affected() == 0 {
        return Ok(None);
    }
    let read = match load_text(db, id).await {
        Err(StoreError::NotFound) => {
            Err(StoreError::Damaged { what: "trigger", detail: "its app or route is missing".to_owned() })
        }
        read => read,
    };
    let trigger = unreadable.leave_out(id, read)?;
    if trigger.is_none() {
        put_off(db, id, now.plus(PUT_OFF)).await?;
    }
    Ok(trigger)
}

/// Has nobody take a trigger for a while. When it is due stays: it is late, not planned anew.
async fn put_off(db: &mut Connection, id: &str, until: Timestamp) -> Result<(), StoreError> {
    query(sql("UPDATE triggers SET lease_owner = NULL, lease_until = ? WHERE id = ?"))
        .bind(until.0)
        .bind(id)
        .execute(db)
        .await
        .context("putting a trigger off")?;
    Ok(())
}

/// Takes those of the triggers that are (still) due and that nobody holds; they come in their order.
///
/// One transaction for all: a commit for each would be most of what a due trigger costs. Rows are locked
/// in the order of their ids, so two processes that want the same ones do not wait for each other in a
/// ring.
pub(crate) async fn take_all(
    db: &mut Connection,
    due: &[String],
    lease: (&InstanceId, Timestamp),
    now: Timestamp,
    unreadable: &Unreadable,
) -> Result<Vec<Trigger>, StoreError> {
    let mut by_id: Vec<(usize, &String)> = due.iter().enumerate().collect();
    by_id.sort_by_key(|(_, id)| *id);
    let mut taken = Vec::with_capacity(due.len());
    for (place, id) in by_id {
        if let Some(trigger) = take(db, id, lease, now, unreadable).await? {
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
