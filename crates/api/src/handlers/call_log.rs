//! The log of a call: whole, or line by line while it runs.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Uri, header};
use picasso_engine::{KeptLog, LogLine};
use picasso_types::{Call, CallId, FieldFault};
use tokio::sync::watch;
use tokio::time::Instant;

use super::call_records::find_call;
use crate::call_views::{LogAnswer, LogLineView};
use crate::error::{ApiError, ErrorView};
use crate::request::auth::{Authorized, Reader};
use crate::request::path::CallPath;
use crate::request::query::Query;
use crate::state::ApiState;

/// A call that waits, or runs in another process, is looked at this often.
const POLL: Duration = Duration::from_secs(1);
/// A log is followed no longer; the client asks again, with a token that is still good.
const LONGEST: Duration = Duration::from_mins(15);

/// Show what a function wrote for its owner during an asynchronous call's last run.
///
/// With `follow=true` the answer is one JSON object for each line (`application/x-ndjson`), sent
/// as they are written, until the call ends. Lines of a call that runs in another server process
/// come at its end.
#[utoipa::path(
    get,
    path = "/v1/{project_id}/calls/{call_id}/log",
    tag = "calls",
    params(
        ("project_id" = String, Path, description = "The project of the token"),
        ("call_id" = String, Path, description = "The call's id"),
        ("follow" = Option<bool>, Query, description = "Send lines as they are written"),
    ),
    responses(
        (status = 200, description = "The lines; none of a synchronous call", body = LogAnswer),
        (status = 400, description = "A field of the query is refused", body = ErrorView),
        (status = 404, description = "The project has no such call", body = ErrorView),
    ),
    security(("keystone_token" = ["reader"]))
)]
pub(crate) async fn get_log(
    Reader(auth): Reader,
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query::parse(uri.query(), &["follow"])?;
    let follow = match query.get("follow") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(FieldFault::new("follow", "must be \"true\" or \"false\"").into()),
    };
    let call = find_call(&state, &auth.project, &id).await?;
    if follow {
        return Ok(followed(state, auth, call.id));
    }
    let KeptLog { lines, cut } = log_so_far(&state, &call).await?;
    Ok(Json(LogAnswer {
        log: lines.into_iter().map(|line| LogLineView::new(&id, line)).collect(),
        truncated: cut,
        message: if cut {
            "Successfully loaded the beginning of the log; the rest was not kept"
        } else {
            "Successfully loaded log"
        },
    })
    .into_response())
}

async fn log_so_far(state: &ApiState, call: &Call) -> Result<KeptLog, ApiError> {
    if !call.state.is_final()
        && let Some(output) = state.engine.running_output(&call.id)
    {
        let (lines, cut) = output.lines_from(0);
        return Ok(KeptLog { lines, cut });
    }
    let output = state.store.get_call_output(&call.id).await;
    let output = output.map_err(|error| ApiError::internal("loading a call's log", error))?;
    KeptLog::decode(&output.unwrap_or_default().log)
        .ok_or_else(|| ApiError::internal("reading a call's log", "it is damaged"))
}

/// A log on its way to a client.
struct Follower {
    state: ApiState,
    auth: Authorized,
    id: CallId,
    until: Instant,
    /// Lines sent of the run that is followed.
    sent: usize,
    /// Tells of lines of the run that is followed, where it is in this process.
    written: Option<watch::Receiver<usize>>,
    ended: bool,
}

fn followed(state: ApiState, auth: Authorized, id: CallId) -> Response {
    let until = Instant::now() + LONGEST;
    let follower = Follower { state, auth, id, until, sent: 0, written: None, ended: false };
    let lines = stream::unfold(follower, async |mut follower| {
        let lines = follower.next().await?;
        Some((Ok::<_, Infallible>(follower.rendered(lines)), follower))
    });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/x-ndjson"));
    (headers, Body::from_stream(lines)).into_response()
}

impl Follower {
    /// Lines that are new, at least one; `None` at the end of the call.
    async fn next(&mut self) -> Option<Vec<LogLine>> {
        while !self.ended {
            if let Some(output) = self.state.engine.running_output(&self.id) {
                if self.written.is_none() {
                    // Another run than the one before, if there was one.
                    (self.written, self.sent) = (Some(output.watch()), 0);
                }
                let (lines, _) = output.lines_from(self.sent);
                if !lines.is_empty() {
                    self.sent += lines.len();
                    return Some(lines);
                }
            } else if let Some(lines) = self.rest().await {
                return Some(lines);
            }
            self.wait().await;
        }
        None
    }

    /// What the store has of a call that does not run here.
    async fn rest(&mut self) -> Option<Vec<LogLine>> {
        let call = find_call(&self.state, &self.auth.project, &self.id).await.ok();
        let Some(call) = call else {
            self.ended = true;
            return None;
        };
        if !call.state.is_final() {
            return None;
        }
        self.ended = true;
        let log = log_so_far(&self.state, &call).await.ok()?;
        let lines = log.lines.get(self.sent..).unwrap_or_default().to_vec();
        (!lines.is_empty()).then_some(lines)
    }

    /// Until there may be more.
    async fn wait(&mut self) {
        if self.ended {
            return;
        }
        let more = async {
            match &mut self.written {
                // An error: the run is over.
                Some(written) => written.changed().await.is_err(),
                None => {
                    tokio::time::sleep(POLL).await;
                    false
                }
            }
        };
        tokio::select! {
            over = more => {
                if over {
                    self.written = None;
                }
            }
            () = tokio::time::sleep_until(self.until) => self.ended = true,
            () = self.state.engine.stopping() => self.ended = true,
        }
    }

    fn rendered(&self, lines: Vec<LogLine>) -> Bytes {
        let mut text = Vec::new();
        for line in lines {
            // A view of strings serializes without a failing case.
            text.extend(serde_json::to_vec(&LogLineView::new(&self.id, line)).unwrap_or_default());
            text.push(b'\n');
        }
        text.into()
    }
}
