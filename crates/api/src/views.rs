//! Answers as clients see them.

use std::collections::BTreeMap;

use picasso_types::{App, Config, QueueGrant, Route, RouteIdentityState, Secret, Secrets, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::bodies::cors::CorsFields;
use crate::bodies::delivery::RetryFields;
use crate::bodies::rate_limit::RateLimitFields;
use crate::link_view::LinkView;

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppView {
    /// Its id.
    id: String,
    /// Its full name, unique over all projects.
    #[schema(example = "hello-968f523b6fec4a7694aaa27b")]
    name: String,
    /// The name its creator chose; both names work in URLs of the project.
    #[schema(example = "hello")]
    short_name: String,
    /// Configuration of all its routes.
    config: BTreeMap<String, String>,
    /// Secrets of all its routes, without their values.
    secrets: BTreeMap<String, SecretView>,
    /// Which pages of other origins may call its public functions; null: that is left to the functions.
    cors: Option<CorsFields>,
    /// Free text.
    description: String,
    /// The project that owns it.
    project_id: String,
    /// When it was made, UTC.
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    created_at: String,
    /// When it was last changed, UTC.
    updated_at: String,
}

impl From<&App> for AppView {
    fn from(app: &App) -> Self {
        Self {
            id: app.id.to_string(),
            name: app.full_name.to_string(),
            short_name: app.short_name.to_string(),
            config: entries(&app.config),
            secrets: secret_views(&app.secrets),
            cors: app.cors.as_ref().map(CorsFields::from),
            description: app.description.clone(),
            project_id: app.project_id.to_string(),
            created_at: iso8601(app.created_at),
            updated_at: iso8601(app.updated_at),
        }
    }
}

/// A route with its newest version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteView {
    /// Its id.
    id: String,
    /// The paths it answers.
    #[schema(example = "/hello")]
    path: String,
    /// `sync` or `async`.
    #[schema(example = "sync")]
    r#type: &'static str,
    /// The HTTP methods its function URLs take; empty: any.
    methods: Vec<String>,
    /// The image as it was written.
    #[schema(example = "hello:1")]
    image: String,
    /// The digest the image means; null until it is known.
    digest: Option<String>,
    /// Whether callers need no token.
    is_public: bool,
    /// How often callers without a token may call it, on each node; null: no limit.
    rate_limit: Option<RateLimitFields>,
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
    /// The route's own secrets, without their values.
    secrets: BTreeMap<String, SecretView>,
    /// Where public calls may come from; empty: anywhere.
    allowed_sources: Vec<String>,
    /// Whether public callers need a JSON Web Token.
    has_jwt_key: bool,
    /// The webhook secrets there are, of which public callers have to show one: `signature`, `path`.
    webhook_secrets: Vec<&'static str>,
    /// Whom the function is in OpenStack, in short; null: nobody.
    identity: Option<RouteIdentityView>,
    /// How request and answer reach the function.
    format: &'static str,
    /// What the function can reach.
    network: &'static str,
    /// Which failed runs of an asynchronous call are repeated; null: none is.
    retry: Option<RetryFields>,
    /// How long after it became due an asynchronous call may still begin, seconds; null: no bound.
    max_age: Option<u32>,
    /// How long an asynchronous call waits before it becomes due, seconds.
    delay: u32,
    /// 0 to 2; asynchronous calls of a higher one run first.
    priority: u8,
    /// Where the result of an asynchronous call that succeeded goes.
    on_success: Option<String>,
    /// Where the report on an asynchronous call that did not succeed goes.
    on_failure: Option<String>,
    /// The leave to post into the queues among these; whoever names a queue gives it.
    queue_grants: Vec<QueueGrantView>,
    /// The URLs that callers without a token may name as `X-Callback-Url`.
    callback_urls: Vec<String>,
    /// The types that callers may choose with `X-Picasso-Invoke` beside the route's own.
    invoke: Vec<&'static str>,
    /// The number of the newest version.
    version: u32,
    /// The number of the version that calls run; null until one is ready.
    active_version: Option<u32>,
    /// `preparing`, `ready` or `failed`: the newest version's image.
    state: &'static str,
    /// Why the newest version failed.
    error: Option<String>,
    /// When it was made, UTC.
    created_at: String,
    /// When it was last changed, UTC.
    updated_at: String,
}

/// What is shown of a secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecretView {
    /// How the function gets it: `env` or `file`.
    #[schema(example = "env")]
    r#as: &'static str,
    /// When its value was set, UTC.
    set_at: String,
    /// The secret of Barbican that its value was read from then; absent: it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "barbican:6b9a2f8e-3c1d-4f5a-9e7b-2d8c4a6f1e30")]
    from: Option<String>,
}

fn secret_views(secrets: &Secrets) -> BTreeMap<String, SecretView> {
    let view = |secret: &Secret| SecretView {
        r#as: secret.form.as_str(),
        set_at: iso8601(secret.set_at),
        from: secret.reference.as_ref().map(|id| format!("barbican:{id}")),
    };
    secrets.entries().map(|(name, secret)| (name.to_owned(), view(secret))).collect()
}

/// Leave to post into a queue of Zaqar; what it is stays a secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueGrantView {
    /// The queue.
    #[schema(example = "failed-calls")]
    queue: String,
    /// When it ends, UTC; the destination has to be named again before.
    expires_at: String,
    /// The user who gave it.
    granted_by: String,
}

impl From<&QueueGrant> for QueueGrantView {
    fn from(grant: &QueueGrant) -> Self {
        Self {
            queue: grant.queue.clone(),
            expires_at: iso8601(grant.expires_at),
            granted_by: grant.granted_by.clone(),
        }
    }
}

/// What a route shows of its identity; `GET …/identity` tells the rest.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteIdentityView {
    /// `trust` or `application_credential`.
    #[schema(example = "trust")]
    r#type: &'static str,
    /// `active`, or `suspended`: calls fail until who granted it consents.
    #[schema(example = "active")]
    state: &'static str,
}

impl From<RouteIdentityState> for RouteIdentityView {
    fn from(identity: RouteIdentityState) -> Self {
        Self { r#type: identity.kind.as_str(), state: identity_state(identity.is_suspended) }
    }
}

/// How routes and identities say where an identity stands.
pub(crate) const fn identity_state(is_suspended: bool) -> &'static str {
    if is_suspended { "suspended" } else { "active" }
}

impl From<&Route> for RouteView {
    fn from(route: &Route) -> Self {
        let version = &route.latest;
        let (spec, delivery, access) = (&version.spec, &route.delivery, &route.access);
        Self {
            id: route.id.to_string(),
            path: route.pattern.to_string(),
            r#type: route.route_type.as_str(),
            methods: route.methods.as_slice().to_vec(),
            image: spec.image.to_string(),
            digest: version.digest.as_ref().map(ToString::to_string),
            is_public: route.is_public,
            rate_limit: route.rate_limit.as_ref().map(RateLimitFields::from),
            memory: spec.memory_mb,
            timeout: spec.timeout_s,
            max_concurrency: spec.max_concurrency,
            concurrency: spec.concurrency,
            idle_timeout: spec.idle_timeout_s,
            min_instances: spec.min_instances,
            queue_timeout: spec.queue_timeout_s,
            config: entries(&spec.config),
            secrets: secret_views(&spec.secrets),
            allowed_sources: access.allowed_sources.iter().map(ToString::to_string).collect(),
            has_jwt_key: access.jwt_key.is_some(),
            webhook_secrets: [
                access.webhook.signature.is_some().then_some("signature"),
                access.webhook.path.is_some().then_some("path"),
            ]
            .into_iter()
            .flatten()
            .collect(),
            identity: route.identity.map(RouteIdentityView::from),
            format: spec.format.as_str(),
            network: spec.network.as_str(),
            retry: delivery.retry.as_ref().map(RetryFields::from),
            max_age: delivery.max_age_s,
            delay: delivery.delay_s,
            priority: delivery.priority,
            on_success: delivery.on_success.as_ref().map(ToString::to_string),
            on_failure: delivery.on_failure.as_ref().map(ToString::to_string),
            queue_grants: delivery.grants.iter().map(QueueGrantView::from).collect(),
            callback_urls: delivery.callback_urls.iter().map(ToString::to_string).collect(),
            invoke: delivery.invoke.iter().map(|each| each.as_str()).collect(),
            version: version.number,
            active_version: route.active.as_ref().map(|active| active.number),
            state: version.state.as_str(),
            error: version.error.clone(),
            created_at: iso8601(route.created_at),
            updated_at: iso8601(route.updated_at),
        }
    }
}

/// One app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppAnswer {
    pub(crate) app: AppView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// All apps of a project.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppsAnswer {
    pub(crate) apps: Vec<AppView>,
    /// `next`, where there is more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// A new signing key.
#[derive(Serialize, ToSchema)]
pub(crate) struct SigningKeyAnswer {
    /// The key in the form of Standard Webhooks: `whsec_` and base64.
    pub(crate) signing_key: String,
    /// What was done.
    pub(crate) message: &'static str,
}

/// A new webhook secret.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookSecretAnswer {
    /// The secret, in hex.
    pub(crate) webhook_secret: String,
    /// Of kind `path`: the path of the function's URL with the token in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "/f/hello-968f523b6fec4a7694aaa27b/~whp_9c0d/hooks")]
    pub(crate) url_path: Option<String>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// One route.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RouteAnswer {
    pub(crate) route: RouteView,
    /// What was done.
    pub(crate) message: &'static str,
}

/// All routes of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoutesAnswer {
    pub(crate) routes: Vec<RouteView>,
    /// `next`, where there is more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) routes_links: Vec<LinkView>,
    /// What was done.
    pub(crate) message: &'static str,
}

/// Something was done that leaves nothing to show.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// What was done.
    pub(crate) message: &'static str,
}

/// The answer of a wrapped synchronous run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunAnswer {
    /// What the function answered: the text, or base64 where it is not UTF-8.
    pub(crate) result: String,
    /// `base64` where `result` is that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) encoding: Option<&'static str>,
    /// The function's own status, where it is 400 or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 400, maximum = 999, example = 404)]
    pub(crate) status: Option<u16>,
    /// What was done.
    #[schema(example = "App hello-968f523b6fec4a7694aaa27b sync route /hello execution finished")]
    pub(crate) message: String,
}

/// An asynchronous call was accepted: it is on disk and will run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedAnswer {
    /// The call.
    pub(crate) call_id: String,
    /// `queued`; where its `Idempotency-Key` was used before, where the call of then stands now.
    #[schema(example = "queued")]
    pub(crate) status: &'static str,
    /// What was done.
    pub(crate) message: String,
}

pub(crate) fn entries(config: &Config) -> BTreeMap<String, String> {
    config.entries().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// UTC with microseconds, as Keystone writes it: `2026-01-31T12:00:00.000000Z`.
pub(crate) fn iso8601(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_with_all_six_digits() {
        assert_eq!(iso8601(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(iso8601(Timestamp(1_769_860_800_000_042)), "2026-01-31T12:00:00.000042Z");
    }
}
