//! The SQL of queue entries.

use picasso_types::{CallId, ProjectId, Timestamp};
use sqlx::SqlitePool;

use super::Context as _;
use crate::{Delivery, Dispatch, QueueError};

/// Which delivery of which entry: `number:fence`.
fn receipt(text: &str) -> Result<(i64, i64), QueueError> {
    let parts = text
        .split_once(':')
        .and_then(|(number, fence)| Some((number.parse::<i64>().ok()?, fence.parse::<i64>().ok()?)));
    parts.ok_or_else(|| QueueError::broker("reading a receipt", "it is not one of this queue"))
}

/// The newest publication of a call counts: what is known of an older one, waiting or in
/// someone's hands, is replaced, and an acknowledgement of that one no longer removes it.
pub(super) async fn put(db: &SqlitePool, dispatches: &[Dispatch], now: Timestamp) -> Result<(), QueueError> {
    let context = "publishing";
    let list: Vec<_> = dispatches
        .iter()
        .map(|dispatch| (dispatch.call_id.as_str(), dispatch.project_id.as_str(), dispatch.priority))
        .collect();
    let list = serde_json::to_string(&list).map_err(|error| QueueError::broker(context, error))?;
    // `WHERE true`: without it ON would belong to a join.
    sqlx::query(
        "INSERT INTO queue_entries (call_id, project_id, priority, published_at, visible_at) \
         SELECT value ->> 0, value ->> 1, value ->> 2, ?2, ?2 FROM json_each(?1) WHERE true ORDER BY key \
         ON CONFLICT (call_id) DO UPDATE SET project_id = excluded.project_id, priority = excluded.priority, \
         published_at = excluded.published_at, visible_at = excluded.visible_at, fence = fence + 1",
    )
    .bind(list)
    .bind(now.0)
    .execute(db)
    .await
    .context(context)?;
    Ok(())
}

/// When the first entry is or becomes visible; `None` when there is none at all.
pub(super) async fn next_visible(db: &SqlitePool) -> Result<Option<Timestamp>, QueueError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT min(visible_at) FROM queue_entries")
        .fetch_one(db)
        .await
        .context("looking for due calls")?;
    Ok(next.map(Timestamp))
}

/// Number, fence, call, project, priority, time of publication.
type Taken = (i64, i64, String, String, u8, i64);

/// Hides up to `max` visible entries until `hidden_until` and delivers them, highest priority first,
/// then the longest published.
///
/// One range of the index per priority: a crowd of entries that are in somebody's hands is not
/// walked over once for each.
pub(super) async fn take(
    db: &SqlitePool,
    max: u32,
    now: Timestamp,
    hidden_until: Timestamp,
) -> Result<Vec<Delivery>, QueueError> {
    let mut taken: Vec<Taken> = sqlx::query_as(
        "UPDATE queue_entries SET fence = fence + 1, visible_at = ?3 WHERE number IN ( \
             SELECT number FROM ( \
                 SELECT * FROM (SELECT number, priority, published_at FROM queue_entries \
                     WHERE priority = 2 AND published_at <= ?1 AND visible_at <= ?1 \
                     ORDER BY published_at, number LIMIT ?2) \
                 UNION ALL \
                 SELECT * FROM (SELECT number, priority, published_at FROM queue_entries \
                     WHERE priority = 1 AND published_at <= ?1 AND visible_at <= ?1 \
                     ORDER BY published_at, number LIMIT ?2) \
                 UNION ALL \
                 SELECT * FROM (SELECT number, priority, published_at FROM queue_entries \
                     WHERE priority = 0 AND published_at <= ?1 AND visible_at <= ?1 \
                     ORDER BY published_at, number LIMIT ?2)) \
             ORDER BY priority DESC, published_at, number LIMIT ?2) \
         RETURNING number, fence, call_id, project_id, priority, published_at",
    )
    .bind(now.0)
    .bind(max)
    .bind(hidden_until.0)
    .fetch_all(db)
    .await
    .context("receiving")?;
    taken.sort_by_key(|(number, _, _, _, priority, published_at)| {
        (std::cmp::Reverse(*priority), *published_at, *number)
    });
    taken
        .into_iter()
        .map(|(number, fence, call_id, project_id, priority, _)| {
            let damaged = |fault| QueueError::broker("reading an entry", fault);
            Ok(Delivery {
                call_id: CallId::parse(&call_id).map_err(damaged)?,
                project_id: ProjectId::stored(&project_id).map_err(damaged)?,
                priority,
                receipt: format!("{number}:{fence}"),
            })
        })
        .collect()
}

pub(super) async fn delete(db: &SqlitePool, deliveries: &[Delivery]) -> Result<(), QueueError> {
    let context = "acknowledging";
    let receipts: Vec<_> =
        deliveries.iter().map(|delivery| receipt(&delivery.receipt)).collect::<Result<_, _>>()?;
    let receipts = serde_json::to_string(&receipts).map_err(|error| QueueError::broker(context, error))?;
    sqlx::query(
        "DELETE FROM queue_entries WHERE number IN (SELECT entry.number FROM json_each(?1) AS receipt \
         CROSS JOIN queue_entries AS entry ON entry.number = receipt.value ->> 0 \
         AND entry.fence = receipt.value ->> 1)",
    )
    .bind(receipts)
    .execute(db)
    .await
    .context(context)?;
    Ok(())
}

/// All entries but those in someone's hands.
pub(super) async fn count_waiting(db: &SqlitePool, now: Timestamp) -> Result<u64, QueueError> {
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM queue_entries WHERE visible_at <= ?1 OR visible_at = published_at",
    )
    .bind(now.0)
    .fetch_one(db)
    .await
    .context("counting the queue")?;
    Ok(waiting.try_into().unwrap_or(0))
}
