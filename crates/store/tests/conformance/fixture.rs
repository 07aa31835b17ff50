//! An open store with a clock in the test's hand, and short ways to fill it.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use picasso_store::{OutboxTake, Store};
use picasso_types::{
    App, AppChange, AppName, Bounds, CallDelivery, CallId, CallOutcome, CallState, Clock, Config,
    DeliveryOptions, Digest, Format, ImageRef, InstanceId, Methods, NetworkMode, NewApp, NewCall, NewRoute,
    ProjectId, RequestId, Route, RouteAccess, RouteChange, RouteId, RoutePattern, RouteType, Secrets,
    Timestamp, Trigger, VersionSpec,
};
use sqlx::{Connection as _, MySqlConnection, PgConnection, SqliteConnection};

pub const MANY: u32 = 10_000;
pub const SECOND: i64 = 1_000_000;

/// A store and what keeps it alive (a temporary folder, a server).
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub clock: Arc<TestClock>,
    /// Where others open its database.
    pub url: String,
    pub _keep: Box<dyn Any + Send + Sync>,
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_700_000_000 * SECOND)))
    }

    pub fn advance(&self, micros: i64) -> Timestamp {
        Timestamp(self.0.fetch_add(micros, Ordering::SeqCst) + micros)
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

pub fn project(text: &str) -> ProjectId {
    ProjectId::parse(text).unwrap()
}

pub fn demo() -> ProjectId {
    project("968f523b6fec4a7694aaa27b300bb879")
}

pub fn config(pairs: &[(&str, &str)]) -> Config {
    let entries: BTreeMap<_, _> = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Config::parse(entries, &Bounds::default()).unwrap()
}

pub fn new_app(project: &ProjectId, name: &str) -> NewApp {
    let name = AppName::parse(name).unwrap();
    NewApp::new(project.clone(), name, None, Config::default(), &Bounds::default()).unwrap()
}

/// What an app without anything is changed to.
pub fn empty_app() -> AppChange {
    AppChange {
        config: Config::default(),
        secrets: Secrets::default(),
        cors: None,
        description: String::new(),
        expected: None,
    }
}

pub fn digest(seed: &str) -> Digest {
    Digest::of(seed.as_bytes())
}

pub fn methods(names: &[&str]) -> Methods {
    Methods::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
}

pub fn spec(image: &str) -> VersionSpec {
    VersionSpec {
        image: ImageRef::parse(image).unwrap(),
        format: Format::Default,
        config: config(&[("WHO", "route")]),
        secrets: Secrets::default(),
        memory_mb: 128,
        timeout_s: 30,
        max_concurrency: Some(4),
        concurrency: 1,
        idle_timeout_s: 45,
        min_instances: 0,
        queue_timeout_s: 10,
        network: NetworkMode::None,
    }
}

pub fn new_route(pattern: &str) -> NewRoute {
    NewRoute {
        id: RouteId::generate(),
        pattern: RoutePattern::parse(pattern).unwrap(),
        methods: Methods::any(),
        route_type: RouteType::Async,
        is_public: true,
        rate_limit: None,
        delivery: DeliveryOptions::default(),
        access: RouteAccess::default(),
        spec: spec("hello:1"),
        created_by: "user-a".to_owned(),
    }
}

pub fn change(route: &Route) -> RouteChange {
    RouteChange {
        methods: route.methods.clone(),
        route_type: route.route_type,
        is_public: route.is_public,
        rate_limit: route.rate_limit,
        delivery: route.delivery.clone(),
        access: route.access.clone(),
        spec: route.latest.spec.clone(),
        created_by: "user-b".to_owned(),
        expected: None,
    }
}

pub fn succeeded() -> CallOutcome {
    CallOutcome {
        state: CallState::Succeeded,
        failure: None,
        exit_code: Some(0),
        http_status: None,
        cold_start: Some(true),
        memory_peak_bytes: Some(1 << 20),
    }
}

impl Fixture {
    /// Runs a statement of everybody's SQL beside the store, which writes no such rows itself.
    pub async fn damage(&self, sql: &'static str) {
        if self.url.starts_with("sqlite:") {
            let mut db = SqliteConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut db).await.unwrap();
        } else if self.url.starts_with("postgres") {
            let mut db = PgConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut db).await.unwrap();
        } else {
            let mut db = MySqlConnection::connect(&self.url).await.unwrap();
            sqlx::query(sql).execute(&mut db).await.unwrap();
        }
    }

    pub async fn app(&self, name: &str) -> App {
        self.store.create_app(&new_app(&demo(), name), MANY).await.unwrap()
    }

    /// A route whose image is here.
    pub async fn ready_route(&self, app: &App, pattern: &str) -> Route {
        self.store.create_route(&app.id, &new_route(pattern), Some(&digest("one")), MANY).await.unwrap()
    }

    /// A call of a route's active version, due now.
    pub fn new_call(&self, app: &App, route: &Route) -> NewCall {
        NewCall {
            id: CallId::generate(),
            project_id: app.project_id.clone(),
            app_id: app.id.clone(),
            route_id: route.id.clone(),
            version_id: route.active.as_ref().unwrap().id.clone(),
            trigger: Trigger::Run,
            call_type: RouteType::Async,
            request_id: RequestId::generate(),
            not_before: self.clock.now(),
            priority: 1,
            delivery: CallDelivery::default(),
            depth: 0,
            idempotency: None,
            envelope: b"envelope".to_vec(),
            payload: b"payload".to_vec(),
        }
    }

    /// An app, a ready route and an accepted call of it.
    pub async fn accepted(&self) -> NewCall {
        let app = self.app(&format!("app-{}", InstanceId::generate())).await;
        let route = self.ready_route(&app, "/hello").await;
        let call = self.new_call(&app, &route);
        self.store.accept_call(&call).await.unwrap();
        call
    }

    /// A time of the clock, so many microseconds from now.
    pub fn after(&self, micros: i64) -> Timestamp {
        self.clock.now().plus_micros(micros)
    }

    /// A lease that ends in a minute of the clock.
    pub fn lease(&self) -> Timestamp {
        self.clock.now().plus_micros(60 * SECOND)
    }

    /// Takes all that is due.
    pub async fn drain_outbox(&self) -> Vec<CallId> {
        let batch = self.store.take_outbox(&take(MANY)).await.unwrap();
        batch.entries.into_iter().map(|entry| entry.call_id).collect()
    }
}

/// Up to `limit` entries, for ever, of whatever project.
pub fn take(limit: u32) -> OutboxTake {
    OutboxTake {
        taken_by: InstanceId::generate(),
        until: Timestamp(i64::MAX),
        limit,
        window: u32::MAX,
        per_project: u32::MAX,
        wanted: HashMap::new(),
        after: None,
    }
}
