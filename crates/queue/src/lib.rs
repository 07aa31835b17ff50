//! The queue: carries call ids from the process that accepted a call to one that runs it.
//!
//! A call's row in the store is the truth; a queue only dispatches ids, at least once. So a lost
//! message is put back by the sweeper and a second one is stopped by `Store::claim_call`.

mod error;
mod sqlite;

use std::time::Duration;

use async_trait::async_trait;
use picasso_types::{CallId, Timestamp};

pub use error::QueueError;
pub use sqlite::{SqliteQueue, SqliteQueueSettings};

/// One call id to be dispatched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The call.
    pub call_id: CallId,
    /// Not to be delivered before this time.
    pub not_before: Timestamp,
    /// 0 to 2; higher is delivered first.
    pub priority: u8,
}

/// A dispatched call id in the hands of this process. Neither acknowledged nor extended, it is
/// delivered again when its visibility time has passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The call.
    pub call_id: CallId,
    /// The driver's own handle for [`Queue::ack`] and [`Queue::extend`].
    pub receipt: String,
}

/// Dispatches call ids between processes, at least once.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Takes ids over; they are durable when this returns.
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError>;

    /// Up to `max` due ids, hidden from others for `visible_after`. Waits at most `wait` for the
    /// first one; empty when none came.
    async fn receive(
        &self,
        max: u32,
        visible_after: Duration,
        wait: Duration,
    ) -> Result<Vec<Delivery>, QueueError>;

    /// The id is dealt with: never delivered again.
    async fn ack(&self, delivery: &Delivery) -> Result<(), QueueError>;

    /// Keeps a delivery hidden for another `visible_after` from now.
    async fn extend(&self, delivery: &Delivery, visible_after: Duration) -> Result<(), QueueError>;

    /// How many ids wait, due or not (gauge; may be approximate).
    async fn depth(&self) -> Result<u64, QueueError>;
}
