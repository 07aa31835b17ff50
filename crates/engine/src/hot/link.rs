//! What the pool asks of a function's format.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::{HeaderMap, StatusCode};
use picasso_image::ImageProcess;
use picasso_sandbox::{Channel, Endpoint, Fence};
use picasso_types::Failure;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::conduct::Conduct;
use super::lease::Lease;
use crate::function_log::FunctionLog;
use crate::invocation::{BodyError, Invocation, Output};
use crate::secrets::OpenSecrets;
use crate::target::Target;

/// One call on its way to a hot sandbox.
pub(crate) struct HotCall {
    /// The call.
    pub(crate) invocation: Invocation,
    /// When its answer must be complete.
    pub(crate) deadline: Instant,
}

/// What a hot sandbox answers; the body still streams. Dropping the body ends the call.
pub(crate) struct HotAnswer {
    /// The function's status.
    pub(crate) status: StatusCode,
    /// The function's headers, hop-by-hop ones and those of its contract removed.
    pub(crate) headers: HeaderMap,
    /// The body. An error means that the answer is cut short.
    pub(crate) body: Output,
}

/// Why a hot sandbox gave no answer.
pub(crate) enum LinkFault {
    /// The function has not seen one byte of the call: another sandbox may take it.
    Unsent(Box<HotCall>),
    /// The sandbox broke off or broke its contract, in a sentence. The pool finds out whether its
    /// process ended and tells that instead.
    BrokenOff(String),
    /// The request's body was the reason; 413 or the caller's abort.
    Body(BodyError),
    /// Anything else.
    Failed(Failure),
}

/// A sandbox that is ready for calls, as its format talks to it.
///
/// The deadline is enforced by the caller of [`Link::call`], who drops the future (or, later, the
/// answer's body) when it passes or when the caller hung up. A link that wants a sandbox to
/// survive its caller goes on in a task of its own until `deadline`, holding the lease.
#[async_trait]
pub(crate) trait Link: Send + Sync + std::fmt::Debug {
    /// Gives the sandbox one call and returns when the answer's head is there. The lease is kept
    /// or dropped when the exchange is over, body included.
    async fn call(&self, call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault>;

    /// Asks the function to end by itself (SIGTERM is sent beside it); nothing by default.
    fn close(&self) {}

    /// The process ended; what it wrote before still counts. Nothing by default: most links see
    /// the end of their channel.
    fn ended(&self) {}
}

/// A process that was just started.
pub(crate) struct Started {
    /// The function's stdin.
    pub(crate) stdin: Pin<Box<dyn AsyncWrite + Send>>,
    /// The function's stdout. Formats that do not use it give it to `log`.
    pub(crate) stdout: Pin<Box<dyn AsyncRead + Send>>,
    /// Tells what the function has read and written, where the driver can.
    pub(crate) fence: Option<Fence>,
    /// Our end of the format's [`Channel`].
    pub(crate) endpoint: Endpoint,
    /// Takes lines that the function writes; stderr is followed already.
    pub(crate) log: Arc<FunctionLog>,
    /// What runs in it.
    pub(crate) target: Arc<Target>,
    /// Most bytes of a body that a format holds in memory as a whole, of requests and of answers.
    pub(crate) max_buffered_body_bytes: u64,
    /// How the version behaved so far.
    pub(crate) conduct: Conduct,
    /// How long it may take to become ready.
    pub(crate) start_timeout: Duration,
}

/// One hot format: how its process is started, and how calls reach it.
#[async_trait]
pub(crate) trait HotFormat: Send + Sync + std::fmt::Debug {
    /// How calls reach the process beside its standard streams.
    fn channel(&self) -> Channel;

    /// The whole environment of the process: the image's, the configuration as the contract
    /// writes it, the secrets, the contract's own variables.
    fn environment(
        &self,
        image: &ImageProcess,
        target: &Target,
        secrets: &OpenSecrets,
    ) -> Vec<(String, String)>;

    /// Waits until the process can take its first call. The future is dropped when the process
    /// ends meanwhile. A failure is the function's ([`Failure::InitFailed`]) or ours.
    async fn open(&self, started: Started) -> Result<Arc<dyn Link>, Failure>;
}
