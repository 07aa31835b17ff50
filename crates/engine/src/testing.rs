//! Values for the unit tests of this crate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use http::{HeaderMap, Method};
use picasso_types::{
    App, AppId, AppName, Bounds, Call, CallDelivery, CallId, CallState, Config, DeliveryOptions, Digest,
    FixedLimits, Format, FullName, ImageRef, Limit, LimitSource, Limits, LimitsFuture, Methods, NetworkMode,
    ProjectId, ProjectLimits, RequestId, Resource, Route, RouteAccess, RouteId, RoutePattern, RouteType,
    RouteVersion, Secrets, Timestamp, Trigger, VersionId, VersionSpec, VersionState,
};

use crate::invocation::Invocation;
use crate::place::Place;
use crate::target::Target;

pub fn config(pairs: &[(&str, &str)]) -> Config {
    let entries: BTreeMap<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::parse(entries, &Bounds::default()).unwrap()
}

pub fn target(pattern: &str) -> Target {
    let project_id = ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap();
    let app = App {
        id: AppId::generate(),
        project_id,
        short_name: AppName::parse("app").unwrap(),
        full_name: FullName::parse("app-968f523b6fec4a7694aaa27b30").unwrap(),
        description: String::new(),
        config: Config::default(),
        secrets: Secrets::default(),
        cors: None,
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    let route_id = RouteId::generate();
    let version = RouteVersion {
        id: VersionId::generate(),
        route_id: route_id.clone(),
        number: 1,
        spec: VersionSpec {
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
        },
        merged_config: Config::default(),
        merged_secrets: Secrets::default(),
        digest: Some(Digest::of(b"image")),
        state: VersionState::Ready,
        error: None,
        rolled_back_to: None,
        created_by: "user".to_owned(),
        created_at: Timestamp(0),
    };
    let route = Route {
        id: route_id,
        app_id: app.id.clone(),
        pattern: RoutePattern::parse(pattern).unwrap(),
        methods: Methods::any(),
        route_type: RouteType::Sync,
        is_public: true,
        rate_limit: None,
        delivery: DeliveryOptions::default(),
        access: RouteAccess::default(),
        identity: None,
        latest: version.clone(),
        active: Some(version.clone()),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
    };
    Target {
        app: Arc::new(app),
        route: Arc::new(route),
        version: Some(Arc::new(version)),
        place: Place::default(),
    }
}

/// A call that was accepted and waits.
pub fn call() -> Call {
    let target = target("/a");
    Call {
        id: CallId::generate(),
        project_id: target.app.project_id.clone(),
        app_id: target.app.id.clone(),
        route_id: target.route.id.clone(),
        version_id: target.route.latest.id.clone(),
        app_name: target.app.full_name.to_string(),
        route_path: target.route.pattern.to_string(),
        version_number: 1,
        trigger: Trigger::FunctionUrl,
        call_type: RouteType::Async,
        state: CallState::Running,
        request_id: RequestId::generate().to_string(),
        attempt: 1,
        lost_runs: 0,
        failed_runs: 0,
        cancel_requested: false,
        not_before: Timestamp(0),
        due_at: Timestamp(0),
        priority: 1,
        delivery: CallDelivery::default(),
        depth: 0,
        lease_until: None,
        node: None,
        created_at: Timestamp(0),
        queued_at: Timestamp(0),
        started_at: None,
        finished_at: None,
        failure: None,
        exit_code: None,
        http_status: None,
        cold_start: None,
        memory_peak_bytes: None,
    }
}

pub fn invocation(pattern: &str) -> Invocation {
    Invocation {
        call_id: CallId::generate(),
        request_id: RequestId::generate(),
        trigger: Trigger::FunctionUrl,
        client: None,
        target: Arc::new(target(pattern)),
        method: Method::POST,
        url: "http://127.0.0.1:10002/f/app/a".to_owned(),
        headers: HeaderMap::new(),
        params: vec![],
        depth: 0,
        body: Box::pin(futures_util::stream::empty()),
        kept: None,
    }
}

/// Limits of all projects: so many queued calls, and of the rest as much as they like.
pub fn limits(queued_calls: u64) -> Arc<dyn Limits> {
    project_limits(|resource| (resource == Resource::QueuedCalls).then_some(queued_calls))
}

/// Limits of all projects; `None` is no limit.
pub fn project_limits(max: impl Fn(Resource) -> Option<u64>) -> Arc<dyn Limits> {
    let limit = |resource| Limit { max: max(resource), source: LimitSource::Default };
    Arc::new(FixedLimits(Arc::new(ProjectLimits::new(limit))))
}

/// The same limit of everything, which a test changes.
#[derive(Debug)]
pub struct ChangingLimits(AtomicU64);

impl ChangingLimits {
    pub fn new(max: u64) -> Self {
        Self(AtomicU64::new(max))
    }

    pub fn set(&self, max: u64) {
        self.0.store(max, SeqCst);
    }
}

impl Limits for ChangingLimits {
    fn of<'a>(&'a self, project: &'a ProjectId) -> LimitsFuture<'a> {
        Box::pin(std::future::ready(self.known(project)))
    }

    fn known(&self, _: &ProjectId) -> Arc<ProjectLimits> {
        let limit = Limit { max: Some(self.0.load(SeqCst)), source: LimitSource::Default };
        Arc::new(ProjectLimits::new(|_| limit))
    }
}
