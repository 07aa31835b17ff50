//! A route's `rate_limit` as clients write and see it; checked by `picasso_types::rate_limit`.

use picasso_types::{FieldFault, RateLimit};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How often callers without a token may call a route, on each node.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RateLimitFields {
    /// How many calls in the long run.
    #[schema(minimum = 1, maximum = 1_000_000, example = 100)]
    calls: u32,
    /// In how many seconds; absent: 1.
    #[schema(minimum = 1, maximum = 86_400)]
    seconds: Option<u32>,
    /// How many at once after a pause; absent: `calls`.
    #[schema(minimum = 1, maximum = 1_000_000)]
    burst: Option<u32>,
}

impl RateLimitFields {
    /// The limit; a fault names `rate_limit.…`.
    pub(crate) fn parse(&self) -> Result<RateLimit, FieldFault> {
        RateLimit::checked(self.calls, self.seconds.unwrap_or(1), self.burst.unwrap_or(self.calls))
    }
}

impl From<&RateLimit> for RateLimitFields {
    fn from(limit: &RateLimit) -> Self {
        Self { calls: limit.calls, seconds: Some(limit.seconds), burst: Some(limit.burst) }
    }
}
