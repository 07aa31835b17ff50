//! `/tasks`: queued calls for runners that are not ours. `GET` keeps one for a minute for who asked,
//! `DELETE` says that it was taken; a call that nobody takes in that time runs here.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use picasso_engine::ExternalTask;
use picasso_types::{CallId, ProjectId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::IronState;
use super::answer::answer;
use super::error::{IronError, from_store};
use super::json::JsonBody;

const TASK_MISSING: &str = "Task not found";

/// The fields of a task that IronFunctions fills in.
#[derive(Debug, Serialize)]
struct TaskView {
    id: String,
    image: String,
    payload: String,
    priority: u8,
    env_vars: BTreeMap<String, String>,
    app_name: String,
    path: String,
}

impl From<ExternalTask> for TaskView {
    fn from(task: ExternalTask) -> Self {
        let ExternalTask { app_name, call, version, env, payload } = task;
        Self {
            id: call.id.to_string(),
            image: version.spec.image.to_string(),
            payload: String::from_utf8_lossy(&payload).into_owned(),
            priority: call.priority,
            env_vars: env,
            app_name,
            path: call.route_path,
        }
    }
}

#[derive(Debug, Deserialize)]
struct TaskBody {
    id: String,
}

/// A waiting call, or `null`.
pub(super) async fn reserve_task(State(state): State<IronState>) -> Result<Response, IronError> {
    let task = state.api.engine.reserve_task(&ProjectId::ironfunctions()).await;
    let task = task.map_err(from_store(TASK_MISSING))?;
    Ok(answer(StatusCode::ACCEPTED, &task.map(TaskView::from)))
}

/// Answers what was sent.
pub(super) async fn complete_task(
    State(state): State<IronState>,
    body: JsonBody,
) -> Result<Response, IronError> {
    let sent: Box<RawValue> = body.parse()?;
    let TaskBody { id } = body.parse()?;
    let id = CallId::parse(&id).map_err(|_| IronError::missing(TASK_MISSING))?;
    let taken = state.api.engine.complete_task(&ProjectId::ironfunctions(), &id).await;
    if taken.map_err(from_store(TASK_MISSING))? {
        Ok(answer(StatusCode::ACCEPTED, &sent))
    } else {
        Err(IronError::missing(TASK_MISSING))
    }
}
