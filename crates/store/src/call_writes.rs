//! What is written so often that it is done in [batches](crate::batches): accepting calls, claiming them,
//! ending them, and planning what comes next of the triggers that made them.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use picasso_types::outgoing::NewDelivery;
use picasso_types::trigger::Trigger;
use picasso_types::{
    Accepted, Call, CallId, CallOutcome, CallOutput, IdempotencyKey, InstanceId, KeptObject, NewCall,
    Timestamp,
};

use crate::batches::{Answers, Batched, Batches};
use crate::rows::to_json;
use crate::sealed_body::{SealedBody, SealedOutput};
use crate::sealed_delivery::SealedDelivery;
use crate::{ClaimedCall, SecretKey, StoreError, TriggerPlan};

/// Where each store gathers them.
pub(crate) struct CallWrites {
    pub(crate) accepting: Batches<Acceptance>,
    pub(crate) claiming: Batches<Claim>,
    pub(crate) ending: Batches<Ending>,
    pub(crate) planning: Batches<Planning>,
}

impl std::fmt::Debug for CallWrites {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallWrites").finish_non_exhaustive()
    }
}

/// What rows cost beside bodies, about.
const ROW_BYTES: usize = 1024;

/// A call to be accepted: its row, and its body encrypted.
pub(crate) struct Acceptance {
    /// Without its body in clear.
    pub(crate) new: NewCall,
    pub(crate) delivery: String,
    pub(crate) body: SealedBody,
}

impl Acceptance {
    /// What its caller calls it, with the route that this is of.
    pub(crate) fn name(&self) -> Option<(&str, &IdempotencyKey)> {
        Some((self.new.route_id.as_str(), self.new.idempotency.as_ref()?))
    }

    pub(crate) fn seal(key: &SecretKey, new: &NewCall) -> Result<Self, StoreError> {
        Ok(Self {
            delivery: to_json("delivery", &new.delivery)?,
            body: SealedBody::seal(key, new)?,
            new: NewCall {
                id: new.id.clone(),
                project_id: new.project_id.clone(),
                app_id: new.app_id.clone(),
                route_id: new.route_id.clone(),
                version_id: new.version_id.clone(),
                trigger: new.trigger,
                call_type: new.call_type,
                request_id: new.request_id.clone(),
                not_before: new.not_before,
                priority: new.priority,
                delivery: new.delivery.clone(),
                depth: new.depth,
                idempotency: new.idempotency.clone(),
                envelope: Vec::new(),
                payload: Vec::new(),
            },
        })
    }
}

impl Batched for Acceptance {
    type Answer = Accepted;

    /// Of two calls of one name the second is looked at when the first is there.
    fn targets(&self) -> Vec<String> {
        let name = self.name().map(|(route, key)| format!("{route}/{}", key.key_hash));
        [self.new.id.to_string()].into_iter().chain(name).collect()
    }

    fn bytes(&self) -> usize {
        ROW_BYTES + self.body.envelope.len() + self.body.payload.len()
    }
}

/// A call that somebody wants to run.
pub(crate) struct Claim {
    pub(crate) id: CallId,
    pub(crate) owner: InstanceId,
    pub(crate) lease_until: Timestamp,
}

impl Batched for Claim {
    type Answer = Option<ClaimedCall>;

    fn targets(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }

    fn bytes(&self) -> usize {
        ROW_BYTES
    }
}

/// How a call ended.
pub(crate) struct Ending {
    pub(crate) id: CallId,
    pub(crate) owner: InstanceId,
    pub(crate) outcome: CallOutcome,
    pub(crate) failure: Option<String>,
    pub(crate) output: Option<SealedOutput>,
    pub(crate) deliveries: Vec<SealedDelivery>,
}

impl Ending {
    /// `Damaged` where the outcome is no end.
    pub(crate) fn seal(
        key: &SecretKey,
        id: &CallId,
        owner: &InstanceId,
        outcome: &CallOutcome,
        output: &CallOutput,
        deliveries: &[NewDelivery],
    ) -> Result<Self, StoreError> {
        if !outcome.state.is_final() {
            let detail = format!("a call does not end as {}", outcome.state);
            return Err(StoreError::Damaged { what: "outcome", detail });
        }
        Ok(Self {
            id: id.clone(),
            owner: owner.clone(),
            outcome: outcome.clone(),
            failure: outcome.failure.as_ref().map(|failure| to_json("failure", failure)).transpose()?,
            output: SealedOutput::seal(key, id, output)?,
            deliveries: SealedDelivery::seal_all(key, deliveries)?,
        })
    }

    /// What its output takes, wherever it lies.
    pub(crate) fn output_bytes(&self) -> i64 {
        self.output.as_ref().map_or(0, SealedOutput::bytes)
    }

    /// What of its output lies elsewhere.
    pub(crate) fn objects(&self) -> &[KeptObject] {
        self.output.as_ref().map(|output| output.objects.as_slice()).unwrap_or_default()
    }

    /// As the column has it.
    pub(crate) fn memory_peak_bytes(&self) -> Option<i64> {
        self.outcome.memory_peak_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

impl Batched for Ending {
    /// Whether `owner` held the call.
    type Answer = bool;

    fn targets(&self) -> Vec<String> {
        vec![self.id.to_string()]
    }

    fn bytes(&self) -> usize {
        let output = self.output.as_ref().map_or(0, |output| output.result.len() + output.log.len());
        let deliveries = self.deliveries.iter().map(|delivery| delivery.content.len());
        ROW_BYTES + output + deliveries.sum::<usize>()
    }
}

/// The answers of a batch of acceptances: what their names stood for `before`, else whether they were
/// `stored`. `NotFound` for the others: their versions are gone.
pub(crate) fn accepted(
    calls: &[Arc<Acceptance>],
    mut before: HashMap<CallId, Accepted>,
    stored: &HashSet<String>,
) -> Vec<Result<Accepted, StoreError>> {
    let answer = |call: &Arc<Acceptance>| match before.remove(&call.new.id) {
        Some(before) => Ok(before),
        None if stored.contains(call.new.id.as_str()) => Ok(Accepted::New),
        None => Err(StoreError::NotFound),
    };
    calls.iter().map(answer).collect()
}

/// What comes next of a trigger that `owner` holds.
pub(crate) struct Planning {
    pub(crate) trigger: Trigger,
    pub(crate) owner: InstanceId,
    pub(crate) plan: TriggerPlan,
}

impl Batched for Planning {
    /// Whether `owner` held it, and nobody had changed it.
    type Answer = bool;

    fn targets(&self) -> Vec<String> {
        vec![self.trigger.id.to_string()]
    }

    fn bytes(&self) -> usize {
        ROW_BYTES
    }
}

/// Plans in the order of the triggers' ids, in which all who write to several lock them, with their places
/// in the batch.
pub(crate) fn in_lock_order(plans: &[Arc<Planning>]) -> Vec<(usize, &Planning)> {
    let mut ordered: Vec<_> = plans.iter().map(|planning| &**planning).enumerate().collect();
    ordered.sort_by(|(_, a), (_, b)| a.trigger.id.cmp(&b.trigger.id));
    ordered
}

/// Opens the bodies before anything is claimed: one that cannot be read holds no lease. A body never
/// changes, it only goes with its call's end. `claim` takes the others; `exists` is asked about calls
/// without a body, which have ended.
pub(crate) async fn claim<C, F, E, G>(
    key: &SecretKey,
    claims: Vec<Arc<Claim>>,
    mut bodies: HashMap<String, SealedBody>,
    claim: C,
    exists: E,
) -> Answers<Option<ClaimedCall>>
where
    C: FnOnce(Vec<Arc<Claim>>) -> F,
    F: Future<Output = Result<Vec<Option<Call>>, StoreError>>,
    E: Fn(CallId) -> G,
    G: Future<Output = Result<Call, StoreError>>,
{
    let mut opened = Vec::with_capacity(claims.len());
    let mut readable = Vec::with_capacity(claims.len());
    for wanted in &claims {
        let body = bodies.remove(wanted.id.as_str()).map(|body| body.open(key, &wanted.id)).transpose();
        if matches!(body, Ok(Some(_))) {
            readable.push(Arc::clone(wanted));
        }
        opened.push(body);
    }
    let mut rows = if readable.is_empty() { Vec::new() } else { claim(readable).await? }.into_iter();
    let mut answers = Vec::with_capacity(claims.len());
    for (wanted, body) in claims.iter().zip(opened) {
        answers.push(match body {
            Ok(Some((envelope, payload))) => {
                let row = rows.next().flatten();
                Ok(row.map(|call| ClaimedCall { call, envelope, payload }))
            }
            Ok(None) => exists(wanted.id.clone()).await.map(|_| None),
            Err(error) => Err(error),
        });
    }
    Ok(answers)
}
