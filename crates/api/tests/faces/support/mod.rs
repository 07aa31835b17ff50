//! A whole server in one process: real store, queue, images, engine and listeners; functions run
//! as plain processes, so that these tests are about HTTP and need no privileges.

pub mod client;
pub mod clock;
pub mod process_sandbox;
pub mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use picasso_api::{
    Announcer, ApiSettings, ApiState, IronSettings, ServeLimits, api_router, functions_router, iron_router,
    serve_tcp,
};
use picasso_engine::{Catalog, Engine, EngineParts, EngineSettings, OutputObjects};
use picasso_identity::policy::{Enforcer, RemoteSettings, RuleSet};
use picasso_identity::{TokenValidator, Trusts};
use picasso_image::unpack::InspectOnly;
use picasso_image::{ImageBuilder, ImageSettings, ImageStore, Scope};
use picasso_objects::FileObjects;
use picasso_queue::{SqliteQueue, SqliteQueueSettings};
use picasso_store::{SecretKey, SqliteSettings, SqliteStore, Store};
use picasso_trigger::object::ObjectTriggers;
use picasso_trigger::{Firer, Firings};
use picasso_types::{
    Clock, FixedLimits, ImageRef, InstanceId, Limit, LimitSource, Limits, ProjectLimits, Resource,
    SystemClock,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use client::{Client, Reply};
use process_sandbox::ProcessSandbox;
use tokens::{FixedTokens, NoPolicyServer};

/// The project of the tokens `member`, `reader`, `admin` and `stranger`.
pub const PROJECT: &str = "968f523b6fec4a7694aaa27b300bb879";
/// The project of the token `other`.
pub const OTHER: &str = "0b7d5a3e11114222833344445555aaaa";

/// A running server; ends when dropped.
pub struct Server {
    pub api: Client,
    pub functions: Client,
    pub iron: Client,
    pub api_address: SocketAddr,
    pub functions_address: SocketAddr,
    pub state: ApiState,
    pub sandbox: Arc<ProcessSandbox>,
    shutdown: CancellationToken,
    pub folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// What a test wants to be different.
pub struct Options {
    pub api: ApiSettings,
    pub engine: EngineSettings,
    pub limits: ServeLimits,
    pub tokens: Arc<dyn TokenValidator>,
    pub rules: RuleSet,
    pub clock: Arc<dyn Clock>,
    /// Absent: SQLite in the server's folder.
    pub store: Option<Arc<dyn Store>>,
    pub quota: Arc<dyn Limits>,
    /// The key of the service's tokens on the IronFunctions face.
    pub iron_key: Option<&'static str>,
    pub announcer: Arc<Announcer>,
    pub trusts: Option<Arc<Trusts>>,
}

/// What the stores of these tests seal their secrets under.
pub fn key() -> SecretKey {
    SecretKey::from_bytes(&[7; 32]).unwrap()
}

impl Default for Options {
    fn default() -> Self {
        Self {
            api: ApiSettings::default(),
            engine: EngineSettings::default(),
            limits: ServeLimits::default(),
            tokens: Arc::new(FixedTokens),
            rules: RuleSet::new(BTreeMap::new()),
            clock: Arc::new(SystemClock),
            store: None,
            quota: limits(|_| None),
            iron_key: None,
            announcer: Arc::new(Announcer::silent()),
            trusts: None,
        }
    }
}

/// Limits of all projects; `None` is none.
pub fn limits(max: impl Fn(Resource) -> Option<u64>) -> Arc<dyn Limits> {
    let limit = |resource| Limit { max: max(resource), source: LimitSource::Default };
    Arc::new(FixedLimits(Arc::new(ProjectLimits::new(limit))))
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    pub async fn start_with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = options.clock;
        let object_clock = clock.clone();
        let outputs = OutputObjects {
            objects: Arc::new(FileObjects::open(folder.path().join("outputs")).unwrap()),
            key: Arc::new(key()),
        };
        let store = match options.store {
            Some(store) => store,
            None => sqlite(&folder.path().join("picasso.db"), clock.clone()).await,
        };
        let settings = SqliteQueueSettings::at(folder.path().join("queue.db"));
        let queue = SqliteQueue::connect(&settings, clock.clone()).await.unwrap();
        queue.upgrade().await.unwrap();
        let settings = ImageSettings { limits: options.quota.clone(), ..ImageSettings::default() };
        let images = ImageStore::open(folder.path().join("images"), settings, Arc::new(InspectOnly));
        let images = Arc::new(images.unwrap());
        let sandbox = Arc::new(ProcessSandbox::default());
        let catalog = Arc::new(Catalog::new(store.clone(), Duration::ZERO));
        let engine = Engine::new(EngineParts {
            outputs: Some(outputs),
            settings: options.engine,
            instance: InstanceId::generate(),
            store: store.clone(),
            queue: Arc::new(queue),
            images: images.clone(),
            sandbox: sandbox.clone(),
            catalog: catalog.clone(),
            outbound: picasso_outbound::GuardedClient::new(&picasso_outbound::ClientSettings::default())
                .unwrap(),
            zaqar: None,
            identities: None,
            limits: options.quota.clone(),
            clock,
        });
        engine.start().await.unwrap();
        let engine = Arc::new(engine);
        let shutdown = CancellationToken::new();
        let (firings, _) = Firings::start(store.clone(), shutdown.clone());
        let firer = Firer::new(engine.clone(), catalog.clone(), firings);
        let objects = ObjectTriggers::new(firer.clone(), catalog.clone(), store.clone(), object_clock);
        let objects = Arc::new(objects);
        tokio::spawn(objects.clone().follow(shutdown.clone()));
        let state = ApiState {
            objects,
            firer,
            key_manager: None,
            messaging: None,
            trusts: options.trusts,
            store,
            catalog,
            engine,
            images,
            tokens: options.tokens,
            limits: options.quota,
            policy: Arc::new(Enforcer::new(
                options.rules,
                Arc::new(NoPolicyServer),
                RemoteSettings::default(),
            )),
            announcer: options.announcer,
            settings: Arc::new(options.api),
        };
        let api_address = listen(api_router(state.clone()), &options.limits, &shutdown).await;
        let functions_address = listen(functions_router(state.clone()), &options.limits, &shutdown).await;
        let iron = IronSettings {
            allowed_hosts: vec!["127.0.0.1".to_owned()],
            service_key: options.iron_key.map(Into::into),
            base: None,
        };
        let iron_address = listen(iron_router(state.clone(), iron), &options.limits, &shutdown).await;
        Self {
            iron: Client::new(iron_address),
            api: Client::new(api_address),
            functions: Client::new(functions_address),
            api_address,
            functions_address,
            state,
            sandbox,
            shutdown,
            folder,
        }
    }

    /// Loads an image for all projects that runs a shell script.
    pub async fn image(&self, name: &str, script: &str) {
        let tar = self.folder.path().join("image.tar");
        write_image(&tar, script);
        let name = ImageRef::parse(name).unwrap();
        self.state.images.import_path(&Scope::Shared, &name, &tar).await.unwrap();
    }

    /// The tar of an image that runs a shell script.
    pub fn image_tar(&self, script: &str) -> Vec<u8> {
        let tar = self.folder.path().join("upload.tar");
        write_image(&tar, script);
        std::fs::read(&tar).unwrap()
    }

    /// Makes the app `hello` and gives its full name.
    pub async fn app(&self) -> String {
        let body = json!({"app": {"name": "hello"}});
        let reply = self.api.post(&format!("/v1/{PROJECT}/apps"), "member", &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["app"]["name"].as_str().unwrap().to_owned()
    }

    /// Makes a route of the app `hello`; `fields` may lack `image`, then `script` becomes one.
    pub async fn route(&self, path: &str, script: &str, fields: Value) -> Reply {
        let name = format!("image{}:1", path.replace(['/', ':', '*'], "-").to_lowercase());
        let name = name.replace("image-", "image");
        self.image(&name, script).await;
        let mut route = json!({"path": path, "image": name, "is_public": true});
        route.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let url = format!("/v1/{PROJECT}/apps/hello/routes");
        let reply = self.api.post(&url, "member", &json!({"route": route})).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }

    /// Begins the shutdown of the listeners.
    pub fn shut_down(&self) {
        self.shutdown.cancel();
    }
}

async fn sqlite(path: &Path, clock: Arc<dyn Clock>) -> Arc<dyn Store> {
    let store = SqliteStore::connect(&SqliteSettings::at(path.to_owned()), key(), clock).await.unwrap();
    store.upgrade().await.unwrap();
    Arc::new(store)
}

fn write_image(path: &Path, script: &str) {
    let mut image = ImageBuilder::new();
    image.entrypoint(["/bin/sh", "-c", script]);
    image.bytes(script.as_bytes().to_vec(), "/script", 0o644).unwrap();
    image.write(path).unwrap();
}

async fn listen(router: axum::Router, limits: &ServeLimits, shutdown: &CancellationToken) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve_tcp(listener, router, limits.clone(), shutdown.clone()));
    address
}
