//! Versions and aliases of routes as clients see them.

use std::collections::BTreeMap;

use picasso_types::{Alias, Route, RouteVersion, Sticky};
use serde::Serialize;
use utoipa::ToSchema;

use crate::link_view::LinkView;
use crate::views::{entries, iso8601};

/// A version of a route; it does not change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteVersionView {
    /// Its number within the route.
    #[schema(minimum = 1, example = 3)]
    version: u32,
    /// `preparing`, `ready` or `failed`: its image.
    #[schema(example = "ready")]
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    /// Whether calls of the route run it.
    is_active: bool,
    /// The aliases that stand for it, also with weight 0.
    aliases: Vec<String>,
    /// The version it was rolled back to, where it was made so.
    rolled_back_to: Option<u32>,
    /// The image as it was written.
    #[schema(example = "hello:1")]
    image: String,
    /// The digest that the image meant; null until it is known.
    digest: Option<String>,
    /// How request and answer reach the function.
    format: &'static str,
    /// Memory limit, MiB.
    memory: u32,
    /// Time limit of one call, seconds.
    timeout: u32,
    /// Calls at one time on one node; null: as many as the node runs.
    max_concurrency: Option<u32>,
    /// Calls at one time in one sandbox.
    concurrency: u32,
    /// How long a hot sandbox without calls is kept, seconds.
    idle_timeout: u32,
    /// Hot sandboxes kept on each node even without calls.
    min_instances: u32,
    /// How long a call may wait for a place, seconds.
    queue_timeout: u32,
    /// The route's own configuration.
    config: BTreeMap<String, String>,
    /// What the function can reach.
    network: &'static str,
    /// The user who made it.
    created_by: String,
    /// When it was made, UTC.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    created_at: String,
}

impl RouteVersionView {
    /// A version of `route`, with those of its `aliases` that stand for it.
    pub(crate) fn new(version: &RouteVersion, route: &Route, aliases: &[Alias]) -> Self {
        let spec = &version.spec;
        let stands_for =
            |alias: &&Alias| alias.spec.shares.as_slice().iter().any(|share| share.number == version.number);
        Self {
            version: version.number,
            state: version.state.as_str(),
            error: version.error.clone(),
            is_active: route.active.as_ref().is_some_and(|active| active.number == version.number),
            aliases: aliases.iter().filter(stands_for).map(|alias| alias.name.to_string()).collect(),
            rolled_back_to: version.rolled_back_to,
            image: spec.image.to_string(),
            digest: version.digest.as_ref().map(ToString::to_string),
            format: spec.format.as_str(),
            memory: spec.memory_mb,
            timeout: spec.timeout_s,
            max_concurrency: spec.max_concurrency,
            concurrency: spec.concurrency,
            idle_timeout: spec.idle_timeout_s,
            min_instances: spec.min_instances,
            queue_timeout: spec.queue_timeout_s,
            config: entries(&spec.config),
            network: spec.network.as_str(),
            created_by: version.created_by.clone(),
            created_at: iso8601(version.created_at),
        }
    }
}

/// One version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteVersionAnswer {
    pub(crate) version: RouteVersionView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// A page of a route's versions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteVersionsAnswer {
    pub(crate) versions: Vec<RouteVersionView>,
    /// Where the next page is, where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) versions_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// An alias of a route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliasView {
    /// Its name, unique within the route.
    #[schema(example = "live")]
    name: String,
    /// The route it is of.
    route_id: String,
    /// Its versions with their weights, by number.
    versions: Vec<ShareView>,
    /// Whether callers need no token.
    is_public: bool,
    /// What tells clients apart; null: each call is drawn on its own.
    sticky: Option<StickyView>,
    /// The user who made it.
    created_by: String,
    /// The user who changed it last.
    updated_by: String,
    /// When it was made, UTC.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    created_at: String,
    /// When it was last changed, UTC.
    updated_at: String,
}

/// A version's part of an alias.
#[derive(Debug, Serialize, ToSchema)]
struct ShareView {
    /// The version's number.
    #[schema(minimum = 1, example = 3)]
    version: u32,
    /// Its part of the sum of all weights.
    #[schema(minimum = 0, maximum = 1000, example = 100)]
    weight: u32,
}

/// What tells clients apart.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StickyView {
    /// The value of this header.
    #[schema(example = "x-user")]
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

impl From<&Alias> for AliasView {
    fn from(alias: &Alias) -> Self {
        let shares = alias.spec.shares.as_slice().iter();
        Self {
            name: alias.name.to_string(),
            route_id: alias.route_id.to_string(),
            versions: shares.map(|share| ShareView { version: share.number, weight: share.weight }).collect(),
            is_public: alias.spec.is_public,
            sticky: alias.spec.sticky.as_ref().map(|sticky| match sticky {
                Sticky::Header(name) => StickyView::Header(name.clone()),
                Sticky::Cookie(name) => StickyView::Cookie(name.clone()),
            }),
            created_by: alias.created_by.clone(),
            updated_by: alias.updated_by.clone(),
            created_at: iso8601(alias.created_at),
            updated_at: iso8601(alias.updated_at),
        }
    }
}

/// One alias.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliasAnswer {
    pub(crate) alias: AliasView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Aliases of a route, or a page of them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AliasesAnswer {
    pub(crate) aliases: Vec<AliasView>,
    /// Where the next page is, where there is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}
