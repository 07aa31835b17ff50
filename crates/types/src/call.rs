//! Calls: one run of a function, from acceptance to outcome.

use crate::clock::Timestamp;
use crate::delivery::CallDelivery;
use crate::failure::Failure;
use crate::ids::{AppId, CallId, ProjectId, RequestId, RouteId, VersionId};
use crate::kept_object::KeptObject;
use crate::route_type::RouteType;
use crate::text_enum::text_enum;

text_enum!(
    /// Where a call came from.
    Trigger, "trigger" {
        /// A wrapped v1 run (`/v1/r/…` or `/r/…`).
        Run = "run",
        /// A function URL (`/f/…` or `/v1/f/…`).
        FunctionUrl = "function_url",
        /// The IronFunctions face (`/r/…` there).
        IronFunctions = "ironfunctions",
        /// The end of another call, whose destination its route is.
        Destination = "destination",
        /// A schedule.
        Schedule = "schedule",
        /// A notification of an OpenStack service.
        Notification = "notification",
        /// A webhook's URL.
        Webhook = "webhook",
        /// A change of an object in Swift.
        Object = "object",
        /// Messages of a Zaqar queue.
        Queue = "queue",
    }
);

text_enum!(
    /// Where a call stands.
    CallState, "status" {
        /// Accepted, waiting to run.
        Queued = "queued",
        /// Running on a node that holds its lease.
        Running = "running",
        /// The function ended with exit code 0.
        Succeeded = "succeeded",
        /// The function failed; the outcome says how.
        Failed = "failed",
        /// The function was ended at its time limit.
        TimedOut = "timed_out",
        /// The caller hung up, or the call was cancelled.
        Cancelled = "cancelled",
        /// Given up: it was tried for as long, or its runs were lost as often, as the service allows.
        Dead = "dead",
    }
);

impl CallState {
    /// Whether nothing more will happen to the call.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallOutcome {
    /// A final state.
    pub state: CallState,
    /// Why it did not succeed.
    pub failure: Option<Failure>,
    /// The exit code, where there was one.
    pub exit_code: Option<i32>,
    /// The HTTP status that the function answered with, where its format has one.
    pub http_status: Option<u16>,
    /// Whether a sandbox had to be started for it; `None` when it never got to one.
    pub cold_start: Option<bool>,
    /// Most memory the sandbox used, bytes, where it was measured.
    pub memory_peak_bytes: Option<u64>,
}

/// What is kept of an ended asynchronous call beside its row, each encoded by the engine and
/// bounded there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOutput {
    /// What the function answered.
    pub result: Vec<u8>,
    /// What it wrote for its owner.
    pub log: Vec<u8>,
    /// What of both lies outside the database; told when a call ends, not when its output is read.
    pub objects: Vec<KeptObject>,
}

/// Which calls of a project are listed: newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFilter {
    /// The project.
    pub project_id: ProjectId,
    /// Only those of the app with this full name.
    pub app_name: Option<String>,
    /// Only those of routes with this pattern.
    pub route_path: Option<String>,
    /// Only those in this state.
    pub state: Option<CallState>,
    /// Only those accepted at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that come after this one in the list: older, or as old with a smaller id.
    pub after: Option<(Timestamp, CallId)>,
    /// At most so many.
    pub limit: u32,
}

/// What became of the wish to cancel a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited; it is `cancelled` now.
    Queued,
    /// It runs; whoever runs it is told with the next extension of its lease.
    Running,
    /// It had ended already.
    Finished(CallState),
}

/// What became of the wish to run a call again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is `queued` again.
    Queued,
    /// It has not ended.
    NotFinished(CallState),
    /// It succeeded: there is nothing to run again.
    Succeeded,
    /// What its caller sent is not kept (any more).
    NoBody,
}

/// What became of the wish to run many calls again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetriedCalls {
    /// So many are `queued` again.
    pub queued: u32,
    /// More calls than those fit the filter.
    pub more: bool,
}

/// A caller's name for one request, so that sending it again makes no second call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// SHA-256 of the key, in hex: the key itself may be a secret of the caller's.
    pub key_hash: String,
    /// SHA-256 of what was asked for, in hex.
    pub request_hash: String,
    /// Until when the key stands for this call.
    pub expires_at: Timestamp,
}

/// What became of a call that was to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// It is on disk and will run.
    New,
    /// Its idempotency key stands for this call, which was accepted before; nothing was stored.
    Before(CallId),
    /// Its idempotency key stands for another request; nothing was stored.
    KeyOfOther,
}

/// An asynchronous call to be accepted: row, payload and outbox entry in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its id.
    pub id: CallId,
    /// The project the route belongs to.
    pub project_id: ProjectId,
    /// The app.
    pub app_id: AppId,
    /// The route.
    pub route_id: RouteId,
    /// The version that was active when the call was accepted.
    pub version_id: VersionId,
    /// Where it came from.
    pub trigger: Trigger,
    /// Sync or async.
    pub call_type: RouteType,
    /// The request that brought it.
    pub request_id: RequestId,
    /// Not to be run before this time.
    pub not_before: Timestamp,
    /// 0 to 2; higher runs first.
    pub priority: u8,
    /// What it takes over of its route's delivery options.
    pub delivery: CallDelivery,
    /// How many calls caused each other before it; 0 for one that came from outside.
    pub depth: u32,
    /// Its caller's name for the request.
    pub idempotency: Option<IdempotencyKey>,
    /// The encoded invocation (method, url, headers, parameters), without credentials.
    pub envelope: Vec<u8>,
    /// The request body.
    pub payload: Vec<u8>,
}

/// A call as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its id.
    pub id: CallId,
    /// The project the route belongs to.
    pub project_id: ProjectId,
    /// The app.
    pub app_id: AppId,
    /// The route.
    pub route_id: RouteId,
    /// The version it runs.
    pub version_id: VersionId,
    /// The app's full name when the call was accepted; the record outlives the app.
    pub app_name: String,
    /// The route's pattern then.
    pub route_path: String,
    /// The version's number.
    pub version_number: u32,
    /// Where it came from.
    pub trigger: Trigger,
    /// Sync or async.
    pub call_type: RouteType,
    /// Where it stands.
    pub state: CallState,
    /// The request that brought it.
    pub request_id: String,
    /// 1 for the first run, counted up when a run was lost or the call is retried.
    pub attempt: u32,
    /// Runs that ended with the process that ran them, since it was accepted or last retried.
    pub lost_runs: u32,
    /// Runs that failed in a way that its retry policy repeats, since it was accepted or last
    /// retried by hand.
    pub failed_runs: u32,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
    /// Not to be run before this time.
    pub not_before: Timestamp,
    /// When it was first due: what `max_age` counts from. Set anew by a retry by hand.
    pub due_at: Timestamp,
    /// 0 to 2; higher runs first.
    pub priority: u8,
    /// What it took over of its route's delivery options.
    pub delivery: CallDelivery,
    /// How many calls caused each other before it; 0 for one that came from outside.
    pub depth: u32,
    /// Until when the running node holds it.
    pub lease_until: Option<Timestamp>,
    /// The process that runs it, or ran it last.
    pub node: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it began to wait: at acceptance, or at its last retry.
    pub queued_at: Timestamp,
    /// When its last run began.
    pub started_at: Option<Timestamp>,
    /// When it reached its final state.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub failure: Option<Failure>,
    /// The exit code, where there was one.
    pub exit_code: Option<i32>,
    /// The HTTP status that the function answered with, where its format has one.
    pub http_status: Option<u16>,
    /// Whether a sandbox had to be started for it, where that is known.
    pub cold_start: Option<bool>,
    /// Most memory used, bytes.
    pub memory_peak_bytes: Option<u64>,
}
