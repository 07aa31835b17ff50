//! Processes for the unit tests of this crate: real store, queue and engine. The engine accepts calls
//! and runs none, so nothing asks the sandbox for anything.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use picasso_engine::{Catalog, Engine, EngineParts, EngineSettings};
use picasso_image::unpack::InspectOnly;
use picasso_image::{ImageSettings, ImageStore, RootFs};
use picasso_outbound::{ClientSettings, GuardedClient};
use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_sandbox::{
    Ended, Features, ProcessSpec, Reaped, Sandbox, SandboxError, SandboxIo, SlotId, SlotSpec,
};
use picasso_store::{PostgresSettings, PostgresStore, SecretKey, SqliteSettings, SqliteStore, Store};
use picasso_testkit::postgres::PostgresServer;
use picasso_testkit::process::require;
use picasso_types::trigger::{
    Filter, NewTrigger, Trigger, TriggerKind, TriggerName, TriggerSpec, TriggerType,
};
use picasso_types::{
    App, AppName, Bounds, Call, CallFilter, Clock, Config, DeliveryOptions, Digest, FixedLimits, Format,
    ImageRef, InstanceId, Limit, LimitSource, Limits, Methods, NetworkMode, NewApp, NewRoute, ProjectId,
    ProjectLimits, Route, RouteAccess, RouteId, RoutePattern, RouteType, Secrets, Timestamp, TriggerId,
    VersionSpec,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::firing::Firer;
use crate::firings::Firings;

pub const SECOND: i64 = 1_000_000;
/// More than any test has.
const MANY: u32 = 20_000;

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct TestClock(AtomicI64);

impl TestClock {
    pub fn pass(&self, seconds: i64) {
        self.pass_micros(seconds * SECOND);
    }

    pub fn pass_micros(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// A database with an app and a route that several processes share.
pub struct World {
    pub clock: Arc<TestClock>,
    pub stores: Vec<Arc<dyn Store>>,
    pub app: App,
    pub route: Route,
    folder: tempfile::TempDir,
    _server: Box<dyn Any + Send + Sync>,
}

/// What a process has.
pub struct Process {
    pub store: Arc<dyn Store>,
    pub instance: InstanceId,
    pub firer: Firer,
}

pub fn demo() -> ProjectId {
    ProjectId::parse("968f523b6fec4a7694aaa27b300bb879").unwrap()
}

impl World {
    /// Two stores on one SQLite file.
    pub async fn sqlite() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..2 {
            let settings = SqliteSettings::at(folder.path().join("picasso.db"));
            let store = SqliteStore::connect(&settings, key(), clock.clone()).await.unwrap();
            store.upgrade().await.unwrap();
            stores.push(Arc::new(store));
        }
        Self::on(stores, clock, folder, Box::new(())).await
    }

    /// Two stores on one PostgreSQL database; `None` when the test is to be skipped.
    pub async fn postgres() -> Option<Self> {
        if !require("PostgreSQL", PostgresServer::missing().as_deref()) {
            return None;
        }
        let server = PostgresServer::start().await.unwrap();
        let url = server.create_database("picasso").unwrap();
        let clock = clock();
        let mut stores: Vec<Arc<dyn Store>> = Vec::new();
        for _ in 0..2 {
            let settings = PostgresSettings { max_connections: 8, ..PostgresSettings::at(url.clone()) };
            let store = PostgresStore::connect(&settings, key(), clock.clone()).await.unwrap();
            store.upgrade().await.unwrap();
            stores.push(Arc::new(store));
        }
        Some(Self::on(stores, clock, tempfile::tempdir().unwrap(), Box::new(server)).await)
    }

    async fn on(
        stores: Vec<Arc<dyn Store>>,
        clock: Arc<TestClock>,
        folder: tempfile::TempDir,
        server: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let name = AppName::parse("app").unwrap();
        let app = NewApp::new(demo(), name, None, Config::default(), &Bounds::default()).unwrap();
        let app = stores[0].create_app(&app, MANY).await.unwrap();
        let digest = Digest::of(b"image");
        let route = stores[0].create_route(&app.id, &new_route(), Some(&digest), MANY).await.unwrap();
        Self { clock, stores, app, route, folder, _server: server }
    }

    pub async fn process(&self, number: usize) -> Process {
        let store = self.stores[number % self.stores.len()].clone();
        let folder = self.folder.path().join(InstanceId::generate().as_str());
        std::fs::create_dir(&folder).unwrap();
        let instance = InstanceId::generate();
        let catalog = Arc::new(Catalog::new(store.clone(), Duration::ZERO));
        let parts = parts(&folder, store.clone(), instance.clone(), catalog.clone(), self.clock.clone());
        let (firings, _) = Firings::start(store.clone(), CancellationToken::new());
        let firer = Firer::new(Arc::new(Engine::new(parts.await)), catalog, firings);
        Process { store, instance, firer }
    }

    pub async fn trigger(
        &self,
        name: &str,
        kind: TriggerType,
        options: Value,
        next_at: Timestamp,
    ) -> Trigger {
        let spec = TriggerSpec {
            name: TriggerName::parse(name).unwrap(),
            app_id: self.app.id.clone(),
            route_id: self.route.id.clone(),
            selector: None,
            kind: TriggerKind::parse(kind, options).unwrap(),
            filter: Filter::default(),
            input: None,
        };
        let new = NewTrigger {
            id: TriggerId::generate(),
            project_id: demo(),
            spec,
            enabled: true,
            next_at: Some(next_at),
            hook_hash: None,
            hook_key: None,
            identity: None,
            created_by: "user-a".to_owned(),
        };
        self.stores[0].create_trigger(&new, MANY).await.unwrap()
    }

    pub async fn read(&self, trigger: &Trigger) -> Trigger {
        self.stores[0].get_trigger_by_id(&trigger.id).await.unwrap()
    }

    /// Every call that is in the database.
    pub async fn calls(&self) -> Vec<Call> {
        let filter = CallFilter {
            project_id: demo(),
            app_name: None,
            route_path: None,
            state: None,
            since: None,
            after: None,
            limit: MANY,
        };
        self.stores[0].list_calls(&filter).await.unwrap()
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(1_800_000_000 * SECOND)))
}

fn key() -> SecretKey {
    SecretKey::from_bytes(&[42; 32]).unwrap()
}

fn new_route() -> NewRoute {
    NewRoute {
        id: RouteId::generate(),
        pattern: RoutePattern::parse("/run").unwrap(),
        methods: Methods::any(),
        route_type: RouteType::Async,
        is_public: false,
        rate_limit: None,
        delivery: DeliveryOptions::default(),
        access: RouteAccess::default(),
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
        created_by: "user-a".to_owned(),
    }
}

async fn parts(
    folder: &Path,
    store: Arc<dyn Store>,
    instance: InstanceId,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
) -> EngineParts {
    let settings = SqliteQueueSettings::at(folder.join("queue.db"));
    let queue = SqliteQueue::connect(&settings, clock.clone()).await.unwrap();
    queue.upgrade().await.unwrap();
    let limit = |_| Limit { max: None, source: LimitSource::Default };
    let limits: Arc<dyn Limits> = Arc::new(FixedLimits(Arc::new(ProjectLimits::new(limit))));
    let settings = ImageSettings { limits: limits.clone(), ..ImageSettings::default() };
    let images = ImageStore::open(folder.join("images"), settings, Arc::new(InspectOnly)).unwrap();
    EngineParts {
        settings: EngineSettings::default(),
        instance,
        store,
        queue: Arc::new(queue),
        images: Arc::new(images),
        sandbox: Arc::new(NoSandbox),
        catalog,
        outbound: GuardedClient::new(&ClientSettings::default()).unwrap(),
        zaqar: None,
        outputs: None,
        identities: None,
        limits,
        clock,
    }
}

/// Nothing runs in these tests.
#[derive(Debug)]
struct NoSandbox;

fn nothing_runs() -> SandboxError {
    SandboxError::CannotStart("nothing runs here".to_owned())
}

#[async_trait]
impl Sandbox for NoSandbox {
    fn name(&self) -> &'static str {
        "none"
    }

    fn features(&self) -> Features {
        Features { egress: false, socket_folder: false, ports: false }
    }

    async fn prepare(&self, _: &RootFs) -> Result<(), SandboxError> {
        Err(nothing_runs())
    }

    async fn make_slot(&self, _: &SlotSpec) -> Result<SlotId, SandboxError> {
        Err(nothing_runs())
    }

    async fn start(&self, _: SlotId, _: &RootFs, _: &ProcessSpec) -> Result<SandboxIo, SandboxError> {
        Err(nothing_runs())
    }

    async fn wait(&self, _: SlotId) -> Result<Ended, SandboxError> {
        Err(nothing_runs())
    }

    async fn terminate(&self, _: SlotId) -> Result<(), SandboxError> {
        Err(nothing_runs())
    }

    async fn kill(&self, _: SlotId) -> Result<(), SandboxError> {
        Err(nothing_runs())
    }

    async fn remove(&self, _: SlotId) -> Result<(), SandboxError> {
        Err(nothing_runs())
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        Ok(Reaped::default())
    }
}
