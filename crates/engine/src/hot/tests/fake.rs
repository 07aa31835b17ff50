//! A driver and a format whose functions do what the request's `x-do` says: for faults that real
//! sandboxes do not produce when asked to. Real ones have suites of their own.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode};
use picasso_image::unpack::InspectOnly;
use picasso_image::{ImageBuilder, ImageProcess, ImageSettings, ImageStore, RootFs, Scope};
use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_sandbox::{
    Channel, Ended, EndedBy, Endpoint, Features, Freezer, IdentityFolder, IdentityFolders, ProcessSpec,
    Reaped, Sandbox, SandboxError, SandboxIo, SlotId, SlotSpec,
};
use picasso_store::{AppStore as _, RouteStore as _, SecretKey, SqliteSettings, SqliteStore};
use picasso_types::{
    Bounds, Digest, Failure, Format, ImageRef, InstanceId, NewApp, NewRoute, Route, RouteChange, SystemClock,
    VersionSpec,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, SetOnce};
use tokio_util::io::StreamReader;

use crate::call_events::End;
use crate::catalog::Catalog;
use crate::engine::Engine;
use crate::hot::lease::Lease;
use crate::hot::link::{HotAnswer, HotCall, HotFormat, Link, LinkFault, Started};
use crate::hot::pool::Pool;
use crate::identities::Identities;
use crate::invocation::{Answer, Invocation};
use crate::parts::EngineParts;
use crate::settings::EngineSettings;
use crate::target::Target;
use crate::testing;

/// What the fakes share with the test.
#[derive(Debug)]
pub struct World {
    next: AtomicU64,
    slots: Mutex<HashMap<SlotId, Arc<SetOnce<Ended>>>>,
    /// Slots made and not removed.
    pub present: AtomicUsize,
    /// Most of them at one time.
    pub most: AtomicUsize,
    /// Processes started so far.
    pub started: AtomicUsize,
    /// Calls that are in a function.
    pub inside: AtomicUsize,
    /// Most of them at one time.
    pub most_inside: AtomicUsize,
    /// Permits for `x-do: hold`.
    pub release: Semaphore,
    /// What starts do: nothing, or this.
    pub broken: Mutex<Option<Broken>>,
    /// Starts wait this long.
    pub start_takes: Mutex<Duration>,
    /// What was started, in order.
    pub processes: Mutex<Vec<ProcessSpec>>,
    /// Where identities lie.
    pub identities: Mutex<Option<(TempDir, Arc<IdentityFolders>)>>,
    /// Where freezers write.
    pub freezers: Mutex<Option<TempDir>>,
}

/// How a start goes wrong.
#[derive(Debug, Clone, Copy)]
pub enum Broken {
    /// The process ends so.
    Ends(Ended),
    /// It never gets ready.
    Silent,
}

impl World {
    fn new() -> Self {
        Self {
            next: AtomicU64::new(0),
            slots: Mutex::default(),
            present: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            started: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            most_inside: AtomicUsize::new(0),
            release: Semaphore::new(0),
            broken: Mutex::default(),
            start_takes: Mutex::default(),
            processes: Mutex::default(),
            identities: Mutex::default(),
            freezers: Mutex::default(),
        }
    }

    pub fn end(&self, slot: u64, ended: Ended) {
        let slot = self.slots.lock().unwrap().get(&SlotId(slot)).cloned();
        // It may have ended already.
        let _ = slot.unwrap().set(ended);
    }

    pub fn frozen(&self, slot: u64) -> bool {
        let folder = self.freezers.lock().unwrap();
        let path = folder.as_ref().unwrap().path().join(slot.to_string());
        std::fs::read_to_string(path).unwrap().ends_with("FROZEN")
    }
}

pub fn exited(code: i32) -> Ended {
    Ended { by: EndedBy::Exit(code), out_of_memory: false, memory_peak_bytes: None }
}

#[derive(Debug)]
struct FakeSandbox(Arc<World>);

#[async_trait]
impl Sandbox for FakeSandbox {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn features(&self) -> Features {
        Features { egress: true, socket_folder: true, ports: true }
    }

    async fn prepare(&self, _: &RootFs) -> Result<(), SandboxError> {
        Ok(())
    }

    async fn make_slot(&self, _: &SlotSpec) -> Result<SlotId, SandboxError> {
        let slot = SlotId(self.0.next.fetch_add(1, SeqCst));
        self.0.slots.lock().unwrap().insert(slot, Arc::default());
        let present = self.0.present.fetch_add(1, SeqCst) + 1;
        self.0.most.fetch_max(present, SeqCst);
        Ok(slot)
    }

    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        let mut folders = self.0.identities.lock().unwrap();
        let (_, folders) = folders.get_or_insert_with(|| {
            let root = tempfile::tempdir().unwrap();
            let folders = IdentityFolders::open(&root.path().join("i"), "").unwrap();
            (root, folders)
        });
        Ok(folders.make().unwrap())
    }

    async fn start(
        &self,
        slot: SlotId,
        _: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        self.0.processes.lock().unwrap().push(process.clone());
        self.0.started.fetch_add(1, SeqCst);
        let broken = *self.0.broken.lock().unwrap();
        if let Some(Broken::Ends(ended)) = broken {
            self.0.end(slot.0, ended);
        }
        let ended = self.0.slots.lock().unwrap()[&slot].clone();
        let last_words = stream::once(async move {
            ended.wait().await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"last words\n"))
        });
        let freezers = self.0.freezers.lock().unwrap();
        let file =
            freezers.as_ref().map(|folder| File::create(folder.path().join(slot.0.to_string())).unwrap());
        Ok(SandboxIo {
            stdin: Box::pin(tokio::io::sink()),
            // How the format finds its sandbox.
            stdout: Box::pin(std::io::Cursor::new(slot.0.to_string().into_bytes())),
            stderr: Box::pin(StreamReader::new(last_words.boxed())),
            endpoint: Endpoint::Streams,
            freezer: file.map(Freezer::v1),
            fence: None,
        })
    }

    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        let ended = self.0.slots.lock().unwrap()[&slot].clone();
        Ok(*ended.wait().await)
    }

    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.0.end(slot.0, Ended { by: EndedBy::Signal(9), ..exited(0) });
        Ok(())
    }

    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.0.end(slot.0, Ended { by: EndedBy::Signal(15), ..exited(0) });
        Ok(())
    }

    async fn remove(&self, slot: SlotId) -> Result<(), SandboxError> {
        self.0.slots.lock().unwrap().remove(&slot).unwrap();
        self.0.present.fetch_sub(1, SeqCst);
        Ok(())
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        Ok(Reaped::default())
    }
}

#[derive(Debug)]
pub struct FakeFormat(pub Arc<World>);

#[async_trait]
impl HotFormat for FakeFormat {
    fn channel(&self) -> Channel {
        Channel::Streams
    }

    fn environment(
        &self,
        _: &ImageProcess,
        _: &Target,
        secrets: &crate::secrets::OpenSecrets,
    ) -> Vec<(String, String)> {
        secrets.env().cloned().collect()
    }

    async fn open(&self, mut started: Started) -> Result<Arc<dyn Link>, Failure> {
        let mut slot = String::new();
        started.stdout.read_to_string(&mut slot).await.unwrap();
        let takes = *self.0.start_takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        if self.0.broken.lock().unwrap().is_some() {
            std::future::pending::<()>().await;
        }
        Ok(Arc::new(FakeLink { world: self.0.clone(), slot: slot.parse().unwrap() }))
    }
}

#[derive(Debug)]
struct FakeLink {
    world: Arc<World>,
    slot: u64,
}

struct Inside(Arc<World>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}

#[async_trait]
impl Link for FakeLink {
    async fn call(&self, call: HotCall, lease: Lease) -> Result<HotAnswer, LinkFault> {
        let world = &self.world;
        let order = call.invocation.headers.get("x-do").map_or("answer", |value| value.to_str().unwrap());
        let inside = world.inside.fetch_add(1, SeqCst) + 1;
        world.most_inside.fetch_max(inside, SeqCst);
        let inside = Inside(world.clone());
        let mut headers = HeaderMap::new();
        headers.insert("x-slot", HeaderValue::from(self.slot));
        let status = StatusCode::OK;
        let whole = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]).boxed();
        match order {
            "answer" => {
                tokio::task::yield_now().await;
                lease.keep();
                Ok(HotAnswer { status, headers, body: whole("hello") })
            }
            "404" => {
                lease.keep();
                Ok(HotAnswer { status: StatusCode::NOT_FOUND, headers, body: whole("no") })
            }
            "hold" => {
                world.release.acquire().await.unwrap().forget();
                lease.keep();
                Ok(HotAnswer { status, headers, body: whole("held") })
            }
            "for-ever" => std::future::pending().await,
            "linger" => {
                let ended = world.slots.lock().unwrap()[&SlotId(self.slot)].clone();
                ended.wait().await;
                Err(LinkFault::BrokenOff("it closed its stdout".to_owned()))
            }
            "exit" => {
                world.end(self.slot, exited(3));
                Err(LinkFault::BrokenOff("it closed its stdout".to_owned()))
            }
            "exhaust" => {
                let ended = Ended { by: EndedBy::Signal(9), out_of_memory: true, ..exited(0) };
                world.end(self.slot, ended);
                Err(LinkFault::BrokenOff("it closed its stdout".to_owned()))
            }
            "babble" => Err(LinkFault::BrokenOff("it wrote too much".to_owned())),
            "refuse" => Err(LinkFault::Unsent(Box::new(call))),
            "trickle" => {
                // A body that does not end; the lease and the count live in it.
                let body = stream::unfold((lease, inside, 0u64), |state| async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Some((Ok(Bytes::from_static(b"drop")), state))
                });
                Ok(HotAnswer { status, headers, body: body.boxed() })
            }
            other => panic!("no such order: {other}"),
        }
    }
}

/// An engine over the fakes.
pub struct Bench {
    pub engine: Engine,
    pub world: Arc<World>,
    pub store: Arc<SqliteStore>,
    digest: Digest,
    _folder: TempDir,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with(EngineSettings::default()).await
    }

    pub async fn with(settings: EngineSettings) -> Self {
        Self::limited(settings, u64::MAX).await
    }

    /// An engine in which projects may have so many queued calls.
    pub async fn limited(settings: EngineSettings, queued_calls: u64) -> Self {
        Self::made(settings, queued_calls, None).await
    }

    /// An engine whose functions have identities.
    pub async fn with_identities(identities: Arc<dyn Identities>) -> Self {
        Self::made(EngineSettings::default(), u64::MAX, Some(identities)).await
    }

    async fn made(
        settings: EngineSettings,
        queued_calls: u64,
        identities: Option<Arc<dyn Identities>>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let clock = Arc::new(SystemClock);
        let key = SecretKey::from_bytes(&[7; 32]).unwrap();
        let store = SqliteStore::connect(&SqliteSettings::at(at("store")), key, clock.clone()).await.unwrap();
        store.upgrade().await.unwrap();
        let store = Arc::new(store);
        let queue = SqliteQueue::connect(&SqliteQueueSettings::at(at("queue")), clock.clone()).await.unwrap();
        queue.upgrade().await.unwrap();
        let images = ImageStore::open(at("images"), ImageSettings::default(), Arc::new(InspectOnly)).unwrap();
        let mut image = ImageBuilder::new();
        image.entrypoint(["/f"]);
        image.bytes("f", "/f", 0o755).unwrap();
        image.write(&at("tar")).unwrap();
        let name = ImageRef::parse("hello:1").unwrap();
        let image = images.import_path(&Scope::Shared, &name, &at("tar")).await.unwrap();
        let world = Arc::new(World::new());
        let engine = Engine::new(EngineParts {
            outputs: None,
            settings,
            instance: InstanceId::generate(),
            store: store.clone(),
            queue: Arc::new(queue),
            images: Arc::new(images),
            sandbox: Arc::new(FakeSandbox(world.clone())),
            catalog: Arc::new(Catalog::new(store.clone(), Duration::from_mins(1))),
            outbound: picasso_outbound::GuardedClient::new(&picasso_outbound::ClientSettings::default())
                .unwrap(),
            zaqar: None,
            identities,
            limits: testing::limits(queued_calls),
            clock,
        });
        engine.start().await.unwrap();
        Self { engine, world, store, digest: image.digest, _folder: folder }
    }

    /// A function of format `json` in a project of the test's; `change` may make it another.
    pub async fn function(&self, change: impl FnOnce(&mut VersionSpec)) -> Arc<Target> {
        let app = testing::target("/").app;
        let name = format!("app-{}", self.world.next.fetch_add(1, SeqCst));
        let new = NewApp {
            id: picasso_types::AppId::generate(),
            project_id: app.project_id.clone(),
            short_name: picasso_types::AppName::parse(&name).unwrap(),
            description: String::new(),
            config: testing::config(&[]),
            secrets: picasso_types::Secrets::default(),
            cors: None,
        };
        let app = self.store.create_app(&new, 1000).await.unwrap();
        let mut spec = testing::target("/").version.unwrap().spec.clone();
        spec.format = Format::Json;
        change(&mut spec);
        spec.check(&Bounds::default()).unwrap();
        let testing_route = testing::target("/f").route;
        let new = NewRoute {
            id: picasso_types::RouteId::generate(),
            pattern: testing_route.pattern.clone(),
            methods: testing_route.methods.clone(),
            route_type: testing_route.route_type,
            is_public: true,
            rate_limit: None,
            delivery: testing_route.delivery.clone(),
            access: testing_route.access.clone(),
            spec,
            created_by: "me".to_owned(),
        };
        let route = self.store.create_route(&app.id, &new, Some(&self.digest), 100).await.unwrap();
        self.target(&Arc::new(app), route)
    }

    /// The next version of a function, as its next callers find it.
    pub async fn update(&self, target: &Target) -> Arc<Target> {
        let route = &target.route;
        let change = RouteChange {
            methods: route.methods.clone(),
            route_type: route.route_type,
            is_public: true,
            rate_limit: None,
            delivery: route.delivery.clone(),
            access: route.access.clone(),
            spec: VersionSpec { config: testing::config(&[("changed", "yes")]), ..route.latest.spec.clone() },
            created_by: "me".to_owned(),
            expected: None,
        };
        let route = self.store.update_route(&route.id, &change, Some(&self.digest)).await.unwrap();
        self.engine.shared.parts.catalog.forget(&target.app.id).await;
        self.target(&target.app, route)
    }

    pub fn target(&self, app: &Arc<picasso_types::App>, route: Route) -> Arc<Target> {
        let target = Arc::new(Target::active(app, route));
        if target.version.as_ref().unwrap().spec.format.is_hot() {
            let format: Arc<dyn HotFormat> = Arc::new(FakeFormat(self.world.clone()));
            self.engine.shared.hot.pool_of(&target, format);
        }
        target
    }

    pub fn pool(&self, target: &Target) -> Arc<Pool> {
        self.engine.shared.hot.pool(target).unwrap()
    }

    pub fn invocation(target: &Arc<Target>, order: &'static str) -> Invocation {
        let mut invocation = testing::invocation("/f");
        invocation.target = target.clone();
        invocation.headers.insert("x-do", HeaderValue::from_static(order));
        invocation
    }

    /// Calls and gives the number of the sandbox that answered.
    pub async fn call(&self, target: &Arc<Target>, order: &'static str) -> Result<u64, Failure> {
        self.answer(target, order).await.map(|answer| slot(&answer)).map_err(|end| end.failure.unwrap())
    }

    pub async fn answer(&self, target: &Arc<Target>, order: &'static str) -> Result<Answer, End> {
        super::super::call::run(&self.engine.shared, Self::invocation(target, order)).await
    }

    /// Begins a call in a task of its own.
    pub fn begin(
        self: &Arc<Self>,
        target: &Arc<Target>,
        order: &'static str,
    ) -> tokio::task::JoinHandle<Result<u64, Failure>> {
        let (bench, target) = (self.clone(), target.clone());
        tokio::spawn(async move { bench.call(&target, order).await })
    }

    pub fn present(&self) -> usize {
        self.world.present.load(SeqCst)
    }

    pub fn started(&self) -> usize {
        self.world.started.load(SeqCst)
    }

    pub fn inside(&self) -> usize {
        self.world.inside.load(SeqCst)
    }

    /// Ends the engine; nothing may be left.
    pub async fn finish(&self) {
        self.engine.shut_down(Duration::ZERO).await;
        assert_eq!(self.present(), 0, "sandboxes are left");
        assert_eq!(self.engine.shared.admission.memory_in_use_mb(), 0, "memory is still promised");
    }
}

pub fn slot(answer: &Answer) -> u64 {
    answer.head.as_ref().unwrap().headers["x-slot"].to_str().unwrap().parse().unwrap()
}

/// Waits for a condition, at most 10 seconds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "not seen: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
