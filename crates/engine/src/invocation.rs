//! What goes into the engine and what comes out.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method, StatusCode};
use picasso_types::{CallId, Failure, PathParams, RequestId, Trigger};

use crate::kept_output::KeptOutput;
use crate::target::Target;

/// A request body as it arrives.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why a request body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than the limit, bytes.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(u64),
    /// The caller went away or sent a broken body.
    #[error("the request body ended early")]
    Aborted,
}

/// One call of a function.
pub struct Invocation {
    /// Its id.
    pub call_id: CallId,
    /// The request that brought it.
    pub request_id: RequestId,
    /// Which way it came in.
    pub trigger: Trigger,
    /// What to run.
    pub target: Arc<Target>,
    /// The address the request came from, where it came from one.
    pub client: Option<IpAddr>,
    /// The request's method.
    pub method: Method,
    /// The request's absolute URL as the caller wrote it.
    pub url: String,
    /// Its headers, cleaned: no tokens, identity or hop-by-hop headers, no names with `_`. A
    /// `traceparent` (W3C Trace Context) is always among them. A CloudEvent is in the form of the
    /// binary HTTP binding.
    pub headers: HeaderMap,
    /// Parameters of the route's pattern, percent-decoded.
    pub params: PathParams,
    /// How many calls caused each other before it ([`crate::depth`]); the engine tells its function.
    pub depth: u32,
    /// Its body.
    pub body: Body,
    /// Where its answer and log are kept, of an asynchronous call.
    pub kept: Option<Arc<KeptOutput>>,
}

/// The rest of an answer after its head. An error means: abort the connection.
pub type Output = Pin<Box<dyn Stream<Item = Result<Bytes, Failure>> + Send>>;

/// A synchronous call that began to answer. Dropping it ends the call.
pub struct Answer {
    /// The status and headers that the function chose; `None` where its format has none.
    pub head: Option<AnswerHead>,
    /// The first bytes of the body: all there is where `rest` is `None`.
    pub first: Bytes,
    /// The rest; `None` when the function has said everything.
    pub rest: Option<Output>,
}

/// What a function says before its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerHead {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, without those of its connection; the edge removes those that are only ours
    /// to set.
    pub headers: HeaderMap,
}

/// A call that failed before its answer began.
#[derive(Debug, Clone)]
pub struct CallError {
    /// What happened.
    pub failure: Failure,
    /// The last up to 4 KiB of stderr, for callers with a token.
    pub stderr_tail: Vec<u8>,
    /// When to try again, where that helps.
    pub retry_after: Option<Duration>,
    /// The request body was the reason.
    pub body_error: Option<BodyError>,
}
