//! What became of the last events of triggers.

use std::collections::BTreeMap;

use picasso_types::text::cut;
use picasso_types::trigger::{Firing, FiringOutcome, MAX_REASON, NewFiring};
use picasso_types::{CallId, FiringId, Timestamp, TriggerId};
use sqlx::query;

use super::rows::integer;
use super::{Connection, sql};
use crate::StoreError;
use crate::error::Context as _;
use crate::rows::{Columns, column, parsed};

/// Longest id of an event that is kept, bytes.
const MAX_EVENT_ID: usize = 256;

pub(crate) async fn record(db: &mut Connection, firings: &[NewFiring], keep: u32) -> Result<(), StoreError> {
    // In the order of the triggers' ids, so that two processes do not wait for each other's rows.
    let mut of_triggers: BTreeMap<&str, Vec<&NewFiring>> = BTreeMap::new();
    for firing in firings {
        of_triggers.entry(firing.trigger_id.as_str()).or_default().push(firing);
    }
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
        if counted.rows_affected() == 0 {
            continue;
        }
        for firing in &firings {
            insert_firing(db, firing).await?;
        }
        query(sql("DELETE FROM trigger_firings WHERE trigger_id = ? AND id < (SELECT kept.id FROM \
             (SELECT id FROM trigger_firings WHERE trigger_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?) kept)"))
        .bind(trigger)
        .bind(trigger)
        .bind(i64::from(keep.saturating_sub(1)))
        .execute(&mut *db)
        .await
        .context("deleting old firings")?;
    }
    Ok(())
}

async fn insert_firing(db: &mut Connection, firing: &NewFiring) -> Result<(), StoreError> {
    query(sql("INSERT INTO trigger_firings (id, trigger_id, event_id, outcome, reason, call_id, fired_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?)"))
    .bind(firing.id.as_str())
    .bind(firing.trigger_id.as_str())
    .bind(cut(&firing.event_id, MAX_EVENT_ID))
    .bind(firing.outcome.as_str())
    .bind(firing.reason.as_deref().map(|reason| cut(reason, MAX_REASON)))
    .bind(firing.call_id.as_ref().map(CallId::as_str))
    .bind(firing.at.0)
    .execute(db)
    .await
    .context("writing a firing down")?;
    Ok(())
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
