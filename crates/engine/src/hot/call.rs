//! One call through a warm pool, in the caller's own task: a place of its route, a sandbox, CPU,
//! the exchange, the answer.
//!
//! Dropping the future at any point ends the call: what it holds - place, sandbox, lease - goes
//! back by itself, and its record says that the caller hung up.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use picasso_types::{Failure, Resource, VersionSpec};
use tokio::time::Instant;

use super::instance::Instance;
use super::lease::Lease;
use super::link::{HotAnswer, HotCall, LinkFault};
use super::pool::NoSandbox;
use super::running::Running;
use super::streaming;
use crate::admission::NotAdmitted;
use crate::call_events::{End, HEAD_BYTES};
use crate::engine::Shared;
use crate::gate::{Pass, Refused};
use crate::invocation::{Answer, AnswerHead, BodyError, Invocation, Output};
use crate::slot;
use crate::target::Target;

/// A call that sandboxes did not take is given to so many, then it fails.
const MAX_SANDBOXES: u32 = 3;

/// Runs a call of a hot format until its answer has begun.
pub(crate) async fn run(shared: &Arc<Shared>, invocation: Invocation) -> Result<Answer, End> {
    let mut running = Running::new(shared, &invocation);
    let target = running.target.clone();
    let Some(version) = target.version.as_ref().filter(|version| version.digest.is_some()) else {
        return Err(running.fail(End { may_repeat: true, ..End::of(target.not_ready()) }));
    };
    if target.is_suspended() {
        return Err(running.fail(End::of(Failure::IdentitySuspended)));
    }
    let spec = &version.spec;
    let until = Instant::now() + Duration::from_secs(spec.queue_timeout_s.into());
    match places(shared, &target, until, invocation.kept.is_some()).await {
        Ok(places) => running.places = Some(places),
        Err(end) => return Err(running.fail(end)),
    }
    let mut invocation = invocation;
    for _ in 0..MAX_SANDBOXES {
        let (instance, lease) = match sandbox(shared, &target, spec, until).await {
            Ok(ready) => ready,
            Err(end) => return Err(running.fail(end)),
        };
        running.starts_in(&instance);
        // Lines of a sandbox with several calls cannot be told apart.
        if spec.concurrency == 1 {
            instance.log.begin(Some(running.call_id.clone()), running.kept.as_ref());
        } else {
            instance.log.begin(None, None);
        }
        let limit = Duration::from_secs(spec.timeout_s.into());
        let dispatched = Instant::now();
        let deadline = dispatched + limit;
        let call = HotCall { invocation, deadline };
        let fault = match tokio::time::timeout_at(deadline, instance.link.call(call, lease)).await {
            Ok(Ok(answer)) => {
                let answer = begin(running, instance, answer, deadline, dispatched);
                return answer.await;
            }
            Ok(Err(fault)) => fault,
            Err(_) => {
                let stderr_tail = instance.log.tail();
                let failure = running.timeout();
                return Err(running.fail(End { stderr_tail, ..End::of(failure) }));
            }
        };
        match end_of_fault(&instance, fault).await {
            Ok(unsent) => invocation = unsent,
            Err(end) => return Err(running.fail(end)),
        }
    }
    let reason = format!("{MAX_SANDBOXES} of its sandboxes did not take the call");
    Err(running.fail(End { may_repeat: true, ..End::of(Failure::BadAnswer { reason }) }))
}

/// A place among the project's calls, which only a call from the queue waits for, and one of the
/// route.
async fn places(shared: &Shared, target: &Target, until: Instant, queued: bool) -> Result<(Pass, Pass), End> {
    let Some(version) = &target.version else { return Err(End::of(target.not_ready())) };
    let gates = target.place.gates(&shared.admission, &target.app.project_id, version);
    let call = shared.admission.call(&target.app.project_id, gates, queued.then_some(until)).await;
    let call = call.map_err(|refused| slot::end_of_refused(refused, &version.spec))?;
    let gate = &gates.route.calls;
    let entered = match gate.try_enter(1) {
        Ok(Some(pass)) => return Ok((call, pass)),
        Ok(None) => tokio::time::timeout_at(until, gate.enter(1)).await,
        Err(refused) => Ok(Err(refused)),
    };
    match entered {
        Ok(Ok(pass)) => Ok((call, pass)),
        Ok(Err(Refused::TooLarge | Refused::TooManyWaiting)) | Err(_) => Err(no_capacity()),
    }
}

fn no_capacity() -> End {
    End { may_repeat: true, ..End::of(Failure::NoCapacity) }
}

/// A ready sandbox with the CPU to run the call.
async fn sandbox(
    shared: &Arc<Shared>,
    target: &Target,
    spec: &VersionSpec,
    until: Instant,
) -> Result<(Arc<Instance>, Lease), End> {
    let checkout = loop {
        let found = target.place.pool(|| shared.hot.pool(target));
        let Some(pool) = found else { return Err(End::of(target.not_ready())) };
        match pool.checkout(until).await {
            Ok(checkout) => break checkout,
            // Nobody had used it for a while: there is a new one.
            Err(NoSandbox::Closed) => target.place.forget_pool(),
            Err(NoSandbox::NoCapacity) => {
                return Err(match pool.gates.project.short_of_memory() {
                    Some(limit) => {
                        slot::end_of_refused(NotAdmitted::OverLimit(Resource::Memory, limit), spec)
                    }
                    None => no_capacity(),
                });
            }
            Err(NoSandbox::ShuttingDown) => return Err(no_capacity()),
            Err(NoSandbox::Failed(end)) => return Err(*end),
        }
    };
    if checkout.first {
        match tokio::time::timeout_at(until, shared.admission.cpu()).await {
            Ok(Ok(cpu)) => {
                if let Some(instance) = checkout.instance() {
                    instance.set_cpu(Some(cpu));
                }
            }
            Ok(Err(refused)) => return Err(slot::end_of_refused(refused, spec)),
            Err(_) => return Err(no_capacity()),
        }
    }
    checkout.lease().ok_or_else(no_capacity)
}

/// The call again, where another sandbox may take it, or how it ended.
async fn end_of_fault(instance: &Instance, fault: LinkFault) -> Result<Invocation, End> {
    Err(match fault {
        LinkFault::Unsent(call) => return Ok(call.invocation),
        LinkFault::BrokenOff(reason) => {
            let (failure, exit_code, stderr_tail) = instance.why(reason).await;
            End { stderr_tail, exit_code, ..End::of(failure) }
        }
        LinkFault::Body(error) => {
            let body_error = matches!(error, BodyError::TooLarge(_)).then_some(error);
            End { body_error, ..End::of(Failure::HungUp) }
        }
        LinkFault::Failed(failure) => {
            let may_repeat = failure == Failure::Internal;
            End { stderr_tail: instance.log.tail(), may_repeat, ..End::of(failure) }
        }
    })
}

/// The answer, with as much of its body as is there already: one that is whole needs nothing more
/// of us.
async fn begin(
    mut running: Running,
    instance: Arc<Instance>,
    answer: HotAnswer,
    deadline: Instant,
    dispatched: Instant,
) -> Result<Answer, End> {
    let HotAnswer { status, headers, mut body } = answer;
    running.status = Some(status.as_u16());
    let most = running.shared.parts.settings.max_output_bytes;
    let (first, whole) = match ready_part(&mut body, most).await {
        Ok(part) => part,
        Err(failure) => {
            drop(body);
            let end = match failure {
                Failure::BadAnswer { reason } => {
                    let (failure, exit_code, stderr_tail) = instance.why(reason).await;
                    End { stderr_tail, exit_code, ..End::of(failure) }
                }
                failure => End { stderr_tail: instance.log.tail(), ..End::of(failure) },
            };
            return Err(running.fail(end));
        }
    };
    instance.pool.served(dispatched.elapsed());
    let head = Some(AnswerHead { status, headers });
    if whole {
        drop(body);
        running.succeed();
        return Ok(Answer { head, first, rest: None });
    }
    let left = most.saturating_sub(first.len() as u64);
    let rest = streaming::bounded(running, body, left, most, deadline);
    Ok(Answer { head, first, rest: Some(rest) })
}

/// What of a body can be read without waiting, up to 64 KiB, and whether that is all of it.
async fn ready_part(body: &mut Output, most: u64) -> Result<(Bytes, bool), Failure> {
    let mut first = Bytes::new();
    loop {
        let chunk = match futures_util::poll!(body.next()) {
            Poll::Ready(Some(chunk)) => chunk?,
            Poll::Ready(None) => return Ok((first, true)),
            Poll::Pending => return Ok((first, false)),
        };
        first = if first.is_empty() {
            chunk
        } else {
            let mut both = BytesMut::with_capacity(first.len() + chunk.len());
            both.extend_from_slice(&first);
            both.extend_from_slice(&chunk);
            both.freeze()
        };
        if first.len() as u64 > most {
            return Err(Failure::OutputTooLarge { limit_bytes: most });
        }
        if first.len() >= HEAD_BYTES {
            return Ok((first, false));
        }
    }
}

/// Runs a call of a hot format that nobody waits for, to its end. A status of 400 or more is a
/// failure then.
pub(crate) async fn run_to_end(shared: &Arc<Shared>, invocation: Invocation) -> End {
    let kept = invocation.kept.clone();
    let answer = match run(shared, invocation).await {
        Ok(answer) => answer,
        Err(end) => return end,
    };
    let keep = async |chunk: &[u8]| {
        if let Some(kept) = &kept {
            kept.keep_result(chunk).await;
        }
    };
    if let Some((kept, head)) = kept.as_ref().zip(answer.head.as_ref()) {
        kept.set_head(&head.headers);
    }
    keep(&answer.first).await;
    if let Some(mut rest) = answer.rest {
        while let Some(chunk) = rest.next().await {
            match chunk {
                Ok(chunk) => keep(&chunk).await,
                Err(failure) => return End::of(failure),
            }
        }
    }
    match answer.head.map(|head| head.status.as_u16()) {
        Some(status @ 400..) => End { status: Some(status), ..End::of(Failure::Status { status }) },
        status => End { status, ..End::success() },
    }
}
