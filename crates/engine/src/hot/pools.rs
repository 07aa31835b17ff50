//! All warm pools of an engine: finding one, and what concerns several - memory that one needs
//! and another can spare, versions that were superseded, shutdown.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picasso_types::{AppId, Format, RouteId, VersionId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::janitor;
use super::link::HotFormat;
use super::metrics::HotMetrics;
use super::pool::Pool;
use crate::admission::{Admission, NOBODY, Relief, Short};
use crate::identity_folders::IdentityFolders;
use crate::parts::EngineParts;
use crate::target::Target;

/// A pool without sandboxes is forgotten when it was not used for this time.
const FORGET_AFTER: Duration = Duration::from_mins(1);

/// How the functions of a format are talked to; `None` of one that is not hot.
pub(crate) type Formats = fn(Format) -> Option<Arc<dyn HotFormat>>;

/// Everything about hot sandboxes that is not of one pool.
#[derive(Debug)]
pub(crate) struct Hot {
    pub(super) parts: EngineParts,
    pub(super) admission: Arc<Admission>,
    pub(super) identities: Arc<IdentityFolders>,
    formats: Formats,
    /// Tasks that own sandboxes: shutdown waits for them.
    pub(super) keepers: TaskTracker,
    /// Starts are broken off when this is cancelled.
    pub(super) closing: CancellationToken,
    pub(super) metrics: HotMetrics,
    pools: Mutex<HashMap<VersionId, Arc<Pool>>>,
    due: mpsc::UnboundedSender<Arc<Pool>>,
}

impl Hot {
    /// No pools yet; the janitor runs until [`Hot::shut_down`].
    pub(crate) fn new(
        parts: EngineParts,
        admission: Arc<Admission>,
        identities: Arc<IdentityFolders>,
        formats: Formats,
    ) -> (Arc<Self>, janitor::Janitor) {
        // Bounded by the number of pools: each is in it once at most.
        let (due, dues) = mpsc::unbounded_channel();
        let hot = Arc::new(Self {
            parts,
            admission,
            identities,
            formats,
            keepers: TaskTracker::new(),
            closing: CancellationToken::new(),
            metrics: HotMetrics::default(),
            pools: Mutex::default(),
            due,
        });
        (hot, janitor::Janitor::new(dues))
    }

    /// The pool of the target's version; `None` for a version that is not ready or not hot.
    pub(crate) fn pool(self: &Arc<Self>, target: &Target) -> Option<Arc<Pool>> {
        self.pool_of(target, (self.formats)(target.version.as_ref()?.spec.format)?)
    }

    /// The pool of the target's version, talking to its sandboxes as `format` does.
    pub(super) fn pool_of(
        self: &Arc<Self>,
        target: &Target,
        format: Arc<dyn HotFormat>,
    ) -> Option<Arc<Pool>> {
        let version = target.version.as_ref()?;
        let mut pools = self.lock();
        if let Some(pool) = pools.get(&version.id).cloned() {
            drop(pools);
            if target.route.identity.is_some() {
                // It may not have heard of that yet: no call of this target runs without.
                pool.follow_identity(true);
            }
            return Some(pool);
        }
        let pool = Pool::new(self.clone(), target, version, format);
        if self.closing.is_cancelled() {
            pool.shut_down();
            return Some(pool);
        }
        pools.insert(version.id.clone(), pool.clone());
        Some(pool)
    }

    /// Shows how much memory is promised.
    #[expect(clippy::cast_precision_loss, reason = "a gauge of MiB; exact up to 2^52")]
    pub(super) fn show_memory(&self) {
        self.metrics.memory_promised.set(self.admission.memory_in_use_mb() as f64);
    }

    /// Tells the janitor that a pool has something to be tended.
    pub(super) fn watch(&self, pool: &Arc<Pool>) {
        // It ends after all pools.
        let _ = self.due.send(pool.clone());
    }

    /// The apps that have pools.
    pub(crate) fn apps(&self) -> HashSet<AppId> {
        self.lock().values().map(|pool| pool.target.app.id.clone()).collect()
    }

    /// The app's calls now run these: pools of other versions retire, and of these are kept warm
    /// what is to be. Versions newer than the routes of `targets` were made after those were read,
    /// and stay: the next change tells of them.
    pub(crate) fn reconcile(self: &Arc<Self>, app: &AppId, targets: &[Arc<Target>]) {
        let kept: HashSet<&VersionId> =
            targets.iter().filter_map(|target| Some(&target.version.as_ref()?.id)).collect();
        let mut newest: HashMap<&RouteId, u32> = HashMap::new();
        let mut has_identity: HashMap<&RouteId, bool> = HashMap::new();
        for target in targets {
            has_identity.insert(&target.route.id, target.route.identity.is_some());
            let known = newest.entry(&target.route.id).or_default();
            *known = target.route.latest.number.max(*known);
        }
        let mut of_app = self.all();
        of_app.retain(|pool| pool.target.app.id == *app);
        for pool in of_app {
            if let Some(has) = has_identity.get(&pool.target.route.id) {
                pool.follow_identity(*has);
            }
            if kept.contains(&pool.version.id) {
                pool.revive();
            } else if newest.get(&pool.target.route.id).is_none_or(|newest| pool.version.number <= *newest) {
                pool.retire();
            }
        }
        for target in targets {
            let keeps_warm = target.version.as_ref().is_some_and(|version| version.spec.min_instances > 0);
            if keeps_warm && let Some(pool) = self.pool(target) {
                pool.watch();
            }
        }
    }

    /// Forgets pools that nobody uses.
    pub(crate) fn sweep(&self) {
        let unused_since = Instant::now().checked_sub(FORGET_AFTER);
        self.lock().retain(|_, pool| !unused_since.is_some_and(|since| pool.close_unused(since)));
    }

    /// Ends all sandboxes and waits until they are gone.
    pub(crate) async fn shut_down(&self) {
        self.closing.cancel();
        for pool in self.all() {
            pool.shut_down();
        }
        self.keepers.close();
        self.keepers.wait().await;
        self.lock().clear();
    }

    fn all(&self) -> Vec<Arc<Pool>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<VersionId, Arc<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relief for Hot {
    /// Ends idle sandboxes, longest idle first and those that are to be kept warm last, until
    /// what they hold is what is lacking.
    fn relieve(&self, short: Short<'_>) {
        let mut pools = self.all();
        if let Short::Project(project) = short {
            pools.retain(|pool| pool.target.app.project_id == *project);
        }
        let mut idle: Vec<_> = pools
            .iter()
            .flat_map(|pool| {
                pool.evictable().into_iter().map(move |(key, since, warm)| (warm, since, key, pool))
            })
            .collect();
        idle.sort_unstable_by_key(|(warm, since, ..)| (*warm, *since));
        for (_, _, key, pool) in idle {
            let lack = match short {
                Short::Project(_) => pool.gates.project.memory.lack(NOBODY),
                Short::Machine => self.admission.machine_lack(),
            };
            if lack.is_none() {
                return;
            }
            pool.evict(key);
        }
    }
}
