//! What the pool sees of a Lambda sandbox: one call in, the head of its answer out.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue};
use picasso_types::{Clock, Failure, SystemClock, Timestamp};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::session::{Event, Held, Session};
use super::{event, names, server};
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, Link, LinkFault};
use crate::invocation::{Body, BodyError, Invocation};
use crate::target::Target;

/// How long a runtime that lost its connection may take to ask again before another sandbox gets
/// the call. A sandbox is only leased after it has asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

const REQUEST_ID: HeaderName = HeaderName::from_static("lambda-runtime-aws-request-id");
const DEADLINE_MS: HeaderName = HeaderName::from_static("lambda-runtime-deadline-ms");
const FUNCTION_ARN: HeaderName = HeaderName::from_static("lambda-runtime-invoked-function-arn");
const TRACE_ID: HeaderName = HeaderName::from_static("lambda-runtime-trace-id");

/// A sandbox whose runtime is ready. Dropping it ends the endpoint and every call it holds.
#[derive(Debug)]
pub(super) struct LambdaLink {
    session: Arc<Session>,
    arn: String,
    max_body: usize,
    ended: CancellationToken,
    _server: AbortOnDropHandle<()>,
}

impl LambdaLink {
    /// Serves the Runtime API on a sandbox's listener, for calls with bodies of at most
    /// `max_body` bytes.
    pub(super) fn serve(
        listener: TcpListener,
        session: Arc<Session>,
        target: &Target,
        max_body: usize,
    ) -> Self {
        let ended = CancellationToken::new();
        let server = tokio::spawn(server::serve(listener, session.clone(), ended.clone()));
        let arn = names::arn(target);
        Self { session, arn, max_body, ended, _server: AbortOnDropHandle::new(server) }
    }

    fn event(&self, invocation: &Invocation, body: &Bytes, deadline: Instant) -> Result<Event, LinkFault> {
        let now = SystemClock.now();
        let body = event::of_call(invocation, body, now).map_err(|error| {
            tracing::error!(call_id = %invocation.call_id, %error, "an event could not be written");
            LinkFault::Failed(Failure::Internal)
        })?;
        let ends = now.plus(deadline.saturating_duration_since(Instant::now()));
        Ok(Event { headers: self.headers(invocation, ends), body })
    }

    /// What `next` says of a call beside its event.
    fn headers(&self, invocation: &Invocation, ends: Timestamp) -> HeaderMap {
        let texts = [
            (REQUEST_ID, Some(invocation.call_id.to_string())),
            (DEADLINE_MS, Some((ends.0 / 1000).to_string())),
            (FUNCTION_ARN, Some(self.arn.clone())),
            (TRACE_ID, names::xray_trace(&invocation.headers)),
        ];
        let values = texts.into_iter().filter_map(|(name, text)| {
            // All of it is ASCII of our own making.
            Some((name, HeaderValue::try_from(text?).ok()?))
        });
        values.collect()
    }
}

#[async_trait]
impl Link for LambdaLink {
    async fn call(&self, call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let mut untouched = Untouched(Some(lease));
        let HotCall { mut invocation, deadline } = call;
        let body = read_body(&invocation.headers, &mut invocation.body, self.max_body)
            .await
            .map_err(LinkFault::Body)?;
        let event = self.event(&invocation, &body, deadline)?;

        let (reply, answered) = oneshot::channel();
        let (over, asked_again) = oneshot::channel();
        let held = Held { id: invocation.call_id.clone(), trigger: invocation.trigger, reply, over };
        let given = tokio::time::timeout(ASK_AGAIN, self.session.give(held, event)).await;
        let lease = untouched.0.take();
        if given != Ok(true) {
            drop(lease);
            invocation.body = Box::pin(stream::iter([Ok(body)]));
            return Err(LinkFault::Unsent(Box::new(HotCall { invocation, deadline })));
        }
        // On its own from here, so that a caller who hangs up does not end the sandbox.
        tokio::spawn(async move {
            let well = matches!(tokio::time::timeout_at(deadline, asked_again).await, Ok(Ok(())));
            if well && let Some(lease) = lease {
                lease.keep();
            }
        });
        answered.await.unwrap_or_else(|_| Err(LinkFault::BrokenOff("its process ended".to_owned())))
    }

    fn ended(&self) {
        self.ended.cancel();
    }
}

/// A lease whose sandbox has seen nothing of the call yet: it stays fit for others, however the
/// call ends.
struct Untouched(Option<Lease>);

impl Drop for Untouched {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.keep();
        }
    }
}

/// Reads a request's body; Lambda's events are whole.
async fn read_body(headers: &HeaderMap, body: &mut Body, max: usize) -> Result<Bytes, BodyError> {
    let too_large = BodyError::TooLarge(max as u64);
    let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|length| length > max as u64) {
        return Err(too_large);
    }
    let mut whole = BytesMut::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if whole.len() + chunk.len() > max {
            return Err(too_large);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}
