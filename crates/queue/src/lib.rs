//! The queue: carries call ids from the process that accepted a call to one that runs it.
//!
//! A call's row in the store is the truth; a queue only dispatches ids, at least once, and holds no
//! more than a window of the store's outbox. So a lost message comes back from there, and a second
//! one is stopped by `Store::claim_call`.

mod error;
mod nats;
mod rabbitmq;
mod redis;
mod sqlite;
mod waiting;

use std::time::Duration;

use async_trait::async_trait;
use picasso_types::{CallId, ProjectId};

pub use error::QueueError;
pub use nats::NatsQueue;
pub use rabbitmq::RabbitMqQueue;
pub use redis::RedisQueue;
pub use sqlite::{SqliteQueue, SqliteQueueSettings};

/// One due call id to be dispatched. When a call is due is the store's business: its outbox lists
/// a call only then, so delays are the same whatever broker carries the ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispatch {
    /// The call.
    pub call_id: CallId,
    /// Its project: whoever receives many ids runs them project by project.
    pub project_id: ProjectId,
    /// 0 to 2; higher is delivered first.
    pub priority: u8,
}

/// A dispatched call id in the hands of this process. Not acknowledged, it is delivered again when
/// the queue's visibility time has passed, or earlier when the connection that it came by is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The call.
    pub call_id: CallId,
    /// Its project.
    pub project_id: ProjectId,
    /// 0 to 2.
    pub priority: u8,
    /// The driver's own handle for [`Queue::ack`].
    pub receipt: String,
}

/// Dispatches call ids between processes, at least once.
///
/// A delivery is held for the moment until its receiver has it in memory, never while the call waits
/// for a place or runs: until the claim it is the call's outbox entry that brings it back when the
/// receiver dies, from the claim on the row's lease. So no broker has to hold a delivery for long, and
/// each driver is given one visibility time when it connects.
#[async_trait]
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// Takes ids over; they are durable when this returns, as far as the broker promises it.
    async fn publish(&self, dispatches: &[Dispatch]) -> Result<(), QueueError>;

    /// Up to `max` ids, hidden from others for the queue's visibility time. Waits at most `wait`
    /// for the first one; empty when none came.
    async fn receive(&self, max: u32, wait: Duration) -> Result<Vec<Delivery>, QueueError>;

    /// The ids are dealt with: these publications of them are not delivered again. An
    /// acknowledgement that comes after the visibility time may or may not count; an error says that
    /// some did not. One of an older publication never removes a newer one.
    async fn ack(&self, deliveries: &[Delivery]) -> Result<(), QueueError>;

    /// How many ids wait and are in nobody's hands (gauge; may be approximate).
    async fn depth(&self) -> Result<u64, QueueError>;
}
