//! Rules for pages of other origins, in bodies that make and change apps and in what shows these.

use picasso_types::{CorsRules, FieldFault};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which pages of other origins may call an app's public functions from a browser.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CorsFields {
    /// `*`, or origins as browsers send them.
    #[schema(example = json!(["https://app.example.org"]))]
    allow_origins: Vec<String>,
    /// `*`, or methods; empty: GET, HEAD and POST, which need no leave.
    #[schema(example = json!(["GET", "PUT"]))]
    allow_methods: Vec<String>,
    /// `*`, or names of headers that pages may send.
    allow_headers: Vec<String>,
    /// `*`, or names of headers that pages may read.
    expose_headers: Vec<String>,
    /// How long browsers may remember the answer to a preflight, seconds; null: as they like.
    max_age: Option<u32>,
    /// Whether browsers may send cookies of theirs along; not with `*`.
    allow_credentials: bool,
}

impl CorsFields {
    /// The rules; a fault names `cors.…`.
    pub(super) fn into_rules(self) -> Result<CorsRules, FieldFault> {
        let rules = CorsRules {
            allow_origins: self.allow_origins,
            allow_methods: self.allow_methods,
            allow_headers: self.allow_headers,
            expose_headers: self.expose_headers,
            max_age_s: self.max_age,
            allow_credentials: self.allow_credentials,
        };
        rules.check()?;
        Ok(rules)
    }
}

impl From<&CorsRules> for CorsFields {
    fn from(rules: &CorsRules) -> Self {
        Self {
            allow_origins: rules.allow_origins.clone(),
            allow_methods: rules.allow_methods.clone(),
            allow_headers: rules.allow_headers.clone(),
            expose_headers: rules.expose_headers.clone(),
            max_age: rules.max_age_s,
            allow_credentials: rules.allow_credentials,
        }
    }
}
