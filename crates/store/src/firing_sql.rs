//! The SQL of firings, many to a statement: a transaction of hundreds of them is written while calls are,
//! and a statement is a way to the server and back.
//!
//! Compiled once for each driver, as `trigger_sql.rs` beside it is.

use picasso_types::CallId;
use picasso_types::trigger::{MAX_REASON, NewFiring};
use sqlx::{QueryBuilder, query};

use super::{Connection, cut, sql};
use crate::StoreError;
use crate::batches::chunks;
use crate::error::Context as _;
use crate::rows::column;

/// Longest id of an event that is kept, bytes.
const MAX_EVENT_ID: usize = 256;

type Database = <Connection as sqlx::Connection>::Database;

/// Writes firings down of triggers that are there.
pub(super) async fn insert(db: &mut Connection, firings: &[&NewFiring]) -> Result<(), StoreError> {
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
pub(super) async fn leave_newest(
    db: &mut Connection,
    triggers: &[&str],
    keep: u32,
) -> Result<(), StoreError> {
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
