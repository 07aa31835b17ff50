//! One look at one queue: a batch under way is watched to its end, else the next one is claimed.
//!
//! At least once: messages stay claimed while their call is under way, and are deleted when it has
//! succeeded. Whatever is cut off in between, the claim ends by itself and the messages come again.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use picasso_engine::KeptResult;
use picasso_outbound::{Claim, ClaimError, ClaimTimes, Zaqar};
use picasso_store::{Store, StoreError, TriggerPlan};
use picasso_types::trigger::queue::QueueOptions;
use picasso_types::trigger::{Trigger, TriggerKind, TriggerState};
use picasso_types::{CallState, Clock, InstanceId, Timestamp};
use secrecy::SecretString;
use serde_json::json;

use super::failures::failed;
use super::progress::{Batch, Progress};
use super::tokens::{TokenError, TriggerTokens};
use crate::event::Event;
use crate::firing::{FireError, FireOptions, Fired, Firer};
use crate::rounds::Look;

/// What the event of a batch says that it is.
const TYPE: &str = "org.openstack.zaqar.messages";
/// Messages stay claimed for five minutes, and live as long behind that, so that they can come again.
const TIMES: ClaimTimes = ClaimTimes { ttl_s: 300, grace_s: 300 };
/// A claim is held longer when this is left of it.
const HOLD_AFTER: i64 = 100 * 1_000_000;
/// A token that may not be good is replaced at the first fault in a row and then at each of so many:
/// while Zaqar is away, Keystone is not to be asked by all triggers all the time.
const DOUBT: u32 = 4;
/// Shortest and longest pause between two looks at a call that is under way.
const WATCH: (i64, i64) = (250_000, 5_000_000);

/// Reads queues. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) firer: Firer,
    pub(super) store: Arc<dyn Store>,
    pub(super) instance: InstanceId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) zaqar: Zaqar,
    pub(super) tokens: Arc<dyn TriggerTokens>,
}

/// Why a look came to nothing.
enum Fault {
    Token(TokenError),
    Zaqar(ClaimError),
    Store(StoreError),
}

impl From<ClaimError> for Fault {
    fn from(error: ClaimError) -> Self {
        Self::Zaqar(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[async_trait]
impl Look for Reader {
    async fn look(&self, trigger: Trigger) -> Option<Timestamp> {
        let TriggerKind::Queue(options) = &trigger.spec.kind else { return None };
        let mut progress = Progress::of(&trigger);
        let (pause, state) = match self.advance(&trigger, options, &mut progress).await {
            Ok(pause) => (pause, None),
            Err(fault) => self.after(&trigger, fault, &mut progress).await,
        };
        let next_at = state.is_none().then(|| self.clock.now().plus(pause));
        let plan = TriggerPlan { next_at, progress: progress.written(), state };
        match self.store.plan_trigger(&trigger, &self.instance, &plan).await {
            Ok(is_planned) => next_at.filter(|_| is_planned),
            Err(error) => {
                // The lease ends by itself; then some process looks again.
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, trigger = %trigger.id, "the progress of a queue cannot be stored");
                None
            }
        }
    }
}

impl Reader {
    /// One step; how long to wait before the next.
    async fn advance(
        &self,
        trigger: &Trigger,
        options: &QueueOptions,
        progress: &mut Progress,
    ) -> Result<Duration, Fault> {
        let token = self.tokens.token(trigger).await.map_err(Fault::Token)?;
        match progress.batch.clone() {
            Some(batch) => self.watch(options, &token, batch, progress).await,
            None => self.next_batch(trigger, options, &token, progress).await,
        }
    }

    /// What becomes of the trigger: it waits, or stops where only its owner can help.
    async fn after(
        &self,
        trigger: &Trigger,
        fault: Fault,
        progress: &mut Progress,
    ) -> (Duration, Option<(TriggerState, Option<String>)>) {
        let pause = progress.failed();
        let reason = match fault {
            Fault::Token(TokenError::Refused(reason)) => {
                return (pause, Some((TriggerState::Suspended, Some(reason))));
            }
            Fault::Token(error @ TokenError::Unavailable) => error.to_string(),
            Fault::Zaqar(error) => {
                let is_in_doubt = error.may_be_of_token() && progress.faults % DOUBT == 1;
                if error.is_of_token() || is_in_doubt {
                    self.tokens.forget(trigger).await;
                }
                error.to_string()
            }
            Fault::Store(error) => error.to_string(),
        };
        tracing::warn!(reason, trigger = %trigger.id, project = %trigger.project_id, "a queue cannot be read now");
        (pause, None)
    }

    async fn next_batch(
        &self,
        trigger: &Trigger,
        options: &QueueOptions,
        token: &SecretString,
        progress: &mut Progress,
    ) -> Result<Duration, Fault> {
        let queue = options.queue.as_str();
        if options.window_s > 0 {
            let free = self.zaqar.free_messages(token, queue).await?;
            if free == 0 {
                return Ok(progress.found_none());
            }
            let now = self.clock.now();
            let since = *progress.waiting_since.get_or_insert(now);
            let ends = since.plus(Duration::from_secs(options.window_s.into()));
            if free < options.batch_size.into() && now < ends {
                let left = Duration::from_micros(u64::try_from(ends.since(now)).unwrap_or(0));
                return Ok(left.min(Duration::from_secs(1)));
            }
        }
        match self.zaqar.claim(token, queue, options.batch_size, TIMES).await? {
            None => Ok(progress.found_none()),
            Some(claim) => self.fire(trigger, queue, token, claim, progress).await,
        }
    }

    async fn fire(
        &self,
        trigger: &Trigger,
        queue: &str,
        token: &SecretString,
        claim: Claim,
        progress: &mut Progress,
    ) -> Result<Duration, Fault> {
        let ids: Vec<String> = claim.messages.iter().map(|message| message.id.clone()).collect();
        let fired = self.firer.fire(trigger, &event(trigger, queue, &claim), FireOptions::default()).await;
        let now = self.clock.now();
        match fired {
            Ok(Fired::Accepted(call) | Fired::Duplicate(call)) => {
                let batch = Batch { claim: claim.id, messages: ids, call, fired_at: now, held_at: now };
                *progress = Progress { batch: Some(batch), faults: progress.faults, ..Progress::default() };
                Ok(Duration::from_micros(WATCH.0.unsigned_abs()))
            }
            // The trigger does not want them: to it they are done.
            Ok(Fired::Filtered) => {
                for id in &ids {
                    self.zaqar.delete_claimed(token, queue, id, &claim.id).await?;
                }
                *progress = Progress::default();
                Ok(Duration::ZERO)
            }
            Err(FireError::Later(_) | FireError::Never(_)) => {
                let pause = progress.failed();
                self.zaqar.release_claim(token, queue, &claim.id).await?;
                Ok(pause)
            }
        }
    }

    async fn watch(
        &self,
        options: &QueueOptions,
        token: &SecretString,
        batch: Batch,
        progress: &mut Progress,
    ) -> Result<Duration, Fault> {
        let queue = options.queue.as_str();
        let state = match self.store.get_call(&batch.call).await {
            Ok(call) => call.state,
            // Somebody deleted its record: nobody knows that it succeeded.
            Err(StoreError::NotFound) => CallState::Failed,
            Err(error) => return Err(error.into()),
        };
        let now = self.clock.now();
        if !state.is_final() {
            if now.since(batch.held_at) >= HOLD_AFTER {
                // Where the claim has ended, others may have its messages: they may come twice.
                self.zaqar.renew_claim(token, queue, &batch.claim, TIMES).await?;
                progress.batch = Some(Batch { held_at: now, ..batch.clone() });
            }
            let pause = (now.since(batch.fired_at) / 4).clamp(WATCH.0, WATCH.1);
            return Ok(Duration::from_micros(pause.unsigned_abs()));
        }
        let left = match state {
            CallState::Succeeded => {
                let output = self.store.get_call_output(&batch.call).await?.unwrap_or_default();
                let answer = KeptResult::decode(&output.result);
                // An answer of which only a part is here may name failures in the other.
                let whole = answer.filter(|answer| answer.body.len() as u64 == answer.total_bytes);
                match whole {
                    Some(answer) => failed(&answer.body, &batch.messages),
                    None => batch.messages.iter().cloned().collect(),
                }
            }
            _ => batch.messages.iter().cloned().collect(),
        };
        // Repeated where it is cut off: what is deleted already is not there, and that is fine.
        for id in batch.messages.iter().filter(|id| !left.contains(*id)) {
            self.zaqar.delete_claimed(token, queue, id, &batch.claim).await?;
        }
        self.zaqar.release_claim(token, queue, &batch.claim).await?;
        progress.batch = None;
        if left.is_empty() {
            *progress = Progress::default();
            return Ok(Duration::ZERO);
        }
        Ok(progress.failed())
    }
}

/// The event of a batch. Its id is the claim's: what is claimed again makes another call.
fn event(trigger: &Trigger, queue: &str, claim: &Claim) -> Event {
    let messages = claim.messages.iter().map(
        |message| json!({"id": message.id, "body": message.body, "age": message.age, "ttl": message.ttl}),
    );
    let data = json!({"queue": queue, "messages": messages.collect::<Vec<_>>()});
    let source = format!("/zaqar/{}/queues/{queue}", trigger.project_id);
    Event {
        subject: Some(queue.to_owned()),
        ..Event::of_json(claim.id.clone(), TYPE.to_owned(), source, &data)
    }
}
