//! Schedules: triggers that the clock fires.
//!
//! Every process takes schedules whose time has come for a while, fires and plans them ([`serve`]).
//! Which planned times there are, the options say alone (`picasso_types::trigger::schedule`); which of
//! them are still to fire, [`due`].

mod due;
mod event;
mod fires;
mod progress;
mod serve;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use picasso_engine::ChangesFollower;
use picasso_store::Store;
use picasso_types::trigger::TriggerType;
use picasso_types::{Clock, InstanceId};
use tokio_util::sync::CancellationToken;

use crate::firing::Firer;
use crate::rounds::{News, POLL, Rounds};
use serve::{LEASE, Server};

/// Schedules that are looked at at one time. More come faster than the database writes; fewer would leave
/// its batches, of 128 writes at most, half empty.
const AT_ONCE: usize = 256;

/// How schedules are worked on.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// A planned time that is later than this counts as missed.
    pub missed_after: Duration,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { missed_after: Duration::from_mins(1) }
    }
}

/// Fires schedules until it is told to stop.
#[derive(Debug)]
pub struct Schedules(Rounds);

impl Schedules {
    /// Schedules of `store`, worked on in the name of `instance`. `follower` tells of changes, so that
    /// a new schedule is known at once.
    pub fn new(
        firer: Firer,
        store: Arc<dyn Store>,
        instance: InstanceId,
        clock: Arc<dyn Clock>,
        follower: ChangesFollower,
        settings: &ScheduleSettings,
    ) -> Self {
        let missed_after = settings.missed_after;
        let server = Server { fires: Arc::new(firer), store, instance, clock, missed_after };
        Self::of(server, News(Some(follower)), POLL)
    }

    fn of(server: Server, news: News, poll: Duration) -> Self {
        let Server { store, instance, clock, .. } = server.clone();
        let look = Arc::new(server);
        let (kind, lease, at_once) = (TriggerType::Schedule, LEASE, AT_ONCE);
        Self(Rounds { kind, store, instance, clock, lease, poll, at_once, look, news })
    }

    /// Runs until `stopping`; then what fires is finished. Dropping the future leaves it to another
    /// process.
    pub async fn run(self, stopping: CancellationToken) {
        self.0.run(stopping).await;
    }
}
