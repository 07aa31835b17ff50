//! The driver itself.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bollard::errors::Error;
use bollard::models::Mount;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    KillContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptionsBuilder,
};
use futures_util::StreamExt;
use picasso_image::RootFs;
use picasso_types::NetworkMode;
use tokio::sync::Mutex;

use super::api::{Api, message, shortened, status};
use super::container::{self, INSTANCE_LABEL};
use super::identities::Identities;
use super::images::Images;
use super::secret_files::SecretFiles;
use super::{DockerSettings, ImageExport, network, streams};
use crate::{
    Ended, EndedBy, Features, IdentityFolder, ProcessSpec, Reaped, Sandbox, SandboxError, SandboxIo, SlotId,
    SlotSpec,
};

/// How long news of missing memory may come after the end that it caused.
const LATE_NEWS: Duration = Duration::from_millis(500);
/// How long a container that is being removed may take to be gone.
const REMOVAL: Duration = Duration::from_mins(1);

/// Sandboxes as containers of a Docker Engine.
#[derive(Debug, Clone)]
pub struct DockerSandbox {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: DockerSettings,
    api: Api,
    images: Images,
    secrets: SecretFiles,
    identities: Identities,
    /// Part of every container's name: tells this process's from those of one before it.
    run: u128,
    next: AtomicU64,
    slots: std::sync::Mutex<HashMap<SlotId, Arc<Slot>>>,
    network: Mutex<bool>,
    /// `RLIMIT_CORE`. 1 keeps even a core pattern that is a pipe from being run; an Engine that
    /// has been given less cannot raise it, and 0 is used from then on.
    core_limit: AtomicI64,
}

#[derive(Debug)]
struct Slot {
    spec: SlotSpec,
    container: String,
    /// Held while a container is made or removed, so that neither overtakes the other.
    phase: Mutex<Phase>,
    /// Whether its end is our doing.
    killed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Made,
    Used,
    Removed,
}

impl DockerSandbox {
    /// Connects to the Engine; `Unavailable` says what to look at when it does not answer.
    pub async fn connect(
        settings: DockerSettings,
        export: Arc<dyn ImageExport>,
    ) -> Result<Self, SandboxError> {
        let api = Api::connect(&settings.socket).await?;
        let run = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let images = Images::new(settings.instance.clone(), export);
        let secrets = SecretFiles::new(&settings.secrets_folder, &settings.instance);
        let identities = Identities::new(&settings.secrets_folder, &settings.instance, run);
        let inner = Inner {
            settings,
            api,
            images,
            secrets,
            identities,
            run,
            next: AtomicU64::new(1),
            slots: std::sync::Mutex::default(),
            network: Mutex::default(),
            core_limit: AtomicI64::new(1),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl Inner {
    fn slots(&self) -> std::sync::MutexGuard<'_, HashMap<SlotId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, id: SlotId) -> Result<Arc<Slot>, SandboxError> {
        let slot = self.slots().get(&id).cloned();
        slot.ok_or_else(|| SandboxError::Slot(format!("there is no slot {}", id.0)))
    }

    async fn ensure_network(&self) -> Result<(), SandboxError> {
        let Some(egress) = &self.settings.egress else {
            return Err(SandboxError::Unsupported {
                driver: "docker",
                reason: "network access is not configured, or the packet filter that must guard it \
                         could not be loaded (hint: it needs root and an [egress] section)"
                    .to_owned(),
            });
        };
        let mut made = self.network.lock().await;
        if !*made {
            network::ensure(&self.api, egress).await?;
            *made = true;
        }
        Ok(())
    }

    async fn start(
        &self,
        slot: &Slot,
        rootfs: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        let mut phase = slot.phase.lock().await;
        if *phase != Phase::Made {
            return Err(SandboxError::Slot("it has been started or removed before".to_owned()));
        }
        // From here on there may be a container, whatever else fails.
        *phase = Phase::Used;
        self.images.prepare(&self.api, &rootfs.digest).await?;
        let secrets = self.secrets.write(&slot.container, &process.files).await?;
        let identity = process.identity.map(|id| self.identities.mount(id));
        let mounts: Vec<Mount> = secrets.into_iter().chain(identity).collect();
        let io = self.run(slot, rootfs, process, mounts.clone()).await;
        let Err(error) = &io else { return io.map_err(|error| self.start_error(&error)) };
        if self.core_limit.load(Ordering::Relaxed) == 1
            && message(error).is_some_and(|text| text.contains("rlimit"))
        {
            self.core_limit.store(0, Ordering::Relaxed);
            self.remove_container(&slot.container).await?;
            return self.run(slot, rootfs, process, mounts).await.map_err(|error| self.start_error(&error));
        }
        io.map_err(|error| self.start_error(&error))
    }

    async fn run(
        &self,
        slot: &Slot,
        rootfs: &RootFs,
        process: &ProcessSpec,
        mounts: Vec<Mount>,
    ) -> Result<SandboxIo, Error> {
        let core_limit = self.core_limit.load(Ordering::Relaxed);
        let image = self.images.reference(&rootfs.digest);
        let mut body = container::body(&self.settings, &slot.spec, image, process, core_limit);
        if let Some(host) = &mut body.host_config {
            host.mounts = Some(mounts);
        }
        let options = CreateContainerOptionsBuilder::new().name(&slot.container).build();
        let created =
            self.api.call(|docker| async move { docker.create_container(Some(options), body).await }).await;
        if let Err(error) = created {
            if status(&error) == Some(404) {
                self.images.forget(&rootfs.digest).await;
            }
            return Err(error);
        }
        let io = streams::attach(&self.api, &slot.container).await?;
        let name = &slot.container;
        self.api
            .call(|docker| async move { docker.start_container(name, None::<StartContainerOptions>).await })
            .await?;
        Ok(io)
    }

    /// Tells the image's faults from ours.
    fn start_error(&self, error: &Error) -> SandboxError {
        let Some(text) = message(error) else { return self.api.error("starting a container", error) };
        let cause = text.split("unable to start container process: ").nth(1);
        if let Some(cause) = cause {
            let cause = cause.trim_end_matches(": unknown");
            if ["exec: ", "chdir to cwd", "mkdir /"].iter().any(|start| cause.starts_with(start)) {
                let cause = cause.strip_prefix("exec: ").unwrap_or(cause);
                return SandboxError::CannotStart(format!("the program cannot be run: {}", shortened(cause)));
            }
        }
        if text.contains("OOM-killed") || text.contains("Minimum memory limit") {
            return SandboxError::CannotStart(
                "the memory limit is too low to start any program with the docker driver".to_owned(),
            );
        }
        self.api.error("starting a container", error)
    }

    async fn ended(&self, slot: &Slot) -> Result<Ended, SandboxError> {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let mut waiting = Box::pin(self.api.long().wait_container(&slot.container, Some(options)));
        match waiting.next().await {
            Some(Ok(_) | Err(Error::DockerContainerWaitError { .. })) | None => {}
            Some(Err(error)) => return Err(self.gone_or(&error, "waiting for a container")),
        }
        let name = &slot.container;
        let container = self
            .api
            .call(
                |docker| async move { docker.inspect_container(name, None::<InspectContainerOptions>).await },
            )
            .await
            .map_err(|error| self.gone_or(&error, "looking at a container that ended"))?;
        let state = container.state.unwrap_or_default();
        if state.running == Some(true) {
            return Err(SandboxError::Unavailable {
                driver: "docker",
                reason: "the Docker Engine stopped waiting for a container".to_owned(),
            });
        }
        let by = ended_by(state.exit_code.unwrap_or(-1));
        let is_unexplained = by == EndedBy::Signal(9) && !slot.killed.load(Ordering::Acquire);
        let out_of_memory =
            state.oom_killed == Some(true) || (is_unexplained && self.was_short_of_memory(slot).await);
        Ok(Ended { by, out_of_memory, memory_peak_bytes: None })
    }

    /// Whether the Engine says so apart: it hears of the end and of its cause from two sources, and
    /// notes the cause with the end only where it came first.
    async fn was_short_of_memory(&self, slot: &Slot) -> bool {
        let filters = HashMap::from([("container", vec![slot.container.as_str()]), ("event", vec!["oom"])]);
        let options = EventsOptionsBuilder::new().since("1").filters(&filters).build();
        let mut events = Box::pin(self.api.long().events(Some(options)));
        let next = tokio::time::timeout(LATE_NEWS, events.next()).await;
        matches!(next, Ok(Some(Ok(_))))
    }

    fn gone_or(&self, error: &Error, context: &str) -> SandboxError {
        if status(error) == Some(404) {
            return SandboxError::Slot("it was removed".to_owned());
        }
        self.api.error(context, error)
    }

    async fn signal(&self, slot: &Slot, signal: &str) -> Result<(), SandboxError> {
        let phase = slot.phase.lock().await;
        if *phase != Phase::Used {
            return Ok(());
        }
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let name = &slot.container;
        let killed =
            self.api.call(|docker| async move { docker.kill_container(name, Some(options)).await }).await;
        match killed {
            Ok(()) => Ok(()),
            // Not there, or not running.
            Err(error) if matches!(status(&error), Some(404 | 409)) => Ok(()),
            Err(error) => Err(self.api.error("sending a container a signal", &error)),
        }
    }

    async fn remove(&self, id: SlotId, slot: &Slot) -> Result<(), SandboxError> {
        let mut phase = slot.phase.lock().await;
        if *phase == Phase::Used {
            self.remove_container(&slot.container).await?;
            self.secrets.remove(&slot.container).await?;
        }
        *phase = Phase::Removed;
        self.slots().remove(&id);
        Ok(())
    }

    /// Removes a container and waits until it is gone.
    async fn remove_container(&self, name: &str) -> Result<(), SandboxError> {
        let started = Instant::now();
        loop {
            let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            match self
                .api
                .call(|docker| async move { docker.remove_container(name, Some(options)).await })
                .await
            {
                Ok(()) => return Ok(()),
                Err(error) if status(&error) == Some(404) => return Ok(()),
                // Somebody else is removing it.
                Err(error) if status(&error) == Some(409) && started.elapsed() < REMOVAL => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => return Err(self.api.error("removing a container", &error)),
            }
        }
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        let ours = HashMap::from([("label", vec![format!("{INSTANCE_LABEL}={}", self.settings.instance)])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&ours).build();
        let containers = self
            .api
            .call(|docker| async move { docker.list_containers(Some(options)).await })
            .await
            .map_err(|error| self.api.error("listing containers", &error))?;
        let names: Vec<String> = self.slots().values().map(|slot| slot.container.clone()).collect();
        let mine: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
        let left = containers
            .into_iter()
            .filter(|container| !container.names.iter().flatten().any(|name| mine.contains(name)))
            .filter_map(|container| container.id);
        let mut reaped = Reaped::default();
        for id in left {
            self.remove_container(&id).await?;
            reaped.sandboxes += 1;
        }
        self.secrets.reap(names).await?;
        self.identities.reap()?;
        if mine.is_empty() {
            let mut made = self.network.lock().await;
            *made = false;
            reaped.networks = network::reap(&self.api, &self.settings.instance).await?;
            self.images.reap(&self.api).await?;
        }
        Ok(reaped)
    }
}

/// Docker reports a signal as 128 and its number, as shells do.
fn ended_by(code: i64) -> EndedBy {
    let code = i32::try_from(code).unwrap_or(-1);
    match code {
        129..=192 => EndedBy::Signal(code - 128),
        _ => EndedBy::Exit(code),
    }
}

/// A task of its own, because a container that is half made must not be forgotten when the caller
/// gives up.
async fn uninterrupted<T: Send + 'static>(
    work: impl Future<Output = Result<T, SandboxError>> + Send + 'static,
) -> Result<T, SandboxError> {
    tokio::spawn(work).await.unwrap_or_else(|error| {
        Err(SandboxError::Failed { context: "the docker driver".to_owned(), reason: error.to_string() })
    })
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn features(&self) -> Features {
        Features { egress: self.inner.settings.egress.is_some(), socket_folder: false, ports: false }
    }

    async fn prepare(&self, rootfs: &RootFs) -> Result<(), SandboxError> {
        let (inner, digest) = (Arc::clone(&self.inner), rootfs.digest.clone());
        uninterrupted(async move { inner.images.prepare(&inner.api, &digest).await }).await
    }

    async fn make_slot(&self, spec: &SlotSpec) -> Result<SlotId, SandboxError> {
        if spec.network == NetworkMode::Egress {
            self.inner.ensure_network().await?;
        }
        let id = SlotId(self.inner.next.fetch_add(1, Ordering::Relaxed));
        let container = format!("picasso-{}-{:x}-{}", self.inner.settings.instance, self.inner.run, id.0);
        let slot =
            Slot { spec: *spec, container, phase: Mutex::new(Phase::Made), killed: AtomicBool::new(false) };
        self.inner.slots().insert(id, Arc::new(slot));
        Ok(id)
    }

    async fn make_identity_folder(&self) -> Result<IdentityFolder, SandboxError> {
        self.inner.identities.make()
    }

    async fn start(
        &self,
        slot: SlotId,
        rootfs: &RootFs,
        process: &ProcessSpec,
    ) -> Result<SandboxIo, SandboxError> {
        let (inner, slot) = (Arc::clone(&self.inner), self.inner.slot(slot)?);
        let (rootfs, process) = (rootfs.clone(), process.clone());
        uninterrupted(async move { inner.start(&slot, &rootfs, &process).await }).await
    }

    async fn wait(&self, slot: SlotId) -> Result<Ended, SandboxError> {
        let slot = self.inner.slot(slot)?;
        if *slot.phase.lock().await != Phase::Used {
            return Err(SandboxError::Slot("it has not been started".to_owned()));
        }
        self.inner.ended(&slot).await
    }

    async fn terminate(&self, slot: SlotId) -> Result<(), SandboxError> {
        let slot = self.inner.slot(slot)?;
        self.inner.signal(&slot, "SIGTERM").await
    }

    async fn kill(&self, slot: SlotId) -> Result<(), SandboxError> {
        let slot = self.inner.slot(slot)?;
        slot.killed.store(true, Ordering::Release);
        self.inner.signal(&slot, "SIGKILL").await
    }

    async fn remove(&self, id: SlotId) -> Result<(), SandboxError> {
        let (inner, slot) = (Arc::clone(&self.inner), self.inner.slot(id)?);
        uninterrupted(async move { inner.remove(id, &slot).await }).await
    }

    async fn reap(&self) -> Result<Reaped, SandboxError> {
        let inner = Arc::clone(&self.inner);
        uninterrupted(async move { inner.reap().await }).await
    }
}
