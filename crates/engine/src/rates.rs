//! How often calls may begin: of a project, and of a route by callers without a token.
//!
//! Asked before anything of a call's body is read. What a refused call took elsewhere is not given
//! back: who calls too often does not get a call more for it.

use std::time::Duration;

use metrics::counter;
use picasso_types::RateLimit;

use crate::engine::Engine;
use crate::target::Target;

/// Whose rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RateOf {
    /// The project's, of all its calls.
    Project,
    /// The route's, of its calls without a token.
    Route,
}

/// A call is one too many for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimited {
    /// Whose rate.
    pub of: RateOf,
    /// The rate.
    pub limit: RateLimit,
    /// When one more may begin, if nobody else comes.
    pub retry_after: Duration,
}

impl Engine {
    /// Counts one more call of the target that begins, whatever becomes of it.
    pub fn begin_call(&self, target: &Target, with_token: bool) -> Result<(), RateLimited> {
        let Some(version) = &target.version else { return Ok(()) };
        let admission = &self.shared.admission;
        let gates = target.place.gates(admission, &target.app.project_id, version);
        let now = admission.now();
        let limited = |of, limit, retry_after| {
            let of_what = if of == RateOf::Route { "route" } else { "project" };
            counter!("picasso_calls_rate_limited_total", "of" => of_what).increment(1);
            RateLimited { of, limit, retry_after }
        };
        if let Some(limit) = target.route.rate_limit.filter(|_| !with_token) {
            let taken = gates.route.bucket.take(&limit, now);
            taken.map_err(|wait| limited(RateOf::Route, limit, wait))?;
        }
        let project = admission.project(&target.app.project_id, gates);
        project.begin_call(now).map_err(|(limit, wait)| limited(RateOf::Project, limit, wait))
    }
}
