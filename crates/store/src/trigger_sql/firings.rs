//! What became of the last events of triggers: written many to a statement, because a transaction of
//! hundreds of them is written while calls are, and a statement is a way to the server and back.

use std::collections::BTreeMap;

use picasso_types::text::cut;
use picasso_types::trigger::{Firing, FiringOutcome, MAX_REASON, NewFiring};
use picasso_types::{CallId, FiringId, Timestamp, TriggerId};
use sqlx::{QueryBuilder, query};

use super::rows::integer;
use super::{Connection, sql};
use crate::StoreError;
use crate::batches::chunks;
use crate::error::Context as _;
use crate::rows::{Columns, column, parsed};

/// Longest id of an event that is kept, bytes.
const MAX_EVENT_ID: usize = 256;

type Database = <Connection as sqlx::Connection>::Database;

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
    insert(&mut *db, &of_held).await?;
    leave_newest(db, &held, keep).await
}

/// Writes firings down of triggers that are there.
async fn insert(db: &mut Connection, firings: &[&NewFiring]) -> Result<(), StoreError> {
    for some in chunks(firings) {
        let mut query = QueryBuilder::<Database>::new(
            "INSERT INTO trigger_firings (id, trigger_id, event_id, outcome, reason, call_id, fired_at) ",
        );
        query.push_values(some, |mut row, firing| {
            row.push_bind(firing.id.as_str())
                .push_bind(firing.trigger_id.as_str())
                .push_bind(cut(&firing.event_id, MAX_EVENT_ID))
                .push_bind(firing.outcome.as_str())
                .push_bind(firing.reason.as_deref().map(|reason| cut(reason, MAX_REASON)))
                .push_bind(firing.call_id.as_ref().map(CallId::as_str))
                .push_bind(firing.at.0);
        });
        query.build().execute(&mut *db).await.context("writing firings down")?;
    }
    Ok(())
}

/// Deletes all but the newest `keep` of each trigger. Of most triggers there are fewer: which have more is
/// asked of many at once.
async fn leave_newest(db: &mut Connection, triggers: &[&str], keep: u32) -> Result<(), StoreError> {
    for some in chunks(triggers) {
        let mut query =
            QueryBuilder::<Database>::new("SELECT trigger_id FROM trigger_firings WHERE trigger_id IN (");
        let mut ids = query.separated(", ");
        for id in some {
            ids.push_bind(*id);
        }
        query.push(") GROUP BY trigger_id HAVING count(*) > ").push_bind(i64::from(keep));
        let full = query.build().fetch_all(&mut *db).await.context("counting kept firings")?;
        for row in &full {
            delete_old(db, column(row, "trigger_id")?, keep).await?;
        }
    }
    Ok(())
}

async fn delete_old(db: &mut Connection, trigger: &str, keep: u32) -> Result<(), StoreError> {
    query(sql("DELETE FROM trigger_firings WHERE trigger_id = ? AND id < (SELECT kept.id FROM \
         (SELECT id FROM trigger_firings WHERE trigger_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?) kept)"))
    .bind(trigger)
    .bind(trigger)
    .bind(i64::from(keep.saturating_sub(1)))
    .execute(db)
    .await
    .context("deleting old firings")?;
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
