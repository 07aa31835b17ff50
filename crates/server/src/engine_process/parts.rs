//! Building the parts of a server, in the order in which they need each other.

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use picasso_api::ApiState;
use picasso_config::Settings;
use picasso_config::settings::SandboxRuntime;
use picasso_engine::{Catalog, Engine, EngineParts, OutputObjects};
use picasso_identity::KeystoneValidator;
use picasso_image::unpack::InspectOnly;
use picasso_image::{ImageStore, LayerUnpacker};
use picasso_notify::Notifier;
use picasso_queue::Queue;
use picasso_sandbox::docker::{DockerSandbox, DockerSettings, ImageExport};
use picasso_sandbox::oci::OciSandbox;
use picasso_sandbox::supervisor::{Control, EngineSide};
use picasso_sandbox::{Sandbox, SandboxError};
use picasso_store::{SecretKey, Store};
use picasso_types::{Digest, InstanceId, Limits, SystemClock};
use tokio::io::AsyncRead;

use super::no_keystone::NoKeystone;
use super::triggers::Triggers;
use crate::failure::ServerFailure;
use crate::policy::PolicyInForce;
use crate::trigger_tokens::ByTrust;
use crate::{catalog_services, convert, database, notifications};

/// The running parts.
pub(super) struct Parts {
    pub(super) store: Arc<dyn Store>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) images: Arc<ImageStore>,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) engine: Arc<Engine>,
    pub(super) policy: PolicyInForce,
    pub(super) notifier: Arc<dyn Notifier>,
    pub(super) triggers: Triggers,
    pub(super) api: ApiState,
}

impl Parts {
    pub(super) async fn build(
        side: EngineSide,
        root: bool,
        settings: &Settings,
        key: SecretKey,
    ) -> Result<Self, ServerFailure> {
        let clock = Arc::new(SystemClock);
        let instance = side.instance.clone();
        let store = database::open(settings, key.clone()).await?;
        let queue = crate::queue::open(settings).await?;
        tracing::info!(
            node = %instance,
            database = %settings.database_url().shown(),
            queue = %database::shown_queue(settings),
            "calls are kept in the database and dispatched by the queue"
        );

        let keystone = open_keystone(settings, &clock)?;
        let limits = crate::limits::open(settings, keystone.as_ref());
        let key = Arc::new(key);
        let objects = crate::objects::open(settings, keystone.as_ref())?;
        let outputs = objects.map(|objects| OutputObjects { objects, key });

        let control = side.connect().await.map_err(helpers_failed)?;
        let images = Arc::new(open_images(settings, &control, limits.clone())?);
        let sandbox = open_sandbox(settings, root, &control, &instance, &images).await?;
        let reaped = sandbox.reap().await.map_err(helpers_failed)?;
        if reaped.sandboxes > 0 || reaped.networks > 0 {
            tracing::info!(
                sandboxes = reaped.sandboxes,
                networks = reaped.networks,
                "removed what an earlier process left"
            );
        }

        let identities = crate::identities::open(settings, keystone.as_ref(), &store, clock.clone());
        let zaqar = catalog_services::zaqar(settings, keystone.clone())?;
        let catalog = Arc::new(Catalog::new(store.clone(), convert::cached_routes(settings)));
        let engine = Arc::new(Engine::new(EngineParts {
            settings: convert::engine(settings),
            instance: instance.clone(),
            store: store.clone(),
            queue: queue.clone(),
            images: images.clone(),
            sandbox: sandbox.clone(),
            catalog: catalog.clone(),
            outbound: convert::client(settings, convert::guard(settings))?,
            zaqar: zaqar.clone(),
            outputs,
            identities: identities.as_ref().map(|(_, identities)| identities.clone()),
            limits: limits.clone(),
            clock: clock.clone(),
        }));
        engine.start().await.map_err(|error| {
            ServerFailure::new("what an earlier process left cannot be taken up").because(error)
        })?;
        let policy = PolicyInForce::open(settings)?;
        let notifier = notifications::open(settings);
        let key_manager = catalog_services::barbican(settings, keystone.clone())?;
        let tokens = identities.as_ref().map(|(trusts, _)| {
            ByTrust::open(trusts.clone(), clock.clone(), settings.identity.max_tokens.into())
        });
        let queues = zaqar.clone().zip(tokens);
        let triggers =
            Triggers::new(engine.clone(), catalog.clone(), store.clone(), instance, clock.clone(), queues);
        let api = ApiState {
            store: store.clone(),
            catalog,
            firer: triggers.firer.clone(),
            objects: triggers.objects.clone(),
            engine: engine.clone(),
            images: images.clone(),
            tokens: keystone.map_or_else(|| Arc::new(NoKeystone) as _, |keystone| keystone as _),
            limits,
            policy: policy.enforcer(),
            announcer: Arc::new(notifications::announcer(settings, notifier.clone())),
            key_manager,
            messaging: zaqar,
            trusts: identities.map(|(trusts, _)| trusts),
            settings: Arc::new(convert::api(settings)),
        };
        Ok(Self { store, queue, images, sandbox, engine, policy, notifier, triggers, api })
    }
}

/// `None` where the settings say that there is none.
fn open_keystone(
    settings: &Settings,
    clock: &Arc<SystemClock>,
) -> Result<Option<Arc<KeystoneValidator>>, ServerFailure> {
    if settings.server.standalone {
        return Ok(None);
    }
    let keystone = KeystoneValidator::new(convert::keystone(settings)?, clock.clone())
        .map_err(|error| ServerFailure::new("the settings of Keystone cannot be used").because(error))?;
    let keystone = Arc::new(keystone);
    check_keystone(keystone.clone());
    Ok(Some(keystone))
}

/// A Keystone that is not there yet is no reason not to start: it may be started after us.
fn check_keystone(tokens: Arc<KeystoneValidator>) {
    tokio::spawn(async move {
        match tokens.log_in().await {
            Ok(()) => tracing::info!("Keystone knows our service user"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Keystone does not take our service user yet; requests with a token get 503 until it does"
            ),
        }
    });
}

fn open_images(
    settings: &Settings,
    control: &Control,
    limits: Arc<dyn Limits>,
) -> Result<ImageStore, ServerFailure> {
    let unpacker: Arc<dyn LayerUnpacker> = match (&settings.sandbox.runtime, control.unpacker()) {
        // Docker unpacks by itself; layers are only checked.
        (SandboxRuntime::Docker, _) => Arc::new(InspectOnly),
        (_, Some(unpacker)) => unpacker,
        (_, None) => {
            return Err(ServerFailure::new("the layer unpacker did not start")
                .hint("its reason is on the standard error above"));
        }
    };
    let root = settings.server.data_dir.join("images");
    ImageStore::open(root.clone(), convert::images(settings, limits)?, unpacker).map_err(|error| {
        ServerFailure::new(format!("cannot open the images in {}", root.display())).because(error)
    })
}

async fn open_sandbox(
    settings: &Settings,
    root: bool,
    control: &Control,
    instance: &InstanceId,
    images: &Arc<ImageStore>,
) -> Result<Arc<dyn Sandbox>, ServerFailure> {
    match (&settings.sandbox.runtime, control.native()) {
        (SandboxRuntime::Native, Some(native)) => Ok(native),
        (SandboxRuntime::Oci(_), Some(spawner)) => Ok(Arc::new(OciSandbox::new(spawner))),
        (SandboxRuntime::Native | SandboxRuntime::Oci(_), None) => {
            Err(ServerFailure::new("the spawner of sandboxes did not start")
                .hint("its reason is on the standard error above; containers of a Docker Engine may work: sandbox.runtime = \"docker\""))
        }
        (SandboxRuntime::Docker, _) => {
            let docker = DockerSettings {
                socket: settings.sandbox.docker_socket.clone(),
                instance: instance.as_str().to_owned(),
                secrets_folder: settings.sandbox.docker_secrets_folder.clone(),
                // Without root nobody has loaded the packet filter that must guard it.
                egress: if root { convert::egress(settings, instance.as_str()) } else { None },
            };
            let export = Arc::new(StoreExport(images.clone()));
            let driver = DockerSandbox::connect(docker, export).await.map_err(|error| {
                ServerFailure::new("the docker sandbox driver did not start").because(error).hint(format!(
                    "the user {} must be able to use {} (group docker)",
                    settings.server.user,
                    settings.sandbox.docker_socket.display()
                ))
            })?;
            Ok(Arc::new(driver))
        }
    }
}

fn helpers_failed(error: SandboxError) -> ServerFailure {
    ServerFailure::new("the sandboxes are not available").because(error)
}

/// The image store as the Docker driver sees it.
#[derive(Debug)]
struct StoreExport(Arc<ImageStore>);

#[async_trait]
impl ImageExport for StoreExport {
    async fn docker_archive(&self, digest: &Digest) -> Result<Pin<Box<dyn AsyncRead + Send>>, SandboxError> {
        let archive = self.0.docker_archive(digest).await.map_err(|error| SandboxError::Failed {
            context: format!("reading image {digest}"),
            reason: error.to_string(),
        })?;
        Ok(Box::pin(archive))
    }
}
