//! A route as clients write it. `stored_route.rs` says what becomes of it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer_headers::{self, AnswerHeaders};
use super::app_body::entries;
use super::error::IronError;
use crate::bodies::secrets::SecretText;

#[derive(Debug, Deserialize)]
pub(super) struct RouteWrapper {
    route: Option<RouteBody>,
}

/// A route as clients write it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct RouteBody {
    pub(super) path: Option<String>,
    pub(super) image: Option<String>,
    memory: Option<u64>,
    headers: Option<BTreeMap<String, Option<Vec<String>>>>,
    pub(super) r#type: Option<String>,
    pub(super) format: Option<String>,
    pub(super) max_concurrency: Option<i64>,
    pub(super) timeout: Option<i32>,
    pub(super) idle_timeout: Option<i32>,
    #[serde(default, deserialize_with = "entries")]
    pub(super) config: Option<BTreeMap<String, String>>,
    pub(super) jwt_key: Option<SecretText>,
}

impl RouteWrapper {
    /// The route that is meant.
    pub(super) fn route(self) -> Result<RouteBody, IronError> {
        self.route.ok_or_else(|| IronError::bad("Missing new route"))
    }
}

impl RouteBody {
    /// MiB; 0 is none. More than fits is too much, which the bounds say.
    pub(super) fn memory(&self) -> Option<u32> {
        self.memory.filter(|mb| *mb > 0).map(|mb| u32::try_from(mb).unwrap_or(u32::MAX))
    }

    /// The headers of its answers, for those they have.
    pub(super) fn headers(&self, before: &AnswerHeaders) -> AnswerHeaders {
        let change = self.headers.clone().unwrap_or_default();
        let change = change.into_iter().map(|(name, values)| (name, values.unwrap_or_default())).collect();
        answer_headers::merged(before, change)
    }
}
