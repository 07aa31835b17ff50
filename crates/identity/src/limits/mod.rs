//! Limits of projects as Keystone has them (unified limits), read as oslo.limit reads them and kept
//! for a bounded time.
//!
//! A project's own limit counts, else the registered default of our service and region, else the
//! setting of this server: a resource that nobody registered is not refused, as oslo.limit would,
//! because an operator who knows nothing of limits should not have to register any. Both of
//! Keystone's enforcement models are read alike: with `strict_two_level` Keystone itself keeps a
//! child's limit within its parent's, and oslo.limit 2.12 does not sum over trees either.

mod book;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use picasso_types::{Limit, LimitSource, Limits, LimitsFuture, ProjectId, ProjectLimits};
use tokio::sync::Mutex;

use crate::error::KeystoneError;
use crate::limits::book::{Book, Entry};
pub(crate) use crate::limits::wire::OurService;
use crate::limits::wire::{ProjectLimitList, Registered, RegisteredLimitList};
use crate::validator::KeystoneValidator;

/// After an attempt that failed, nobody asks again for so long.
const PAUSE: Duration = Duration::from_secs(5);

/// What [`KeystoneLimits`] needs to know.
#[derive(Debug, Clone)]
pub struct LimitsSettings {
    /// Our endpoint in the catalog, which tells service and region; `None`: the service of type
    /// `functions`, named `picasso` where there are several.
    pub endpoint_id: Option<String>,
    /// Our region, where no endpoint is named; `None`: that of our service's endpoints, if all are
    /// in one. Limits of other regions do not count.
    pub region: Option<String>,
    /// How long an answer counts.
    pub cache_time: Duration,
    /// How long an answer counts while Keystone gives none.
    pub keep_time: Duration,
    /// Of how many projects limits are kept.
    pub capacity: usize,
    /// What counts where Keystone has no limit.
    pub defaults: Arc<ProjectLimits>,
}

/// Keystone's limits.
#[derive(Debug)]
pub struct KeystoneLimits(Arc<Source>);

#[derive(Debug)]
struct Source {
    keystone: Arc<KeystoneValidator>,
    settings: LimitsSettings,
    book: Book,
    /// The same for all projects; who asks for it holds the lock.
    registered: Mutex<Option<(Instant, Arc<Registered>)>>,
    /// Keystone gave no answer when it was last asked.
    away: AtomicBool,
}

impl KeystoneLimits {
    /// Asks through `keystone`, as its service user, whose role `service` is enough.
    pub fn new(keystone: Arc<KeystoneValidator>, settings: LimitsSettings) -> Self {
        let book = Book::new(settings.capacity);
        let (registered, away) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Source { keystone, settings, book, registered, away }))
    }
}

impl Source {
    async fn current(&self, project: &ProjectId) -> Arc<ProjectLimits> {
        let entry = self.book.entry(project, Instant::now());
        if let Some(limits) = entry.fresh(Instant::now()) {
            return limits;
        }
        // One asks; the others of this project wait for what it hears.
        let _turn = entry.turn.lock().await;
        match entry.fresh(Instant::now()) {
            Some(limits) => limits,
            None => self.ask(project, &entry).await,
        }
    }

    async fn ask(&self, project: &ProjectId, entry: &Entry) -> Arc<ProjectLimits> {
        let LimitsSettings { cache_time, keep_time, defaults, .. } = &self.settings;
        match self.fetch(project).await {
            Ok(limits) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("Keystone tells the limits of projects again");
                }
                entry.told(Arc::new(limits), Instant::now(), *cache_time)
            }
            Err(error) => {
                // Once, not for each request.
                if !self.away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "Keystone does not tell the limits of projects; what it said last counts, then the settings"
                    );
                }
                entry.not_told(defaults, Instant::now(), PAUSE.min(*cache_time), *keep_time)
            }
        }
    }

    async fn fetch(&self, project: &ProjectId) -> Result<ProjectLimits, KeystoneError> {
        let registered = self.registered().await?;
        let Some(service) = &registered.service else { return Ok((*self.settings.defaults).clone()) };
        let query = [("service_id", service.id.as_str()), ("project_id", project.as_str())];
        let own: ProjectLimitList = self.keystone.read("limits", &query).await?;
        let own = own.of(project.as_str(), service);
        Ok(ProjectLimits::new(|resource| match own.get(&resource).or(registered.limits.get(&resource)) {
            Some(max) => Limit::from_signed(*max, LimitSource::Keystone),
            None => self.settings.defaults.of(resource),
        }))
    }

    async fn registered(&self) -> Result<Arc<Registered>, KeystoneError> {
        let mut known = self.registered.lock().await;
        if let Some((until, registered)) = &*known
            && Instant::now() < *until
        {
            return Ok(Arc::clone(registered));
        }
        let LimitsSettings { endpoint_id, region, .. } = &self.settings;
        let catalog = self.keystone.catalog().await?;
        let service = catalog.functions(endpoint_id.as_deref(), region.as_deref());
        let limits = match &service {
            Some(service) => {
                let query = [("service_id", service.id.as_str())];
                let list: RegisteredLimitList = self.keystone.read("registered_limits", &query).await?;
                list.of(service)
            }
            None => {
                tracing::debug!("the catalog has no service of ours: the limits of the settings count");
                std::collections::HashMap::new()
            }
        };
        let registered = Arc::new(Registered { service, limits });
        *known = Some((Instant::now() + self.settings.cache_time, Arc::clone(&registered)));
        Ok(registered)
    }
}

impl Limits for KeystoneLimits {
    fn of<'a>(&'a self, project: &'a ProjectId) -> LimitsFuture<'a> {
        Box::pin(self.0.current(project))
    }

    fn known(&self, project: &ProjectId) -> Arc<ProjectLimits> {
        let now = Instant::now();
        let entry = self.0.book.entry(project, now);
        if let Some(limits) = entry.fresh(now) {
            return limits;
        }
        let last = entry.last().unwrap_or_else(|| Arc::clone(&self.0.settings.defaults));
        if let Ok(turn) = Arc::clone(&entry.turn).try_lock_owned() {
            let (source, project) = (Arc::clone(&self.0), project.clone());
            tokio::spawn(async move {
                source.ask(&project, &entry).await;
                drop(turn);
            });
        }
        last
    }
}
