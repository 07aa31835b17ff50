//! The rounds of a process: it takes due triggers of a kind, some at a time, has each looked at, and
//! waits until others are due.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_engine::ChangesFollower;
use picasso_store::{Store, StoreError};
use picasso_types::trigger::{Trigger, TriggerType};
use picasso_types::{Clock, InstanceId, Timestamp};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Longest time between two looks at the store: what is due is otherwise known, or heard of.
pub(crate) const POLL: Duration = Duration::from_secs(1);
/// Shortest time between two of them that found nothing.
const PAUSE: Duration = Duration::from_millis(20);
/// How long triggers that are looked at may take when the process stops.
const GRACE: Duration = Duration::from_secs(5);

/// Looks at one trigger that this process holds.
#[async_trait]
pub(crate) trait Look: Send + Sync + std::fmt::Debug {
    /// Does what is due, and plans what comes next; returns when that is.
    async fn look(&self, trigger: Trigger) -> Option<Timestamp>;
}

/// The triggers of a kind, worked on in the name of a process.
#[derive(Debug)]
pub(crate) struct Rounds {
    pub(crate) kind: TriggerType,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) instance: InstanceId,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long a trigger is held; another process takes up what a killed one held after this.
    pub(crate) lease: Duration,
    pub(crate) poll: Duration,
    /// Triggers that are looked at at one time.
    pub(crate) at_once: usize,
    pub(crate) look: Arc<dyn Look>,
    pub(crate) news: News,
}

impl Rounds {
    /// Runs until `stopping`; then what is worked on is finished. Dropping the future leaves it to
    /// another process.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let mut work = JoinSet::new();
        let mut is_away = false;
        loop {
            let looked_at = Instant::now();
            let asked = self.at_once - work.len();
            let (taken, due_in) = match self.take(asked).await {
                Ok(taken) => {
                    is_away = false;
                    taken
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_away, true) {
                        let error = &error as &dyn std::error::Error;
                        let kind = self.kind.as_str();
                        tracing::error!(
                            error,
                            kind,
                            "due triggers cannot be read; they wait for the database"
                        );
                    }
                    (Vec::new(), self.poll)
                }
            };
            // As many as were asked for: there are more, for which places have to become free.
            let are_more = taken.len() == asked;
            for trigger in taken {
                let look = self.look.clone();
                work.spawn(async move { look.look(trigger).await });
            }
            let earliest = looked_at + PAUSE;
            // From now on, not from before the look: a look that comes too early finds nothing, and the
            // next one only comes after the pause.
            let mut again_at = (Instant::now() + due_in.min(self.poll)).max(earliest);
            // Half of the places at a time: one look for each place would cost more than its trigger.
            while !are_more || work.len() > self.at_once / 2 {
                tokio::select! {
                    () = stopping.cancelled() => return finish(work).await,
                    Some(done) = work.join_next() => {
                        if let Ok(Some(next)) = done {
                            again_at = again_at.min((Instant::now() + self.until(next)).max(earliest));
                        }
                    }
                    () = tokio::time::sleep_until(again_at), if !are_more => break,
                    () = self.news.next(), if !are_more => again_at = earliest.max(Instant::now()),
                }
            }
            if stopping.is_cancelled() {
                return finish(work).await;
            }
        }
    }

    /// Takes up to so many due triggers; with them, after what time there will be others.
    async fn take(&self, limit: usize) -> Result<(Vec<Trigger>, Duration), StoreError> {
        let until = self.clock.now().plus(self.lease);
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let taken = self.store.take_due_triggers(self.kind, &self.instance, until, limit).await?;
        if taken.len() as u64 == u64::from(limit) {
            return Ok((taken, Duration::ZERO));
        }
        // Those that were taken are not lost when this fails.
        let next = self.store.next_due_trigger(self.kind).await.ok().flatten();
        Ok((taken, next.map_or(self.poll, |next| self.until(next))))
    }

    fn until(&self, time: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(time.since(self.clock.now())).unwrap_or(0))
    }
}

/// Waits for the triggers that are looked at; those that take too long are left to another process.
async fn finish(mut work: JoinSet<Option<Timestamp>>) {
    let _ = tokio::time::timeout(GRACE, async { while work.join_next().await.is_some() {} }).await;
}

/// Tells that something was changed; of a catalog that is gone nothing is to be heard any more.
#[derive(Debug)]
pub(crate) struct News(pub(crate) Option<ChangesFollower>);

impl News {
    async fn next(&mut self) {
        let heard = match &mut self.0 {
            Some(follower) => follower.next().await,
            None => None,
        };
        if heard.is_none() {
            self.0 = None;
            std::future::pending::<()>().await;
        }
    }
}
