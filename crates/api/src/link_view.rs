//! Links as answers show them: discovery, the pages of lists, what belongs to a call.

use serde::Serialize;
use utoipa::ToSchema;

/// Where something is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LinkView {
    pub(crate) rel: &'static str,
    pub(crate) href: String,
}
