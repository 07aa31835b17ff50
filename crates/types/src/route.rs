//! Routes and their immutable versions.
//!
//! A route says where and by whom a function is called; a version says what runs. Every change
//! of a route, or of its app's configuration, makes a version; calls name the version they ran.

use serde::{Deserialize, Serialize};

use crate::access::RouteAccess;
use crate::app::Config;
use crate::bounds::{Bounds, in_range};
use crate::clock::Timestamp;
use crate::delivery::DeliveryOptions;
use crate::digest::Digest;
use crate::fault::FieldFault;
use crate::identity::RouteIdentityState;
use crate::ids::{AppId, RouteId, VersionId};
use crate::image_ref::ImageRef;
use crate::pattern::RoutePattern;
use crate::rate_limit::RateLimit;
use crate::route_type::RouteType;
use crate::secrets::Secrets;
use crate::text_enum::text_enum;

text_enum!(
    /// How request and answer reach the function.
    Format, "format" {
        /// A fresh sandbox per call: body on stdin, answer on stdout.
        Default = "default",
        /// A hot sandbox: one HTTP/1.1 exchange at a time over stdin and stdout (IronFunctions).
        Http = "http",
        /// A hot sandbox: one JSON document per call on stdin, one on stdout.
        Json = "json",
        /// A hot sandbox: HTTP over the Unix socket that an Fn FDK makes.
        HttpStream = "http-stream",
        /// A hot sandbox: the AWS Lambda Runtime API, so that Lambda images run unchanged.
        Lambda = "lambda",
        /// A hot sandbox: the container listens on `$PORT` (Cloud Run, Knative, OpenFaaS).
        HttpServer = "http-server",
    }
);

impl Format {
    /// Whether a sandbox of this format is kept for further calls.
    pub const fn is_hot(self) -> bool {
        !matches!(self, Self::Default)
    }

    /// Whether one sandbox may serve several calls at one time.
    pub const fn is_concurrent(self) -> bool {
        matches!(self, Self::HttpServer)
    }
}

text_enum!(
    /// What the sandbox can reach.
    NetworkMode, "network" {
        /// Loopback only.
        None = "none",
        /// The operator's egress list.
        Egress = "egress",
    }
);

text_enum!(
    /// Whether a version's image is on this machine.
    VersionState, "state" {
        /// The image is being resolved, pulled or unpacked.
        Preparing = "preparing",
        /// Calls can run.
        Ready = "ready",
        /// The image could not be had; the version's `error` says why.
        Failed = "failed",
    }
);

/// The HTTP methods a route takes; empty means any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Methods(Vec<String>);

impl Methods {
    /// Any method.
    pub fn any() -> Self {
        Self::default()
    }

    /// Parses a list of methods; upper-cased, sorted, without repeats.
    pub fn parse(methods: &[String]) -> Result<Self, FieldFault> {
        const KNOWN: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
        let mut parsed = Vec::new();
        for method in methods {
            let upper = method.to_ascii_uppercase();
            if !KNOWN.contains(&upper.as_str()) {
                return Err(FieldFault::new("methods", format!("must be a list of {}", KNOWN.join(", "))));
            }
            parsed.push(upper);
        }
        parsed.sort();
        parsed.dedup();
        Ok(Self(parsed))
    }

    /// Whether `method` is taken.
    pub fn allows(&self, method: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|m| m == method)
    }

    /// All methods that either takes.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        if self.0.is_empty() || other.0.is_empty() {
            return Self::any();
        }
        let mut all = [self.0.clone(), other.0.clone()].concat();
        all.sort();
        all.dedup();
        Self(all)
    }

    /// Whether the two share a method.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.is_empty() || other.0.is_empty() || self.0.iter().any(|m| other.0.contains(m))
    }

    /// The listed methods; empty means any.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// What a version runs and within which limits. All fields are final and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSpec {
    /// The image as the user wrote it.
    pub image: ImageRef,
    /// How request and answer reach the function.
    pub format: Format,
    /// The route's own configuration (the app's is merged when the version is stored).
    pub config: Config,
    /// The route's own secrets (the app's are merged when the version is stored).
    pub secrets: Secrets,
    /// Memory limit, MiB.
    pub memory_mb: u32,
    /// Time limit of one call, seconds.
    pub timeout_s: u32,
    /// Calls at one time on one node; `None` = the machine's limit.
    pub max_concurrency: Option<u32>,
    /// Calls at one time in one sandbox; 1 except for formats that are
    /// [concurrent](Format::is_concurrent).
    pub concurrency: u32,
    /// How long a hot sandbox without a call is kept, seconds; 0 = it ends with its call.
    pub idle_timeout_s: u32,
    /// Hot sandboxes that are kept on each node even without calls.
    pub min_instances: u32,
    /// How long a call may wait for a place, seconds.
    pub queue_timeout_s: u32,
    /// What the sandbox can reach.
    pub network: NetworkMode,
}

impl VersionSpec {
    /// Checks the numbers against the operator's bounds.
    pub fn check(&self, bounds: &Bounds) -> Result<(), FieldFault> {
        in_range("memory", self.memory_mb, bounds.min_memory_mb, bounds.max_memory_mb, "MiB")?;
        in_range("timeout", self.timeout_s, 1, bounds.max_timeout_s, "seconds")?;
        in_range("queue_timeout", self.queue_timeout_s, 0, bounds.max_queue_timeout_s, "seconds")?;
        if let Some(max) = self.max_concurrency {
            in_range("max_concurrency", max, 1, bounds.max_concurrency, "calls")?;
        }
        in_range("concurrency", self.concurrency, 1, bounds.max_sandbox_concurrency, "calls")?;
        if self.concurrency > 1 && !self.format.is_concurrent() {
            let fault =
                format!("must be 1: a sandbox of format \"{}\" serves one call at a time", self.format);
            return Err(FieldFault::new("concurrency", fault));
        }
        in_range("idle_timeout", self.idle_timeout_s, 0, bounds.max_idle_timeout_s, "seconds")?;
        in_range("min_instances", self.min_instances, 0, bounds.max_min_instances, "sandboxes")?;
        if self.min_instances > 0 && !self.format.is_hot() {
            let fault = "must be 0: a sandbox of format \"default\" serves one call and ends";
            return Err(FieldFault::new("min_instances", fault));
        }
        if self.max_concurrency.is_some_and(|max| self.min_instances > max) {
            return Err(FieldFault::new("min_instances", "must not be more than max_concurrency"));
        }
        Ok(())
    }
}

/// A stored, immutable version of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteVersion {
    /// Its id.
    pub id: VersionId,
    /// The route it belongs to.
    pub route_id: RouteId,
    /// 1, 2, 3 … within the route.
    pub number: u32,
    /// What runs.
    pub spec: VersionSpec,
    /// App and route configuration merged when the version was made: what the function sees.
    pub merged_config: Config,
    /// The secrets of app and route merged when the version was made: what the function gets.
    pub merged_secrets: Secrets,
    /// The manifest digest the image reference meant when it was resolved; `None` while preparing.
    pub digest: Option<Digest>,
    /// Whether it can run.
    pub state: VersionState,
    /// Why it failed.
    pub error: Option<String>,
    /// The version it was rolled back to, where it was made so.
    pub rolled_back_to: Option<u32>,
    /// The Keystone user who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A route with the version that new calls run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Its id.
    pub id: RouteId,
    /// The app it belongs to.
    pub app_id: AppId,
    /// The paths it answers.
    pub pattern: RoutePattern,
    /// The methods it takes.
    pub methods: Methods,
    /// Sync or async.
    pub route_type: RouteType,
    /// Whether callers need no token.
    pub is_public: bool,
    /// How often those without one may call it, on one node; `None` is no limit.
    pub rate_limit: Option<RateLimit>,
    /// What it promises its asynchronous calls.
    pub delivery: DeliveryOptions,
    /// What it asks of callers without a token.
    pub access: RouteAccess,
    /// Whom its function is in OpenStack; `None`: nobody.
    pub identity: Option<RouteIdentityState>,
    /// The newest version: what `GET` shows.
    pub latest: RouteVersion,
    /// The newest version that is `ready`: what calls run. `None` until the first is.
    pub active: Option<RouteVersion>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What is needed to make a route with its first version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRoute {
    /// Its id, which its secrets are sealed for.
    pub id: RouteId,
    /// The paths it answers.
    pub pattern: RoutePattern,
    /// The methods it takes.
    pub methods: Methods,
    /// Sync or async.
    pub route_type: RouteType,
    /// Whether callers need no token.
    pub is_public: bool,
    /// How often those without one may call it, on one node; `None` is no limit.
    pub rate_limit: Option<RateLimit>,
    /// What it promises its asynchronous calls.
    pub delivery: DeliveryOptions,
    /// What it asks of callers without a token.
    pub access: RouteAccess,
    /// The first version.
    pub spec: VersionSpec,
    /// The Keystone user who makes it.
    pub created_by: String,
}

/// The state of a route after a change, already merged and checked; makes a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// The methods after the change.
    pub methods: Methods,
    /// Sync or async after the change.
    pub route_type: RouteType,
    /// Whether callers need no token after the change.
    pub is_public: bool,
    /// How often those without one may call it after the change.
    pub rate_limit: Option<RateLimit>,
    /// The delivery options after the change.
    pub delivery: DeliveryOptions,
    /// What it asks of callers without a token after the change; webhook secrets stay as they are.
    pub access: RouteAccess,
    /// The next version.
    pub spec: VersionSpec,
    /// The Keystone user who changes it.
    pub created_by: String,
    /// The route that the change was made for, where it must not have become another one since.
    pub expected: Option<Box<Route>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VersionSpec {
        VersionSpec {
            image: ImageRef::parse("hello:1").unwrap(),
            format: Format::Default,
            config: Config::default(),
            secrets: Secrets::default(),
            memory_mb: 128,
            timeout_s: 30,
            max_concurrency: None,
            concurrency: 1,
            idle_timeout_s: 30,
            min_instances: 0,
            queue_timeout_s: 10,
            network: NetworkMode::None,
        }
    }

    #[test]
    fn each_limit_is_refused_by_its_field_name() {
        let bounds = Bounds::default();
        assert!(spec().check(&bounds).is_ok());
        let cases = [
            (VersionSpec { memory_mb: 0, ..spec() }, "memory"),
            (VersionSpec { memory_mb: 1_000_000, ..spec() }, "memory"),
            (VersionSpec { timeout_s: 0, ..spec() }, "timeout"),
            (VersionSpec { timeout_s: 100_000, ..spec() }, "timeout"),
            (VersionSpec { max_concurrency: Some(0), ..spec() }, "max_concurrency"),
            (VersionSpec { queue_timeout_s: 100_000, ..spec() }, "queue_timeout"),
            (VersionSpec { concurrency: 0, ..spec() }, "concurrency"),
            (VersionSpec { concurrency: 2, format: Format::Json, ..spec() }, "concurrency"),
            (VersionSpec { idle_timeout_s: 100_000, ..spec() }, "idle_timeout"),
            (VersionSpec { min_instances: 1, ..spec() }, "min_instances"),
            (VersionSpec { min_instances: 10_000, format: Format::Json, ..spec() }, "min_instances"),
        ];
        for (spec, field) in cases {
            assert_eq!(spec.check(&bounds).unwrap_err().field, field);
        }
    }

    #[test]
    fn an_unknown_word_lists_the_known_ones() {
        let fault = RouteType::parse("later").unwrap_err();
        assert_eq!(fault.to_string(), "type: must be one of: \"sync\" \"async\"");
    }

    #[test]
    fn no_methods_means_any() {
        assert!(Methods::any().allows("PURGE"));
        let some = Methods::parse(&["get".to_owned(), "GET".to_owned()]).unwrap();
        assert!(some.allows("GET") && !some.allows("POST"));
        assert!(Methods::parse(&["PURGE".to_owned()]).is_err());
    }
}
