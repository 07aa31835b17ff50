//! Triggers of a project: `/v1/{project_id}/triggers`.

mod acts;
mod hook;
mod resource;
mod saving;

pub(crate) use acts::*;
pub(crate) use resource::*;

use picasso_types::ProjectId;
use picasso_types::trigger::Trigger;

use crate::error::{ApiError, from_store};
use crate::state::ApiState;

/// The project's trigger of this name or id.
async fn find(state: &ApiState, project: &ProjectId, name: &str) -> Result<Trigger, ApiError> {
    let found = state.store.get_trigger(project, name).await;
    found.map_err(from_store(|| ApiError::TriggerNotFound(name.to_owned())))
}

/// The tag of a trigger: of what its owner decided, and its state. What it counts and when it is due
/// changes by itself, and no change of its owner is lost for that.
fn tag(trigger: &Trigger) -> Result<String, ApiError> {
    crate::request::preconditions::tag_of(&(trigger.id.as_str(), trigger.revision, trigger.state.as_str()))
}
