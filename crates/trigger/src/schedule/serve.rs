//! One look at one schedule that this process holds: its due times fire, then the next one is written.
//!
//! A planned time makes one call, whatever happens between. The call's idempotency key says trigger and
//! time, so a process that takes up what another one left unwritten finds the call of then. Keys live
//! for `calls.idempotency_window_h`, an hour at least, and a lease for [`LEASE`]; and only the times of
//! the one look that was cut off can come again: the next one is written only by whoever still holds
//! the trigger, as it was when it was taken. So a second call of a time would need a process that died
//! between call and plan, and then no process for the whole window, and `missed` other than `skip`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_store::{Store, StoreError, TriggerPlan};
use picasso_types::trigger::schedule::ScheduleOptions;
use picasso_types::trigger::{Trigger, TriggerKind, TriggerState};
use picasso_types::{Clock, InstanceId, Timestamp};

use super::due::{Due, due};
use super::event;
use super::fires::Fires;
use super::progress::Progress;
use crate::firing::{FireError, FireOptions};
use crate::rounds::Look;

/// How long a schedule is held; another process takes up what a killed one held after this.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// After this time of firing the lease is extended: calls that are made up for may be many.
const HOLD_AFTER: Duration = Duration::from_secs(5);

/// Looks at schedules. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Server {
    pub(super) fires: Arc<dyn Fires>,
    pub(super) store: Arc<dyn Store>,
    pub(super) instance: InstanceId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) missed_after: Duration,
}

/// How the times of a look went.
enum Went {
    /// All fired, or never will; so many did.
    Through(u64),
    /// This one could not fire, after so many that did.
    Stuck(Timestamp, u64),
    /// Another process has the trigger now, or somebody changed it.
    Lost,
}

#[async_trait]
impl Look for Server {
    async fn look(&self, trigger: Trigger) -> Option<Timestamp> {
        match self.serve(&trigger).await {
            Ok(next) => next,
            Err(error) => {
                // The lease ends by itself; then some process looks again.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    trigger = %trigger.id,
                    project = %trigger.project_id,
                    "what comes next of a schedule cannot be stored"
                );
                None
            }
        }
    }
}

impl Server {
    /// Fires what is due of a schedule that this process took, and plans what comes next; returns
    /// when it is to be looked at again.
    async fn serve(&self, trigger: &Trigger) -> Result<Option<Timestamp>, StoreError> {
        let TriggerKind::Schedule(options) = &trigger.spec.kind else { return Ok(None) };
        let Some((progress, planned)) = Progress::of(trigger) else { return Ok(None) };
        let now = self.clock.now();
        let Due { skipped, mut times, next } = due(options, planned, now, self.missed_after);
        let left = options.count.map_or(u64::MAX, |count| count.saturating_sub(progress.fired));
        times.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some((first, last)) = skipped.filter(|_| left > 0) {
            self.note_skipped(trigger, options, first, last);
        }
        let plan = match self.fire_all(trigger, options, &times).await? {
            Went::Lost => return Ok(None),
            Went::Stuck(time, fired) => {
                let fired = progress.fired + fired;
                let (progress, again_at) = progress.retried(fired, trigger, time, self.clock.now());
                TriggerPlan { next_at: Some(again_at), progress: progress.written(), state: None }
            }
            Went::Through(fired) => {
                let fired = progress.fired + fired;
                let is_counted_out = options.count.is_some_and(|count| fired >= count);
                let over = match next {
                    _ if is_counted_out => Some(format!("it fired {fired} times, as count says")),
                    None => Some("no planned time lies ahead".to_owned()),
                    Some(_) => None,
                };
                TriggerPlan {
                    next_at: next.filter(|_| over.is_none()),
                    progress: Progress::done(fired).written(),
                    state: over.map(|reason| (TriggerState::Finished, Some(reason))),
                }
            }
        };
        // `false`: the trigger was changed meanwhile, and whoever changed it planned anew.
        let is_planned = self.store.plan_trigger(trigger, &self.instance, &plan).await?;
        Ok(plan.next_at.filter(|_| is_planned))
    }

    async fn fire_all(
        &self,
        trigger: &Trigger,
        options: &ScheduleOptions,
        times: &[Timestamp],
    ) -> Result<Went, StoreError> {
        let mut held_at = self.clock.now();
        let mut fired = 0;
        for time in times {
            let now = self.clock.now();
            if now.since(held_at) >= i64::try_from(HOLD_AFTER.as_micros()).unwrap_or(i64::MAX) {
                if !self.store.hold_trigger(trigger, &self.instance, now.plus(LEASE)).await? {
                    return Ok(Went::Lost);
                }
                held_at = now;
            }
            let with = FireOptions {
                not_before: Some(event::due_at(trigger, options, *time)),
                ..FireOptions::default()
            };
            match self.fires.fire(trigger, &event::of(trigger, options, *time), with).await {
                // What never will is written down as a firing. A call of the time's key with other data
                // is among it: then the time fired before the trigger was changed.
                Ok(_) | Err(FireError::Never(_)) => fired += 1,
                Err(FireError::Later(_)) => return Ok(Went::Stuck(*time, fired)),
            }
        }
        Ok(Went::Through(fired))
    }

    fn note_skipped(&self, trigger: &Trigger, options: &ScheduleOptions, first: Timestamp, last: Timestamp) {
        let last = event::of(trigger, options, last);
        let first = event::of(trigger, options, first);
        let reason = if first.id == last.id {
            format!("the planned time {} was missed", last.id)
        } else {
            format!("the planned times from {} to {} were missed", first.id, last.id)
        };
        self.fires.note_skipped(trigger, &last, reason);
    }
}
