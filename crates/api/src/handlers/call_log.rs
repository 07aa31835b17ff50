//! The log of a call: whole, or line by line while it runs.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::{HeaderMap, Uri, header};
use picasso_engine::{KeptLog, LogCut, LogLine, LogLines, NewLines, OutputReadError};
use picasso_identity::policy::defaults as rule;
use picasso_types::{Call, CallId, FieldFault};
use tokio::sync::watch;
use tokio::time::Instant;

use super::call_records::find_call;
use super::call_result::unreadable;
use crate::call_views::{LogAnswer, LogLineView};
use crate::error::{ApiError, ErrorView};
use crate::request::auth::{Allowed, Authorized};
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
        (status = 200, description = "The lines; none of a synchronous call", content(
            (LogAnswer = "application/json"), (String = "application/x-ndjson"),
        )),
        (status = 400, description = "A field of the query is refused", body = ErrorView),
        (status = 404, description = "The project has no such call", body = ErrorView),
    ),
    security(("keystone_token" = ["functions:call:get_log"]))
)]
pub(crate) async fn get_log(
    Allowed(auth, ..): Allowed<rule::GetLog>,
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
    if !call.state.is_final()
        && let Some(output) = state.engine.running_output(&call.id)
    {
        let NewLines { lines, full, .. } = output.lines_from(0);
        return Ok(Json(answer(&id, lines, full)).into_response());
    }
    let kept = kept_log(&state, &call).await?;
    let truncated = kept.cut.is_some();
    match &kept.object {
        None => Ok(Json(answer(&id, with_note(kept.lines, kept.cut.as_ref()), truncated)).into_response()),
        Some(_) => large(&state, &call, kept).await,
    }
}

fn answer(id: &CallId, lines: Vec<LogLine>, truncated: bool) -> LogAnswer {
    LogAnswer {
        log: lines.into_iter().map(|line| LogLineView::new(id, line)).collect(),
        truncated,
        message: if truncated {
            "Successfully loaded the beginning of the log; the rest was not kept"
        } else {
            "Successfully loaded log"
        },
    }
}

fn with_note(mut lines: Vec<LogLine>, cut: Option<&LogCut>) -> Vec<LogLine> {
    lines.extend(cut.map(LogCut::note));
    lines
}

/// What the store has of a call that does not run here.
async fn kept_log(state: &ApiState, call: &Call) -> Result<KeptLog, ApiError> {
    let output = state.store.get_call_output(&call.id).await;
    let output = output.map_err(|error| ApiError::store("loading a call's log", error))?;
    KeptLog::decode(&output.unwrap_or_default().log)
        .ok_or_else(|| ApiError::internal("reading a call's log", "it is damaged"))
}

/// The lines of a log in groups: what the database has of it, or part by part.
async fn groups(state: &ApiState, call: &Call, kept: KeptLog) -> Result<LineGroups, ApiError> {
    let note = kept.cut.as_ref().map(|cut| Ok(vec![cut.note()]));
    let Some(object) = &kept.object else {
        return Ok(stream::iter([Ok(kept.lines)].into_iter().chain(note)).boxed());
    };
    let parts = state.engine.read_output(&call.id, &call.project_id, object).await;
    let parts = parts.map_err(|error| unreadable(call, error))?;
    let mut reader = LogLines::default();
    let lines = parts.map(move |part| {
        reader.read(&part?).ok_or_else(|| OutputReadError::Damaged("a line of a log is no line".to_owned()))
    });
    Ok(lines.chain(stream::iter(note)).boxed())
}

type LineGroups = BoxStream<'static, Result<Vec<LogLine>, OutputReadError>>;

/// The JSON of a log whose lines come in parts.
async fn large(state: &ApiState, call: &Call, kept: KeptLog) -> Result<Response, ApiError> {
    const EMPTY: &str = "\"log\":[";
    let json = serde_json::to_string(&answer(&call.id, Vec::new(), kept.cut.is_some()))
        .map_err(|error| ApiError::internal("writing the answer around a log", error))?;
    let begin = json.find(EMPTY).map_or(0, |at| at + EMPTY.len());
    let (before, after) = (json[..begin].to_owned(), json[begin..].to_owned());
    let (id, mut first) = (call.id.clone(), true);
    let lines = groups(state, call, kept).await?.map(move |lines| {
        let mut text = Vec::new();
        for line in lines? {
            if !std::mem::take(&mut first) {
                text.push(b',');
            }
            push_line(&mut text, &id, line);
        }
        Ok::<_, OutputReadError>(Bytes::from(text))
    });
    let end = |text: String| stream::once(async { Ok(Bytes::from(text)) });
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok((headers, Body::from_stream(end(before).chain(lines).chain(end(after)))).into_response())
}

fn push_line(text: &mut Vec<u8>, id: &CallId, line: LogLine) {
    // A view of strings serializes without a failing case.
    text.extend(serde_json::to_vec(&LogLineView::new(id, line)).unwrap_or_default());
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
    /// What is left of a log whose call has ended, and how many lines of it were sent before.
    rest: Option<(LineGroups, usize)>,
}

fn followed(state: ApiState, auth: Authorized, id: CallId) -> Response {
    let until = Instant::now() + LONGEST;
    let follower = Follower { state, auth, id, until, sent: 0, written: None, ended: false, rest: None };
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
            if self.rest.is_some() {
                if let Some(lines) = self.next_of_rest().await {
                    return Some(lines);
                }
                continue;
            }
            if let Some(output) = self.state.engine.running_output(&self.id) {
                if self.written.is_none() {
                    // Another run than the one before, if there was one.
                    (self.written, self.sent) = (Some(output.watch()), 0);
                }
                let NewLines { lines, next, .. } = output.lines_from(self.sent);
                if !lines.is_empty() {
                    self.sent = next;
                    return Some(lines);
                }
            } else {
                self.look_for_rest().await;
                if self.rest.is_some() {
                    continue;
                }
            }
            self.wait().await;
        }
        None
    }

    /// What the store has of a call that does not run here, once it has ended.
    async fn look_for_rest(&mut self) {
        let Ok(call) = find_call(&self.state, &self.auth.project, &self.id).await else {
            self.ended = true;
            return;
        };
        if !call.state.is_final() {
            return;
        }
        let groups = match kept_log(&self.state, &call).await {
            Ok(kept) => groups(&self.state, &call, kept).await,
            Err(error) => Err(error),
        };
        match groups {
            Ok(groups) => self.rest = Some((groups, self.sent)),
            Err(_) => self.ended = true,
        }
    }

    async fn next_of_rest(&mut self) -> Option<Vec<LogLine>> {
        let (groups, sent) = self.rest.as_mut()?;
        let Some(Ok(mut lines)) = groups.next().await else {
            self.ended = true;
            return None;
        };
        let skipped = (*sent).min(lines.len());
        *sent -= skipped;
        lines.drain(..skipped);
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
            push_line(&mut text, &self.id, line);
            text.push(b'\n');
        }
        text.into()
    }
}
