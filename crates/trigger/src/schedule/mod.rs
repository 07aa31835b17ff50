//! Schedules: triggers that the clock fires.
//!
//! Every process looks for schedules whose time has come, takes some of them for a while, fires and
//! plans them ([`serve`]). Which planned times there are, the options say alone
//! (`picasso_types::trigger::schedule`); which of them are still to fire, [`due`].

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
use picasso_store::{Store, StoreError};
use picasso_types::trigger::{Trigger, TriggerType};
use picasso_types::{Clock, InstanceId, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::firing::Firer;
use serve::{LEASE, Server};

/// Schedules that this process works on at one time. More come faster than the database writes; fewer
/// would leave its batches half empty.
const AT_ONCE: usize = 32;
/// Longest time between two looks: what is due is otherwise known, or heard of.
const POLL: Duration = Duration::from_secs(1);
/// Shortest time between two looks that found nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// How long schedules that are worked on may take when the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// How schedules are worked on.
#[derive(Debug, Clone)]
pub struct ScheduleSettings {
    /// A planned time that is later than this counts as missed.
    pub missed_after: Duration,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self { missed_after: Duration::from_secs(60) }
    }
}

/// Fires schedules until it is told to stop.
#[derive(Debug)]
pub struct Schedules {
    server: Server,
    follower: News,
    poll: Duration,
}

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
        let fires = Arc::new(firer);
        let server = Server { fires, store, instance, clock, missed_after: settings.missed_after };
        Self { server, follower: News(Some(follower)), poll: POLL }
    }

    /// Runs until `stopping`; then what is worked on is finished. Dropping the future leaves it to
    /// another process.
    pub async fn run(mut self, stopping: CancellationToken) {
        let mut work = JoinSet::new();
        let mut is_away = false;
        loop {
            let looked_at = Instant::now();
            let asked = AT_ONCE - work.len();
            let (taken, due_in) = match self.look(asked).await {
                Ok(looked) => {
                    is_away = false;
                    looked
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            error,
                            "due schedules cannot be read: they fire when the database is back"
                        );
                    }
                    (Vec::new(), self.poll)
                }
            };
            // As many as were asked for: there are more, for which places have to become free.
            let are_more = taken.len() == asked;
            for trigger in taken {
                let server = self.server.clone();
                work.spawn(async move { server.serve(trigger).await });
            }
            let earliest = looked_at + PAUSE;
            let mut again_at = (looked_at + due_in.min(self.poll)).max(earliest);
            // Half of the places at a time: one look for each place would cost more than its schedule.
            while !are_more || work.len() > AT_ONCE / 2 {
                tokio::select! {
                    () = stopping.cancelled() => return finish(work).await,
                    Some(done) = work.join_next() => {
                        if let Ok(Some(next)) = done {
                            again_at = again_at.min((Instant::now() + self.until(next)).max(earliest));
                        }
                    }
                    () = tokio::time::sleep_until(again_at), if !are_more => break,
                    () = self.follower.news(), if !are_more => again_at = earliest.max(Instant::now()),
                }
            }
            if stopping.is_cancelled() {
                return finish(work).await;
            }
        }
    }

    /// Takes up to so many due schedules; with them, after what time there will be others.
    async fn look(&self, limit: usize) -> Result<(Vec<Trigger>, Duration), StoreError> {
        let Server { store, instance, clock, .. } = &self.server;
        let until = clock.now().plus(LEASE);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let taken = store.take_due_triggers(TriggerType::Schedule, instance, until, limit).await?;
        if taken.len() as u64 == u64::from(limit) {
            return Ok((taken, Duration::ZERO));
        }
        // Those that were taken are not lost when this fails.
        let next = store.next_due_trigger(TriggerType::Schedule).await.ok().flatten();
        Ok((taken, next.map_or(self.poll, |next| self.until(next))))
    }

    fn until(&self, time: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(time.since(self.server.clock.now())).unwrap_or(0))
    }
}

/// Waits for the schedules that are worked on; those that take too long are left to another process.
async fn finish(mut work: JoinSet<Option<Timestamp>>) {
    let _ = tokio::time::timeout(GRACE, async { while work.join_next().await.is_some() {} }).await;
}

/// Tells that something was changed; of a catalog that is gone nothing is to be heard any more.
#[derive(Debug)]
struct News(Option<ChangesFollower>);

impl News {
    async fn news(&mut self) {
        let heard = match &mut self.0 {
            Some(follower) => follower.next().await,
            None => None,
        };
        if heard.is_none() {
            self.0 = None;
            std::future::pending().await
        }
    }
}
