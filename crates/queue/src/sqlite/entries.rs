//! The SQL of queue entries.

use picasso_types::{CallId, Timestamp};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};

use super::Context as _;
use crate::{Delivery, Dispatch, QueueError};

/// Which delivery of which entry: `number:fence`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receipt {
    number: i64,
    fence: i64,
}

impl Receipt {
    pub(super) fn parse(text: &str) -> Result<Self, QueueError> {
        let parts = text.split_once(':').and_then(|(number, fence)| {
            Some(Self { number: number.parse().ok()?, fence: fence.parse().ok()? })
        });
        parts.ok_or_else(|| QueueError::Broker {
            context: "reading a receipt",
            source: "it is not one of this queue".into(),
        })
    }
}

/// The newest publication of a call counts: what is known of an older one, waiting or in
/// someone's hands, is replaced, and an acknowledgement of that one no longer removes it.
///
/// The column `not_before` holds the time of the publication.
pub(super) async fn put(db: &SqlitePool, dispatches: &[Dispatch], now: Timestamp) -> Result<(), QueueError> {
    let context = "publishing";
    let mut connection = db.acquire().await.context(context)?;
    let put = put_all(&mut connection, dispatches, now).await;
    if put.is_err() {
        // SQLite ends a transaction by itself when the disk is full, which the driver does not
        // notice: only a new connection is surely outside of one.
        connection.close_on_drop();
    }
    put.context(context)
}

async fn put_all(
    connection: &mut SqliteConnection,
    dispatches: &[Dispatch],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for dispatch in dispatches {
        sqlx::query(
            "INSERT INTO queue_entries (call_id, not_before, priority, visible_at) VALUES (?1, ?2, ?3, ?2) \
             ON CONFLICT (call_id) DO UPDATE SET not_before = excluded.not_before, \
             priority = excluded.priority, visible_at = excluded.visible_at, fence = fence + 1",
        )
        .bind(dispatch.call_id.as_str())
        .bind(now.0)
        .bind(dispatch.priority)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await
}

/// When the first entry is or becomes visible; `None` when there is none at all.
pub(super) async fn next_visible(db: &SqlitePool) -> Result<Option<Timestamp>, QueueError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT min(visible_at) FROM queue_entries")
        .fetch_one(db)
        .await
        .context("looking for due calls")?;
    Ok(next.map(Timestamp))
}

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
    let mut taken: Vec<(i64, i64, String, u8, i64)> = sqlx::query_as(
        "UPDATE queue_entries SET fence = fence + 1, visible_at = ?3 WHERE number IN ( \
             SELECT number FROM ( \
                 SELECT * FROM (SELECT number, priority, not_before FROM queue_entries \
                     WHERE priority = 2 AND not_before <= ?1 AND visible_at <= ?1 \
                     ORDER BY not_before, number LIMIT ?2) \
                 UNION ALL \
                 SELECT * FROM (SELECT number, priority, not_before FROM queue_entries \
                     WHERE priority = 1 AND not_before <= ?1 AND visible_at <= ?1 \
                     ORDER BY not_before, number LIMIT ?2) \
                 UNION ALL \
                 SELECT * FROM (SELECT number, priority, not_before FROM queue_entries \
                     WHERE priority = 0 AND not_before <= ?1 AND visible_at <= ?1 \
                     ORDER BY not_before, number LIMIT ?2)) \
             ORDER BY priority DESC, not_before, number LIMIT ?2) \
         RETURNING number, fence, call_id, priority, not_before",
    )
    .bind(now.0)
    .bind(max)
    .bind(hidden_until.0)
    .fetch_all(db)
    .await
    .context("receiving")?;
    taken.sort_by_key(|(number, _, _, priority, not_before)| {
        (std::cmp::Reverse(*priority), *not_before, *number)
    });
    taken
        .into_iter()
        .map(|(number, fence, call_id, ..)| {
            let call_id = CallId::parse(&call_id).map_err(|fault| QueueError::Broker {
                context: "reading an entry",
                source: Box::new(fault),
            })?;
            Ok(Delivery { call_id, receipt: format!("{number}:{fence}") })
        })
        .collect()
}

pub(super) async fn delete(db: &SqlitePool, receipt: Receipt) -> Result<(), QueueError> {
    sqlx::query("DELETE FROM queue_entries WHERE number = ?1 AND fence = ?2")
        .bind(receipt.number)
        .bind(receipt.fence)
        .execute(db)
        .await
        .context("acknowledging")?;
    Ok(())
}

/// All entries but those in someone's hands.
pub(super) async fn count_waiting(db: &SqlitePool, now: Timestamp) -> Result<u64, QueueError> {
    let waiting: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM queue_entries WHERE visible_at <= ?1 OR visible_at = not_before",
    )
    .bind(now.0)
    .fetch_one(db)
    .await
    .context("counting the queue")?;
    Ok(waiting.try_into().unwrap_or(0))
}
