//! Queues: triggers that read messages of Zaqar, with the trust of whoever saved them.
//!
//! Each trigger has one batch under way at a time. Every process takes triggers that are to be looked
//! at for a while ([`reader`]), so each queue is read by one of them.

mod failures;
mod progress;
mod reader;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use picasso_engine::ChangesFollower;
use picasso_outbound::Zaqar;
use picasso_store::Store;
use picasso_types::trigger::TriggerType;
use picasso_types::{Clock, InstanceId};
use tokio_util::sync::CancellationToken;

use crate::firing::Firer;
use crate::rounds::{News, POLL, Rounds};
use reader::Reader;
pub use tokens::{TokenError, TriggerTokens};

/// How long a queue is held: longer than Zaqar may take for one look.
const LEASE: Duration = Duration::from_mins(1);
/// Queues that are looked at at one time: each look waits for Zaqar.
const AT_ONCE: usize = 32;

/// Reads queues until it is told to stop.
#[derive(Debug)]
pub struct Queues(Rounds);

impl Queues {
    /// Queues of `zaqar` that triggers of `store` read, worked on in the name of `instance`.
    pub fn new(
        firer: Firer,
        store: Arc<dyn Store>,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        follower: ChangesFollower,
        zaqar: Zaqar,
        tokens: Arc<dyn TriggerTokens>,
    ) -> Self {
        let reader = Reader { firer, store, instance, clock, zaqar, tokens };
        Self::of(reader, News(Some(follower)), POLL)
    }

    fn of(reader: Reader, news: News, poll: Duration) -> Self {
        let Reader { store, instance, clock, .. } = reader.clone();
        let look = Arc::new(reader);
        let (kind, lease, at_once) = (TriggerType::Queue, LEASE, AT_ONCE);
        Self(Rounds { kind, store, instance, clock, lease, poll, at_once, look, news })
    }

    /// Runs until `stopping`. Dropping the future leaves batches that are under way to another process.
    pub async fn run(self, stopping: CancellationToken) {
        self.0.run(stopping).await;
    }
}
