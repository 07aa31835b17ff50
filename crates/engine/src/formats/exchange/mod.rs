//! One HTTP/1.1 exchange with a function, over a connection that nothing else uses meanwhile. When
//! it ended as HTTP says, the connection goes home where it has one ([`Home`]), else it is closed.
//!
//! The connection is driven by whoever waits for the answer, first for its head, then for its
//! body: no task of its own, no hop between tasks. When that waiter goes away and the sandbox is
//! to live on, a task takes over and reads the answer to its end.

mod answer;
mod io;
mod request_body;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use picasso_types::Failure;
use tokio::time::Instant;

pub(super) use self::answer::AnswerBody;
pub(super) use self::io::Stream;
use self::io::{Io, Rest};
pub(super) use self::request_body::RequestBody;
use self::request_body::Sent;
use crate::hot::lease::Lease;
use crate::hot::link::LinkFault;
use crate::invocation::BodyError;

/// Largest head of an answer, bytes.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most headers of an answer.
const MAX_HEADERS: usize = 100;

/// Where connections go whose exchange ended as HTTP says, so that another can use them.
pub(in crate::formats) trait Home<S>: Send + Sync {
    /// Takes a connection over which nothing is under way and nothing is left to read.
    fn rest(&self, stream: S);
    /// The function said more than its answer.
    fn said_more(&self);
}

/// What becomes of the sandbox and the connection after an exchange.
pub(super) struct Aftermath<S> {
    /// The right to use the sandbox; kept when the exchange ended as HTTP says.
    pub(super) lease: Lease,
    /// Until when an answer that nobody waits for is read, so that the sandbox can be kept;
    /// `None`: a caller that leaves costs the sandbox.
    pub(super) patience: Option<Instant>,
    /// Whether a sandbox that answers with this status is fit for further calls.
    pub(super) fit: fn(StatusCode) -> bool,
    /// Where the connection goes; `None`: it is closed.
    pub(super) home: Option<Arc<dyn Home<S>>>,
}

type HeadFuture = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// The connection of an exchange and what is known of its course.
struct Wire<S: Stream> {
    connection: Connection<Io<S>, RequestBody>,
    /// The client has nothing more to do; it must not be polled again.
    over: bool,
    fault: Option<hyper::Error>,
    sent: Sent,
    /// The answer's head lets the connection serve another exchange.
    persistent: bool,
    aftermath: Aftermath<S>,
}

impl<S: Stream> Wire<S> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if !self.over
            && let Poll::Ready(outcome) = self.connection.poll_without_shutdown(cx)
        {
            self.over = true;
            self.fault = outcome.err();
        }
    }

    /// Whether a task should take the exchange to its end now that its caller left.
    fn outlives_its_caller(&self) -> bool {
        self.sent.completely() && self.aftermath.patience.is_some_and(|until| Instant::now() < until)
    }

    /// The answer is complete: gives the sandbox back if the function said nothing more than it.
    fn conclude(self, status: StatusCode) {
        let Self { connection, sent, persistent, aftermath: Aftermath { lease, fit, home, .. }, .. } = self;
        let parts = connection.into_parts();
        let rest = if parts.read_buf.is_empty() { parts.io.peek() } else { Rest::Bytes };
        match (rest, home) {
            (Rest::Bytes, home) => {
                if let Some(home) = home {
                    home.said_more();
                }
                return;
            }
            (Rest::Open(stream), Some(home)) if persistent && sent.completely() => home.rest(stream),
            _ => {}
        }
        if fit(status) {
            lease.keep();
        }
    }
}

/// An exchange whose answer has no head yet. Dropped, it goes on in a task where the sandbox is
/// to outlive the caller; otherwise its connection closes and the sandbox with it.
struct Waiting<S: Stream> {
    course: Option<(Wire<S>, HeadFuture)>,
}

impl<S: Stream> Waiting<S> {
    async fn head(mut self) -> Result<Response<AnswerBody<S>>, LinkFault> {
        let outcome = poll_fn(|cx| self.poll_head(cx)).await;
        let Some((mut wire, _)) = self.course.take() else { return Err(broken_off()) };
        match outcome {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                Err(bad_answer("it switched protocols, which nobody asked for"))
            }
            Ok(response) => {
                let (parts, incoming) = response.into_parts();
                let status = parts.status;
                wire.persistent = is_persistent(parts.version, &parts.headers);
                Ok(Response::from_parts(parts, AnswerBody::new(incoming, wire, status)))
            }
            Err(error) => Err(fault(&error)),
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<Response<Incoming>>> {
        let Some((wire, head)) = &mut self.course else { return Poll::Pending };
        wire.poll(cx);
        head.as_mut().poll(cx)
    }
}

impl<S: Stream> Drop for Waiting<S> {
    fn drop(&mut self) {
        let Some((wire, head)) = self.course.take() else { return };
        if wire.outlives_its_caller()
            && let Some(until) = wire.aftermath.patience
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let rest = async move {
                if let Ok(response) = (Self { course: Some((wire, head)) }).head().await {
                    response.into_body().discard().await;
                }
            };
            runtime.spawn(tokio::time::timeout_at(until, rest));
        }
    }
}

/// Sends `request` over `stream` and waits for the head of its answer. Dropping the future, or
/// later the body, ends the exchange as its aftermath says.
pub(super) async fn exchange<S: Stream>(
    stream: S,
    request: Request<RequestBody>,
    aftermath: Aftermath<S>,
) -> Result<Response<AnswerBody<S>>, LinkFault> {
    let sent = request.body().sent();
    let mut client = Builder::new();
    // Names as servers of every kind have seen them for thirty years.
    client.title_case_headers(true).max_buf_size(MAX_HEAD_BYTES);
    client.max_header_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let (mut sender, connection) = client.handshake(Io::new(stream)).await.map_err(|error| fault(&error))?;
    let head: HeadFuture = Box::pin(sender.send_request(request));
    drop(sender);
    let wire = Wire { connection, over: false, fault: None, sent, persistent: false, aftermath };
    Waiting { course: Some((wire, head)) }.head().await
}

/// Whether a connection can serve another exchange after an answer with this head (RFC 9112, 9.3);
/// one that only its end ends is closed by then.
fn is_persistent(version: Version, headers: &HeaderMap) -> bool {
    let mut options = headers.get_all(header::CONNECTION).iter();
    version == Version::HTTP_11
        && options.all(|value| {
            let options = value.as_bytes().split(|byte| *byte == b',');
            options.map(<[u8]>::trim_ascii).all(|option| !option.eq_ignore_ascii_case(b"close"))
        })
}

/// What a failed exchange means for its call.
fn fault(error: &hyper::Error) -> LinkFault {
    if let Some(error) = body_error(error) {
        LinkFault::Body(error)
    } else if error.is_parse_too_large() {
        bad_answer("its response header is too large (64 KiB and 100 headers are the limit)")
    } else if error.is_parse() {
        bad_answer("what it sent is not HTTP/1.1")
    } else {
        broken_off()
    }
}

/// The fault of the request's own body, where that was it.
fn body_error(error: &hyper::Error) -> Option<BodyError> {
    std::error::Error::source(error)?.downcast_ref().copied()
}

fn bad_answer(reason: &str) -> LinkFault {
    LinkFault::Failed(Failure::BadAnswer { reason: reason.to_owned() })
}

fn broken_off() -> LinkFault {
    LinkFault::BrokenOff("the function closed the connection before it answered".to_owned())
}
