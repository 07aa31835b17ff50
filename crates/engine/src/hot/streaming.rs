//! The rest of an answer that is not whole yet: bounded in bytes and time, recorded at its end.
//!
//! The deadline must hold although nobody reads: a caller who stopped reading must not keep a
//! sandbox. So the function's end of the body is shared with a task that takes it away in time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use picasso_types::Failure;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::running::Running;
use crate::call_events::End;
use crate::invocation::Output;

struct Rest {
    /// `None` once the call is over.
    running: Option<Running>,
    body: Option<Output>,
    /// What is still to be told of the end.
    failure: Option<Failure>,
    reader: Option<Waker>,
    left: u64,
    most: u64,
}

impl Rest {
    /// The call is over. What was its sandbox's is dropped by the caller, outside the lock.
    #[must_use]
    fn end(&mut self, end: &End) -> (Option<Running>, Option<Output>) {
        let mut running = self.running.take();
        if let Some(running) = &mut running {
            running.end(end);
        }
        (running, self.body.take())
    }
}

struct Bounded {
    rest: Arc<Mutex<Rest>>,
    _watch: DropGuard,
}

/// At most `left` more bytes of `body` (of `most` in all) until `deadline`. Dropping it ends the
/// call.
pub(super) fn bounded(running: Running, body: Output, left: u64, most: u64, deadline: Instant) -> Output {
    let limit = running.timeout();
    let rest = Rest { running: Some(running), body: Some(body), failure: None, reader: None, left, most };
    let rest = Arc::new(Mutex::new(rest));
    let over = CancellationToken::new();
    let (watched, until_over) = (rest.clone(), over.clone());
    tokio::spawn(async move {
        if tokio::time::timeout_at(deadline, until_over.cancelled()).await.is_err() {
            expire(&watched, limit);
        }
    });
    Box::pin(Bounded { rest, _watch: over.drop_guard() })
}

fn expire(rest: &Mutex<Rest>, failure: Failure) {
    let (ended, reader) = {
        let mut rest = lock(rest);
        if rest.running.is_none() {
            return;
        }
        rest.failure = Some(failure.clone());
        (rest.end(&End::of(failure)), rest.reader.take())
    };
    drop(ended);
    if let Some(reader) = reader {
        reader.wake();
    }
}

fn lock(rest: &Mutex<Rest>) -> MutexGuard<'_, Rest> {
    // Every update leaves it whole.
    rest.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream for Bounded {
    type Item = Result<Bytes, Failure>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut rest = lock(&self.rest);
        if let Some(failure) = rest.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let Some(body) = &mut rest.body else { return Poll::Ready(None) };
        let chunk = match body.poll_next_unpin(context) {
            Poll::Pending => {
                rest.reader = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(chunk) => chunk,
        };
        let most = rest.most;
        let (item, ended) = match chunk {
            Some(Ok(chunk)) if chunk.len() as u64 <= rest.left => {
                rest.left -= chunk.len() as u64;
                return Poll::Ready(Some(Ok(chunk)));
            }
            Some(Ok(_)) => {
                let failure = Failure::OutputTooLarge { limit_bytes: most };
                let ended = rest.end(&End::of(failure.clone()));
                (Some(Err(failure)), ended)
            }
            Some(Err(failure)) => {
                let ended = rest.end(&End::of(failure.clone()));
                (Some(Err(failure)), ended)
            }
            None => (None, rest.end(&End::success())),
        };
        drop(rest);
        drop(ended);
        Poll::Ready(item)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        let ended = lock(&self.rest).end(&End::of(Failure::HungUp));
        drop(ended);
    }
}
