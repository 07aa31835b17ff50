//! Calls as clients see them.

use picasso_engine::LogLine;
use picasso_types::outgoing::Delivery;
use picasso_types::{Call, CallId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::link_view::LinkView;
use crate::views::iso8601;

/// A call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallView {
    /// Its id.
    id: String,
    /// The full name of its app when it was accepted.
    #[schema(example = "hello-968f523b6fec4a7694aaa27b")]
    app: String,
    /// The pattern of its route then.
    #[schema(example = "/hello")]
    route: String,
    /// The number of the version it runs.
    version: u32,
    /// Which way it came: `run`, `function_url`, or `destination` of another call.
    trigger: &'static str,
    /// `sync` or `async`.
    r#type: &'static str,
    /// `queued`, `running`, `succeeded`, `failed`, `timed_out`, `cancelled` or `dead`.
    status: &'static str,
    /// Runs so far.
    attempt: u32,
    /// Somebody cancelled it while it ran.
    cancel_requested: bool,
    /// When it was accepted, UTC.
    created_at: String,
    /// It does not run before this time, UTC: its delay, or the wait before its next attempt.
    not_before: String,
    /// 0 to 2; calls of a higher one run first.
    priority: u8,
    /// How many calls caused each other before it; 0 for one that came from outside.
    depth: u32,
    /// When its last run began, UTC.
    started_at: Option<String>,
    /// When it ended, UTC.
    finished_at: Option<String>,
    /// From the time it was due, or was last retried by hand, to the start of its last run.
    queue_ms: Option<u64>,
    /// From its start to its end.
    run_ms: Option<u64>,
    /// Whether a sandbox had to be started for it.
    cold_start: Option<bool>,
    /// Most memory it used, MiB, where it was measured.
    memory_peak_mb: Option<u64>,
    /// The exit code, where there was one.
    exit_code: Option<i32>,
    /// The HTTP status that the function answered with, where its format has one.
    http_status: Option<u16>,
    /// Why it did not succeed; of a call that waits for its next attempt, why the last one did not.
    error: Option<String>,
    /// The server process that ran it last.
    node: Option<String>,
    /// The request that brought it.
    request_id: String,
    /// What its end sends to others; of one call only, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryView>>,
    /// Itself, its log and its result.
    links: Vec<LinkView>,
}

/// What an ended call sends to one receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryView {
    /// Its id, the `webhook-id` of every attempt.
    id: String,
    /// `callback`, `http`, `route` or `zaqar`.
    kind: &'static str,
    /// The receiver; a URL without its query.
    target: String,
    /// `waiting`, `delivered` or `failed`.
    state: &'static str,
    /// Attempts that began.
    attempts: u32,
    /// Why the last attempt failed.
    last_error: Option<String>,
    /// When it is tried next, UTC.
    next_attempt_at: Option<String>,
    /// When it was delivered or given up, UTC.
    finished_at: Option<String>,
}

impl From<&Delivery> for DeliveryView {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            kind: delivery.kind.as_str(),
            target: delivery.target.clone(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            last_error: delivery.last_error.clone(),
            next_attempt_at: delivery.finished_at.is_none().then(|| iso8601(delivery.not_before)),
            finished_at: delivery.finished_at.map(iso8601),
        }
    }
}

impl CallView {
    /// `base` is the API's base URL.
    pub(crate) fn new(call: &Call, base: &str) -> Self {
        let own = format!("{base}/v1/{}/calls/{}", call.project_id, call.id);
        let link = |rel, href| LinkView { rel, href };
        Self {
            id: call.id.to_string(),
            app: call.app_name.clone(),
            route: call.route_path.clone(),
            version: call.version_number,
            trigger: call.trigger.as_str(),
            r#type: call.call_type.as_str(),
            status: call.state.as_str(),
            attempt: call.attempt,
            cancel_requested: call.cancel_requested,
            created_at: iso8601(call.created_at),
            not_before: iso8601(call.not_before),
            priority: call.priority,
            depth: call.depth,
            started_at: call.started_at.map(iso8601),
            finished_at: call.finished_at.map(iso8601),
            queue_ms: call.started_at.map(|started| millis(call.queued_at.max(call.due_at), started)),
            run_ms: call.started_at.zip(call.finished_at).map(|(from, to)| millis(from, to)),
            cold_start: call.cold_start,
            memory_peak_mb: call.memory_peak_bytes.map(|bytes| bytes.div_ceil(1 << 20)),
            exit_code: call.exit_code,
            http_status: call.http_status,
            error: call.failure.as_ref().map(ToString::to_string),
            node: call.node.clone(),
            request_id: call.request_id.clone(),
            deliveries: None,
            links: vec![
                link("log", format!("{own}/log")),
                link("result", format!("{own}/result")),
                link("self", own),
            ],
        }
    }
}

impl CallView {
    /// The same with what its end sends.
    pub(crate) fn with_deliveries(mut self, deliveries: &[Delivery]) -> Self {
        self.deliveries = Some(deliveries.iter().map(DeliveryView::from).collect());
        self
    }
}

/// Clocks of two machines may differ: never negative.
fn millis(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from(to.since(from) / 1000).unwrap_or(0)
}

/// One call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallAnswer {
    pub(crate) call: CallView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// A page of calls.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallsAnswer {
    pub(crate) calls: Vec<CallView>,
    /// The next page, where there may be one.
    pub(crate) calls_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Calls were queued again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RetriedAnswer {
    /// How many.
    pub(crate) retried: u32,
    /// More calls fit the filters: ask again.
    pub(crate) more: bool,
    /// What was done.
    pub(crate) message: &'static str,
}

/// What a function answered to an asynchronous call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResultAnswer {
    /// The text, or base64 where it is not UTF-8.
    pub(crate) result: String,
    /// `base64` where `result` is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<&'static str>,
    /// The content type that the function chose, where its format has one.
    pub(crate) content_type: Option<String>,
    /// The HTTP status that the function answered with, where its format has one.
    pub(crate) http_status: Option<u16>,
    /// More was answered than is kept.
    pub(crate) truncated: bool,
    /// How much was answered, bytes.
    pub(crate) total_bytes: u64,
    /// What was done.
    pub(crate) message: &'static str,
}

/// What a function wrote for its owner.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogAnswer {
    pub(crate) log: Vec<LogLineView>,
    /// More was written than is kept.
    pub(crate) truncated: bool,
    /// What was done.
    pub(crate) message: &'static str,
}

/// One line of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogLineView {
    /// When it was read, UTC.
    time: String,
    /// `stderr` or `stdout`.
    stream: String,
    /// The call that wrote it.
    call_id: String,
    /// Its text.
    line: String,
}

impl LogLineView {
    pub(crate) fn new(call: &CallId, line: LogLine) -> Self {
        let LogLine { time, stream, line } = line;
        Self { time: iso8601(time), stream, call_id: call.to_string(), line }
    }
}
